//! How the names in a head were spelled.

use bytes::Bytes;

/// The names of a head, as they came, in their order. `http` keeps them in small letters.
#[derive(Clone, Debug)]
pub struct Spelling {
    head: Bytes,
    /// Where each begins, and how long it is.
    names: Box<[(u16, u16)]>,
}

impl Spelling {
    /// The spelling of these names, which are parts of the head.
    pub(super) fn of<'h>(head: &'h Bytes, names: impl Iterator<Item = &'h str>) -> Spelling {
        let start = head.as_ptr() as usize;
        // A head is no longer than 64 KiB and a name begins before its end; should one not, it is written small.
        let place = |name: &str| {
            let at = u16::try_from((name.as_ptr() as usize).wrapping_sub(start)).unwrap_or_default();
            (at, u16::try_from(name.len()).unwrap_or_default())
        };
        Spelling { head: head.clone(), names: names.map(place).collect() }
    }

    /// The name at this place, if it is that one.
    fn name(&self, n: usize, name: &str) -> Option<&[u8]> {
        let (at, length) = *self.names.get(n)?;
        // Most are told apart by their lengths.
        if usize::from(length) != name.len() {
            return None;
        }
        let spelled = self.head.get(usize::from(at)..usize::from(at) + name.len())?;
        spelled.eq_ignore_ascii_case(name.as_bytes()).then_some(spelled)
    }
}

/// Goes through the names of another head, which has most of these in this order, and spells them.
pub(super) struct Speller<'s> {
    spelling: Option<&'s Spelling>,
    /// Where the next new name is likely to be.
    next: usize,
    /// Where the last one was.
    last: usize,
}

impl<'s> Speller<'s> {
    pub(super) fn new(spelling: Option<&'s Spelling>) -> Speller<'s> {
        Speller { spelling, next: 0, last: 0 }
    }

    /// A name that is not the one before, as it came, or as it is if it did not come.
    pub(super) fn spell(&mut self, name: &'s str) -> &'s [u8] {
        let Some(spelling) = self.spelling else { return name.as_bytes() };
        for n in std::iter::once(self.next).chain(0..spelling.names.len()) {
            if let Some(spelled) = spelling.name(n, name) {
                (self.next, self.last) = (n + 1, n);
                return spelled;
            }
        }
        self.last = spelling.names.len();
        name.as_bytes()
    }

    /// The same name for a further value.
    pub(super) fn spell_again(&mut self, name: &'s str) -> &'s [u8] {
        let Some(spelling) = self.spelling else { return name.as_bytes() };
        for n in self.last + 1..spelling.names.len() {
            if let Some(spelled) = spelling.name(n, name) {
                self.last = n;
                return spelled;
            }
        }
        name.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(head: &'static str, asked: &[&'static str]) -> String {
        let head = Bytes::from_static(head.as_bytes());
        let text = std::str::from_utf8(&head).unwrap();
        let spelling = Spelling::of(&head, text.split(' '));
        let mut speller = Speller::new(Some(&spelling));
        let mut before = "";
        let names = asked.iter().map(|name| {
            let spelled = if *name == before { speller.spell_again(name) } else { speller.spell(name) };
            before = name;
            String::from_utf8(spelled.to_vec()).unwrap()
        });
        names.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn names_are_spelled_as_they_came_and_others_small() {
        assert_eq!(
            spelled("Host X-ODD accept", &["host", "x-odd", "x-new", "accept"]),
            "Host X-ODD x-new accept"
        );
        assert_eq!(spelled("Host Gone X-ODD", &["host", "x-odd"]), "Host X-ODD");
        assert_eq!(spelled("", &["host", "host"]), "host host");
        assert_eq!(Speller::new(None).spell("host"), b"host");
    }

    #[test]
    fn each_value_of_a_name_has_the_spelling_that_came_with_it() {
        // As `http` has them: the values of a name together, where its first was.
        let asked = ["a", "a", "b", "b", "b", "c"];
        assert_eq!(spelled("A B a b C", &asked), "A a B b b C");
    }
}
