//! Texts that may stand anywhere, found by four bytes of each.
//!
//! ```text
//!   `/invoices-17/`  ─►  its rarest four bytes, `-17/`  ─►  a bit in a sieve, and a row of a table
//!   a path           ─►  each four bytes in turn: through the sieve?  ─ rarely ─►  in the table?
//! ```
//!
//! A multiplication and a look into two kilobytes for each byte, none of which waits for the one before. An automaton for
//! whole texts (Aho-Corasick) tells more, but each of its steps waits for memory; and what is found is asked anyway.

use std::collections::HashMap;

/// Bytes looked at together; a shorter text cannot be filed here.
pub(super) const GRAM: usize = 4;
/// Finds in one text are given up after so many, and every rule is asked instead: a text made to hold the four bytes in
/// every place is no shorter way.
const MOST_FINDS: usize = 4_096;
/// The sieve has two to the power of this many bits.
const SIEVE_BITS: u32 = 14;
const SIEVE_WORDS: usize = 1 << (SIEVE_BITS - 6);

/// Rules by four bytes of their text.
#[derive(Clone, Debug)]
pub(super) struct Grams {
    sieve: Box<[u64; SIEVE_WORDS]>,
    /// By gram; several rules may have the same.
    table: Vec<(u32, u16)>,
}

impl Grams {
    /// From texts of [`GRAM`] bytes at least and the rules that ask for them.
    pub(super) fn new(keys: &[(&str, u16)]) -> Grams {
        let mut shared: HashMap<u32, usize> = HashMap::new();
        for gram in keys.iter().flat_map(|(text, _)| windows(text.as_bytes())) {
            *shared.entry(gram).or_default() += 1;
        }
        let mut sieve = Box::new([0; SIEVE_WORDS]);
        let mut table = Vec::with_capacity(keys.len());
        for &(text, rule) in keys {
            let rarest = windows(text.as_bytes()).min_by_key(|gram| (shared.get(gram), *gram));
            let Some(gram) = rarest else { continue };
            let (word, bit) = place(gram);
            if let Some(word) = sieve.get_mut(word) {
                *word |= 1 << bit;
            }
            table.push((gram, rule));
        }
        table.sort_unstable();
        Grams { sieve, table }
    }

    /// Whether nothing is filed.
    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Gives the rules whose four bytes are among `grams`. `false` if it gave up.
    #[inline]
    pub(super) fn walk(&self, grams: impl Iterator<Item = u32>, mut give: impl FnMut(u16)) -> bool {
        let mut n_finds = 0;
        for gram in grams {
            let (word, bit) = place(gram);
            if self.sieve.get(word).is_some_and(|word| word >> bit & 1 == 1) {
                let first = self.table.partition_point(|&(known, _)| known < gram);
                let row = self.table.iter().skip(first).take_while(|(known, _)| *known == gram);
                row.for_each(|&(_, rule)| {
                    give(rule);
                    n_finds += 1;
                });
                if n_finds > MOST_FINDS {
                    return false;
                }
            }
        }
        true
    }
}

/// Each four bytes of a slice.
#[inline]
pub(super) fn windows(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.array_windows::<GRAM>().map(|bytes| u32::from_le_bytes(*bytes))
}

/// Each four of bytes that come one by one.
#[inline]
pub(super) fn rolling(mut bytes: impl Iterator<Item = u8>) -> impl Iterator<Item = u32> {
    let push = |gram: u32, byte: u8| gram >> 8 | u32::from(byte) << 24;
    let mut gram = bytes.by_ref().take(GRAM - 1).fold(0, push);
    bytes.map(move |byte| {
        gram = push(gram, byte);
        gram
    })
}

/// Word and bit in the sieve.
#[inline]
fn place(gram: u32) -> (usize, u32) {
    let hash = gram.wrapping_mul(0x9e37_79b1) >> (32 - SIEVE_BITS);
    ((hash / 64) as usize, hash % 64)
}
