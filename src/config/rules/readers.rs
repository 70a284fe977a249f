//! The values of a rule's fields: names, priorities, reservoirs, rates and patterns.

use super::super::problem::shown;
use super::super::yaml::{Key, Kind, Node, Scalar, Span, Typed};
use super::limits::{MAX_ATTRIBUTES, MAX_NAME_BYTES, MAX_PATTERN_BYTES, MAX_PATTERNS};
use super::rate;
use super::scalars::Lowering;
use crate::sampling::rule::Globs;
use crate::sampling::{Pattern, Priority, Rate, ReservoirSize, RuleName};

impl Lowering<'_> {
    pub(super) fn name<'a>(&mut self, key: &Key, node: &'a Node) -> Option<(&'a str, Span)> {
        let name = self.text(key, node, MAX_NAME_BYTES)?;
        if name.chars().any(char::is_control) {
            let message = format!("`{}` holds a control character", key.text);
            self.error("R003", node.span, message, "use letters, digits and `-`");
            return None;
        }
        if name == RuleName::DEFAULT {
            let message = "`Default` is the name of the catch-all";
            self.error(
                "R006",
                node.span,
                message,
                "write `default:` at the top of the file, or choose another name",
            );
            return None;
        }
        Some((name, node.span))
    }

    pub(super) fn priority(&mut self, key: &Key, node: &Node) -> Option<Priority> {
        let scalar = self.number(key, node)?;
        let priority = match scalar.typed {
            Typed::Integer(number) => Priority::new(number),
            _ => None,
        };
        if priority.is_none() {
            let message = format!("priority {} is not a whole number from 1 to 9999", shown(&scalar.text));
            let hint = match scalar.typed {
                Typed::Integer(10_000) if self.is_foreign => "10000 belongs to the rule called `Default`",
                Typed::Integer(10_000) => {
                    "10000 is X-Ray's `Default`; write `default:` at the top of the file"
                }
                _ => "1 is tried first, 9999 last",
            };
            self.error("R003", node.span, message, hint);
        }
        priority
    }

    pub(super) fn reservoir(&mut self, key: &Key, node: &Node) -> Option<ReservoirSize> {
        let scalar = self.number(key, node)?;
        let places = match scalar.typed {
            Typed::Integer(number) => number as f64,
            Typed::Float(number) => number,
            _ => f64::NAN,
        };
        let text = shown(&scalar.text);
        match ReservoirSize::try_from(places) {
            Ok(_) if self.is_foreign && places.fract() != 0.0 => {
                let message = format!("`{}` {text} is not a whole number", key.text);
                self.error(
                    "R003",
                    node.span,
                    message,
                    "fractions are part of our own notation, `rules_version: 1`",
                );
                None
            }
            // A size that rounds to nothing would silently keep nothing.
            Ok(size) if places > 0.0 && size == ReservoirSize::default() => {
                let message = format!("reservoir {text} is smaller than a millionth");
                self.error("R003", node.span, message, "0.000001 is one trace in 12 days");
                None
            }
            Ok(size) => Some(size),
            Err(_) => {
                let message = format!("reservoir {text} is not between 0 and 1000000");
                self.error(
                    "R003",
                    node.span,
                    message,
                    "it is the number of traces kept each second before the rate",
                );
                None
            }
        }
    }

    pub(super) fn rate(&mut self, key: &Key, node: &Node) -> Option<Rate> {
        match &node.kind {
            Kind::Scalar(scalar) if !matches!(scalar.typed, Typed::Null | Typed::Bool(_)) => {
                match rate::parse(&scalar.text) {
                    // X-Ray's own samplers could not tell it from nothing, and nobody lives to see the first trace.
                    Ok(rate) if rate.get() > 0.0 && rate.get() < rate::RESOLUTION => {
                        let message = format!(
                            "rate {} is below the resolution of 2⁻³² (0.0000000233%)",
                            shown(&scalar.text)
                        );
                        let hint = "use a reservoir, a higher rate, or rate: 0";
                        self.error("R105", node.span, message, hint);
                        None
                    }
                    Ok(rate) => Some(rate),
                    Err(bad) => {
                        self.error("R007", node.span, bad.message, bad.hint);
                        None
                    }
                }
            }
            _ => {
                let message = self.not_a(key, node, "a number or a percentage");
                self.error(
                    "R003",
                    node.span,
                    message,
                    "write a share from 0 to 1, or a percentage such as 5%",
                );
                None
            }
        }
    }

    pub(super) fn version(&mut self, key: &Key, node: &Node) {
        let is_one = matches!(&node.kind, Kind::Scalar(Scalar { typed: Typed::Integer(1), .. }));
        if !is_one {
            let message = format!("`{}` of a rule must be 1", key.text);
            self.error("R008", node.span, message, "X-Ray knows no other; remove the key");
        }
    }

    /// One pattern or a list of them; anything, if something is wrong.
    pub(super) fn globs(&mut self, key: &Key, node: &Node) -> Globs {
        let patterns = match &node.kind {
            Kind::Sequence(_) if self.is_foreign => {
                let message = format!("`{}` must be text, not a list", key.text);
                self.error(
                    "R003",
                    node.span,
                    message,
                    "lists are part of our own notation, `rules_version: 1`",
                );
                Vec::new()
            }
            Kind::Sequence(items) if items.is_empty() => {
                let message = format!("`{}` is an empty list, which nothing matches", key.text);
                self.error("R003", node.span, message, "remove the key to match anything");
                Vec::new()
            }
            Kind::Sequence(items) if items.len() > MAX_PATTERNS => {
                let message =
                    format!("`{}` has {} patterns, more than {MAX_PATTERNS}", key.text, items.len());
                self.error("R003", node.span, message, "use wildcards to say the same in fewer");
                Vec::new()
            }
            Kind::Sequence(items) => items.iter().filter_map(|item| self.pattern(key, item)).collect(),
            _ => self.pattern(key, node).into_iter().collect(),
        };
        Globs::new(patterns).unwrap_or_else(Globs::anything)
    }

    fn pattern(&mut self, key: &Key, node: &Node) -> Option<Pattern> {
        self.text(key, node, MAX_PATTERN_BYTES).map(Pattern::new)
    }

    pub(super) fn attributes(&mut self, key: &Key, node: &Node) -> Vec<(Box<str>, Pattern)> {
        let Kind::Mapping(entries) = &node.kind else {
            let message = self.not_a(key, node, "a mapping");
            self.error("R003", node.span, message, "write attributes: { x-tenant: \"acme*\" }");
            return Vec::new();
        };
        if entries.len() > MAX_ATTRIBUTES {
            let message = format!("`{}` has {} entries, more than {MAX_ATTRIBUTES}", key.text, entries.len());
            self.error("R003", node.span, message, "a rule that looks at fewer headers is easier to follow");
            return Vec::new();
        }
        let mut attributes: Vec<(Box<str>, Pattern)> = Vec::new();
        let mut seen: Vec<(String, &Key)> = Vec::new();
        for (name, node) in entries {
            let folded = name.text.to_ascii_lowercase();
            if folded.is_empty() || folded.len() > MAX_PATTERN_BYTES {
                let message = format!("an attribute's name has 1 to {MAX_PATTERN_BYTES} bytes");
                self.error("R003", name.span, message, "name a request header");
            } else if let Some((_, first)) = seen.iter().find(|(other, _)| *other == folded) {
                let message =
                    format!("`{}` is another spelling of `{}`", shown(&name.text), shown(&first.text));
                let place = self.document.place(first.span);
                let hint = format!("it is already set at {place}; names of headers ignore case");
                self.error("R005", name.span, message, hint);
            } else {
                if let Some(pattern) = self.pattern(name, node) {
                    attributes.push((folded.as_str().into(), pattern));
                }
                seen.push((folded, name));
            }
        }
        // Their order means nothing, so it must not change the set's hash.
        attributes.sort_by(|(a, _), (b, _)| a.cmp(b));
        attributes
    }
}
