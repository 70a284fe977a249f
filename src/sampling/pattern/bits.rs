//! Wildcard matching in time that no text can stretch: all ways through the pattern at once, a bit each.
//!
//! ```text
//!   pattern  a * b ? c     places  a 0, b 1, ? 2, c 3     bit i: the first i places are matched
//!   step     places that take the character move on by one; a bit before which there is a `*` may also stay
//! ```
//!
//! One step a character, each over a few words, whatever the pair: 8 KiB against 512 characters take some 100 µs. The
//! tables stand on the stack, so nothing is allocated; filling them takes a microsecond or two, which is why the greedy
//! way goes first.

use super::fold;

/// The longest pattern, in characters without `*`, that is matched within bounds.
pub const MAX_BOUNDED: usize = 512;

/// One bit for each place and one for the end.
const WORDS: usize = MAX_BOUNDED / 64 + 1;
/// Other than ASCII: each is two bytes at least, so a pattern as long as rule files allow has no more.
const MAX_FOREIGN: usize = 256;

type Bits = [u64; WORDS];

/// Whether `text` matches `pattern`, which is folded already. `None` if the pattern is too long for the tables.
pub(super) fn matches(pattern: &str, text: &str) -> Option<bool> {
    let mut foreign = ['\0'; MAX_FOREIGN];
    let mut n_foreign = 0;
    let mut n_places = 0;
    for character in pattern.chars().filter(|&character| character != '*') {
        n_places += 1;
        if !character.is_ascii() {
            *foreign.get_mut(n_foreign)? = character;
            n_foreign += 1;
        }
    }
    if n_places > MAX_BOUNDED {
        return None;
    }
    let foreign = &mut foreign[..n_foreign];
    foreign.sort_unstable();
    let foreign_row = |character: char| {
        let first = foreign.partition_point(|&known| known < character);
        (foreign.get(first) == Some(&character)).then_some(first)
    };

    let mut ascii_rows = [[0; WORDS]; 128];
    let mut foreign_rows = [[0; WORDS]; MAX_FOREIGN];
    let (mut any, mut may_stay) = ([0; WORDS], [0; WORDS]);
    let mut place = 0;
    for character in pattern.chars() {
        let row = match character {
            '*' => {
                set(&mut may_stay, place);
                continue;
            }
            '?' => &mut any,
            _ if character.is_ascii() => &mut ascii_rows[character as usize],
            _ => match foreign_row(character) {
                Some(row) => &mut foreign_rows[row],
                None => continue,
            },
        };
        set(row, place);
        place += 1;
    }

    let n_words = n_places / 64 + 1;
    let mut now: Bits = [0; WORDS];
    set(&mut now, 0);
    for character in text.chars().map(fold) {
        let row = match character.is_ascii() {
            true => Some(&ascii_rows[character as usize]),
            false => foreign_row(character).map(|row| &foreign_rows[row]),
        };
        let (mut carry, mut alive) = (0, 0);
        for word in 0..n_words {
            let takes = any[word] | row.map_or(0, |row| row[word]);
            let moving = now[word] & takes;
            now[word] = moving << 1 | carry | now[word] & may_stay[word];
            carry = moving >> 63;
            alive |= now[word];
        }
        if alive == 0 {
            return Some(false);
        }
    }
    Some(now[n_places / 64] >> (n_places % 64) & 1 == 1)
}

fn set(bits: &mut Bits, at: usize) {
    bits[at / 64] |= 1 << (at % 64);
}
