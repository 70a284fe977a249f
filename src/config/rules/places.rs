//! Where each field of a rule stands, so that what is found later can point at it.
//!
//! A `Rule` knows only where it begins. Here the files are looked at once more, as trees with places and nothing else:
//! whatever notation a file is written in, a rule is the mapping that begins at the rule's place.

use super::super::problem::Problem;
use super::super::yaml::{Codes, Document, Key, Kind, Node, Scalar, Span, Typed};
use super::keys;
use super::source::Source;
use crate::sampling::Place;
use std::collections::HashMap;

/// A place, and how many characters from there on are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Where it begins.
    pub place: Place,
    /// In characters; never 0.
    pub width: usize,
}

/// A value of a rule that YAML readers understand in different ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ambiguous {
    /// The value.
    pub spot: Spot,
    /// As it was written, without quotes.
    pub text: String,
    /// What it is to other readers: `true or false`, `a number`.
    pub otherwise: &'static str,
    /// A number in quotes, which is text to others; else text without quotes.
    pub quoted: bool,
}

/// By file, line and column of its beginning, the fields of a mapping under their canonical names.
type Mappings = HashMap<(usize, usize, usize), Vec<(&'static str, Node)>>;

/// The rule files as trees. Files that are no YAML are left out: what is wrong with them is told already.
#[derive(Clone, Debug, Default)]
pub struct Places {
    documents: Vec<Document>,
    mappings: Mappings,
}

impl Places {
    /// Reads the files' bytes once more.
    pub fn read(sources: &[Source]) -> Places {
        let mut places = Places::default();
        for source in sources {
            let name = source.path.display().to_string();
            let Ok(document) = Document::parse(&name, &source.bytes, Codes::RULES) else { continue };
            index(places.documents.len(), &document.root, &mut places.mappings);
            places.documents.push(document);
        }
        places
    }

    /// The value of a field, by its canonical name; of a list, its element `nth`.
    pub fn field(&self, rule: &Place, field: &str, nth: usize) -> Option<Spot> {
        let node = self.node(rule, field)?;
        let node = match &node.kind {
            Kind::Sequence(items) => items.get(nth).unwrap_or(node),
            _ => node,
        };
        self.spot(rule, node.span)
    }

    /// The value of an attribute, by its lower-case name.
    pub fn attribute(&self, rule: &Place, name: &str) -> Option<Spot> {
        let Kind::Mapping(entries) = &self.node(rule, "attributes")?.kind else { return None };
        let (_, node) = entries.iter().find(|(key, _)| key.text.eq_ignore_ascii_case(name))?;
        self.spot(rule, node.span)
    }

    /// Whether the mapping that is the value of `field` has this key.
    pub fn has_key(&self, rule: &Place, field: &str, key: &str) -> bool {
        self.node(rule, field).is_some_and(|node| node.get(key).is_some())
    }

    /// The rule itself: its first character.
    pub fn rule(&self, rule: &Place) -> Spot {
        Spot { place: rule.clone(), width: 1 }
    }

    /// The first character of the first file.
    pub fn beginning(&self) -> Option<Spot> {
        let document = self.documents.first()?;
        let width = match &document.root.kind {
            Kind::Mapping(entries) => entries.first().map_or(1, |(key, _)| key.span.width),
            _ => 1,
        };
        Some(Spot { place: document.place(document.root.span), width })
    }

    /// The number between how many instances the files share each reservoir, if they say so.
    pub fn replicas(&self) -> Option<u32> {
        self.documents.iter().find_map(|document| match &document.root.get("replicas")?.kind {
            Kind::Scalar(Scalar { typed: Typed::Integer(n), .. }) => u32::try_from(*n).ok(),
            _ => None,
        })
    }

    /// An error at `spot`, with the line it stands in if the file is known.
    pub fn problem(&self, code: &'static str, spot: &Spot, message: impl Into<String>) -> Problem {
        let place = &spot.place;
        let document = self.documents.iter().find(|document| document.file == place.file && place.line > 0);
        match document {
            Some(document) => {
                let span = Span { line: place.line, column: place.column, width: spot.width };
                document.problem(code, span, message)
            }
            None => Problem { place: place.clone(), ..Problem::at_name(code, "", message) },
        }
    }

    /// Values of the rule that begins at `rule` which another YAML reader would take for something else.
    pub fn ambiguous(&self, rule: &Place) -> Vec<Ambiguous> {
        let mut found = Vec::new();
        for (field, node) in self.mapping(rule).unwrap_or_default() {
            self.look(rule, field, node, &mut found);
        }
        found
    }

    fn look(&self, rule: &Place, field: &str, node: &Node, found: &mut Vec<Ambiguous>) {
        match &node.kind {
            Kind::Sequence(items) => items.iter().for_each(|item| self.look(rule, field, item, found)),
            Kind::Mapping(entries) => {
                entries.iter().for_each(|(_, node)| self.look(rule, field, node, found));
            }
            Kind::Scalar(scalar) => {
                let otherwise = match scalar {
                    Scalar { quoted: true, text, .. } if field == "rate" => {
                        text.parse::<f64>().is_ok().then_some("text")
                    }
                    Scalar { quoted: false, typed: Typed::Text, text } => other_meaning(text),
                    _ => None,
                };
                if let (Some(otherwise), Some(spot)) = (otherwise, self.spot(rule, node.span)) {
                    let (text, quoted) = (scalar.text.clone(), scalar.quoted);
                    found.push(Ambiguous { spot, text, otherwise, quoted });
                }
            }
        }
    }

    fn spot(&self, rule: &Place, span: Span) -> Option<Spot> {
        let document = self.documents.iter().find(|document| document.file == rule.file)?;
        Some(Spot { place: document.place(span), width: span.width })
    }

    fn node(&self, rule: &Place, field: &str) -> Option<&Node> {
        let fields = self.mapping(rule)?;
        let find = |field: &str| fields.iter().find(|(name, _)| *name == field).map(|(_, node)| node);
        // The first version of the SDKs' local rules calls the host `service_name`; its rules have no names.
        let is_local = field == "host" && find("name").is_none();
        find(field).or_else(|| find("service_name").filter(|_| is_local))
    }

    fn mapping(&self, rule: &Place) -> Option<&[(&'static str, Node)]> {
        let file = self.documents.iter().position(|document| document.file == rule.file)?;
        self.mappings.get(&(file, rule.line, rule.column)).map(Vec::as_slice)
    }
}

fn index(file: usize, node: &Node, mappings: &mut Mappings) {
    match &node.kind {
        Kind::Scalar(_) => {}
        Kind::Sequence(items) => items.iter().for_each(|item| index(file, item, mappings)),
        Kind::Mapping(entries) => {
            let fields: Vec<(&'static str, Node)> = entries.iter().filter_map(canonical).collect();
            // A mapping in braces may hold another one that is no rule; only what has a rule's keys is kept.
            if !fields.is_empty() {
                mappings.entry((file, node.span.line, node.span.column)).or_insert(fields);
            }
            entries.iter().for_each(|(_, node)| index(file, node, mappings));
        }
    }
}

fn canonical((key, node): &(Key, Node)) -> Option<(&'static str, Node)> {
    let (_, spellings) = keys::RULE.iter().find(|(_, spellings)| spellings.contains(&key.text.as_str()))?;
    Some((*spellings.first()?, node.clone()))
}

/// What a YAML 1.1 reader makes of text without quotes.
fn other_meaning(text: &str) -> Option<&'static str> {
    let is_word = ["y", "n", "yes", "no", "on", "off"].iter().any(|word| text.eq_ignore_ascii_case(word));
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number = digits.len() > 1
        && digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'_' | b':' | b'.'))
        && !digits.ends_with([':', '.'])
        // A version or an address is text to everyone.
        && digits.matches('.').count() < 2;
    match (is_word, is_number) {
        (true, _) => Some("true or false"),
        (_, true) => Some("a number"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "rules_version: 1\nreplicas: 6\nrules:\n  - name: no\n    priority: 5\n    FixedRate: '0.1'\n    \
                        method: [GET, POST]\n    attributes: { X-Tenant: 010 }\n";

    fn places() -> Places {
        Places::read(&[Source { path: "r.yaml".into(), bytes: TEXT.into() }])
    }

    fn rule() -> Place {
        Place { file: "r.yaml".into(), line: 4, column: 5 }
    }

    #[test]
    fn fields_are_found_under_their_canonical_names() {
        let at = |spot: Option<Spot>| spot.map(|spot| (spot.place.to_string(), spot.width));
        let places = places();
        assert_eq!(at(places.field(&rule(), "rate", 0)), Some(("r.yaml:6:16".into(), 5)));
        assert_eq!(at(places.field(&rule(), "http_method", 1)), Some(("r.yaml:7:19".into(), 4)));
        assert_eq!(at(places.attribute(&rule(), "x-tenant")), Some(("r.yaml:8:29".into(), 3)));
        assert_eq!(at(places.field(&rule(), "host", 0)), None);
        assert_eq!(at(places.beginning()), Some(("r.yaml:1:1".into(), 13)));
        assert_eq!(places.replicas(), Some(6));
    }

    #[test]
    fn a_problem_shows_its_line() {
        let spot = places().field(&rule(), "rate", 0).unwrap();
        let problem = places().problem("R105", &spot, "too small").to_string();
        assert_eq!(
            problem,
            "error[R105] r.yaml:6:16: too small\n   6 |     FixedRate: '0.1'\n     |                ^^^^^"
        );
    }

    #[test]
    fn values_that_other_readers_take_for_something_else() {
        let found: Vec<_> =
            places().ambiguous(&rule()).into_iter().map(|a| (a.text, a.otherwise, a.quoted)).collect();
        assert_eq!(
            found,
            [
                ("no".to_owned(), "true or false", false),
                ("0.1".into(), "text", true),
                ("010".into(), "a number", false)
            ]
        );
        for text in ["5%", "/a", "shop", "10.0.0.1", "v1", "node", "1.2.3"] {
            assert_eq!(other_meaning(text), None, "{text}");
        }
        for text in ["1_000", "12:30:00", "010"] {
            assert_eq!(other_meaning(text), Some("a number"), "{text}");
        }
    }
}
