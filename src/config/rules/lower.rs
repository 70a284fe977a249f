//! One rule: from the tree to `sampling::Rule`, telling everything that is wrong with it.

use super::super::nearest::nearest;
use super::super::problem::shown;
use super::super::yaml::{Key, Kind, Node, Scalar, Span, Typed};
use super::keys::{self, Field, Spellings};
use super::rate;
use super::scalars::Lowering;
use crate::sampling::rule::Globs;
use crate::sampling::{Matchers, Mode, Pattern, Priority, Rate, ReservoirSize, Rule, RuleName};
use std::sync::Arc;

/// The longest name of a rule, in bytes. X-Ray takes 32 characters; `check` warns of that.
const MAX_NAME_BYTES: usize = 128;
/// The longest pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 512;
/// The most patterns of one field; every request may be compared with each.
const MAX_PATTERNS: usize = 256;
/// The most attributes of one rule. X-Ray takes 5.
const MAX_ATTRIBUTES: usize = 32;
/// The longest description, in bytes.
const MAX_DESCRIPTION_BYTES: usize = 1024;

/// What came of one entry of `rules`.
pub(super) struct Lowered {
    /// As written, for telling names given twice; also of a rule that is wrong otherwise.
    pub(super) name: Option<(String, Span)>,
    /// Absent if anything is wrong with it.
    pub(super) rule: Option<Rule>,
    /// Whether it takes part.
    pub(super) enabled: bool,
}

/// A key, and the field it spells.
type Found<'a, F> = (F, &'a Key, &'a Node);

impl Lowering<'_> {
    /// The fields of a mapping. Unknown keys and second spellings are told and left out.
    pub(super) fn fields<'a, F: Copy + PartialEq>(
        &mut self,
        entries: &'a [(Key, Node)],
        table: &'static [Spellings<F>],
        holder: &str,
    ) -> Vec<Found<'a, F>> {
        let mut found: Vec<Found<'a, F>> = Vec::new();
        for (key, node) in entries {
            let Some(field) = keys::find(table, &key.text) else {
                // Looking for the nearest takes a while, and nobody reads the hundredth.
                let near = (self.n_errors < 100).then(|| nearest(&key.text, keys::all(table))).flatten();
                let hint = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("{holder} has no such key"),
                };
                self.error("R002", key.span, format!("unknown key `{}`", shown(&key.text)), hint);
                continue;
            };
            match found.iter().find(|(other, ..)| *other == field) {
                Some((_, first, _)) => {
                    let message = format!("`{}` is another spelling of `{}`", key.text, first.text);
                    let place = self.document.place(first.span);
                    self.error(
                        "R005",
                        key.span,
                        message,
                        format!("it is already set at {place}; keep one of them"),
                    );
                }
                None => found.push((field, key, node)),
            }
        }
        found
    }

    /// One entry of `rules`.
    pub(super) fn rule(&mut self, node: &Node) -> Lowered {
        let Kind::Mapping(entries) = &node.kind else {
            let message = format!("a rule is a mapping, not {}", node.type_name());
            self.error("R003", node.span, message, "write `- name: …` and its other keys below");
            return Lowered { name: None, rule: None, enabled: true };
        };
        let n_errors = self.n_errors;
        let fields = self.fields(entries, keys::RULE, "a rule");
        let (mut name, mut priority, mut rate) = (None, None, None);
        let (mut reservoir, mut description, mut enabled) = (ReservoirSize::default(), None, true);
        let mut matchers = Matchers::default();
        for &(field, key, node) in &fields {
            match field {
                Field::Name => name = self.name(key, node),
                Field::Priority => priority = self.priority(key, node),
                Field::Reservoir => reservoir = self.reservoir(key, node).unwrap_or_default(),
                Field::Rate => rate = self.rate(key, node),
                Field::ServiceName => matchers.service_name = self.globs(key, node),
                Field::ServiceType => matchers.service_type = self.globs(key, node),
                Field::Host => matchers.host = self.globs(key, node),
                Field::HttpMethod => matchers.http_method = self.globs(key, node),
                Field::UrlPath => matchers.url_path = self.globs(key, node),
                Field::ResourceArn => matchers.resource_arn = self.globs(key, node),
                Field::Attributes => matchers.attributes = self.attributes(key, node),
                Field::Description => {
                    description = self.text(key, node, MAX_DESCRIPTION_BYTES).map(str::to_owned);
                }
                Field::Enabled => enabled = self.flag(key, node).unwrap_or(true),
                Field::Version => self.version(key, node),
                Field::Arn | Field::CreatedAt | Field::ModifiedAt => {}
                Field::Capture | Field::Mode | Field::Expires | Field::Boost => self.later(key),
            }
        }
        let has = |wanted: Field| fields.iter().any(|(field, ..)| *field == wanted);
        let called = name.map_or("the rule".to_owned(), |(name, _)| format!("rule `{}`", shown(name)));
        for (field, message, hint) in [
            (Field::Name, "has no `name`", "add one; metrics and every trace it keeps show it"),
            (Field::Priority, "has no `priority`", "add one from 1, tried first, to 9999"),
            (
                Field::Rate,
                "has no `rate`",
                "add `rate: 5%`, or `rate: 0` to keep only what the reservoir takes",
            ),
        ] {
            if !has(field) {
                self.error("R003", node.span, format!("{called} {message}"), hint);
            }
        }
        let rule = match (name, priority, rate) {
            (Some((name, _)), Some(priority), Some(rate)) if self.n_errors == n_errors => Some(Rule {
                name: RuleName::new(name),
                priority,
                reservoir,
                rate,
                matchers,
                description,
                place: self.document.place(node.span),
                mode: Mode::Enforce,
                expires: None,
                capture: None,
                state: Arc::default(),
            }),
            _ => None,
        };
        Lowered { name: name.map(|(name, span)| (name.to_owned(), span)), rule, enabled }
    }

    /// The value of `default`.
    pub(super) fn default_rule(&mut self, node: &Node) -> Option<Rule> {
        let Kind::Mapping(entries) = &node.kind else {
            let message = format!("`default` is a mapping, not {}", node.type_name());
            self.error("R003", node.span, message, "write default: { reservoir: 1, rate: 5% }");
            return None;
        };
        let n_errors = self.n_errors;
        let fields = self.fields(entries, keys::RULE, "`default`");
        let (mut reservoir, mut rate) = (ReservoirSize::default(), None);
        for &(field, key, node) in &fields {
            match field {
                Field::Reservoir => reservoir = self.reservoir(key, node).unwrap_or_default(),
                Field::Rate => rate = self.rate(key, node),
                _ if field.is_later() => self.later(key),
                _ if field.is_matcher() => {
                    let message = format!("`default` takes every request and cannot have `{}`", key.text);
                    self.error("R006", key.span, message, "write a rule with a priority of 9999 instead");
                }
                _ => {
                    let message = format!("`default` cannot have `{}`", key.text);
                    self.error("R006", key.span, message, "it has only `reservoir` and `rate`");
                }
            }
        }
        if !fields.iter().any(|(field, ..)| *field == Field::Rate) {
            self.error("R003", node.span, "`default` has no `rate`", "add `rate: 5%`");
        }
        let place = self.document.place(node.span);
        rate.filter(|_| self.n_errors == n_errors).map(|rate| Rule::default_rule(reservoir, rate, place))
    }

    /// A key that means something which this version would not do.
    pub(super) fn later(&mut self, key: &Key) {
        let message = format!("`{}` is not supported by this version", key.text);
        self.error(
            "R008",
            key.span,
            message,
            "remove it; it would be ignored, and the rules mean something else",
        );
    }

    fn name<'a>(&mut self, key: &Key, node: &'a Node) -> Option<(&'a str, Span)> {
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

    fn priority(&mut self, key: &Key, node: &Node) -> Option<Priority> {
        let scalar = self.number(key, node)?;
        let priority = match scalar.typed {
            Typed::Integer(number) => Priority::new(number),
            _ => None,
        };
        if priority.is_none() {
            let message = format!("priority {} is not a whole number from 1 to 9999", shown(&scalar.text));
            let hint = match scalar.typed {
                Typed::Integer(10_000) => {
                    "10000 is X-Ray's `Default`; write `default:` at the top of the file"
                }
                _ => "1 is tried first, 9999 last",
            };
            self.error("R003", node.span, message, hint);
        }
        priority
    }

    fn reservoir(&mut self, key: &Key, node: &Node) -> Option<ReservoirSize> {
        let scalar = self.number(key, node)?;
        let places = match scalar.typed {
            Typed::Integer(number) => number as f64,
            Typed::Float(number) => number,
            _ => f64::NAN,
        };
        let text = shown(&scalar.text);
        match ReservoirSize::try_from(places) {
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

    fn rate(&mut self, key: &Key, node: &Node) -> Option<Rate> {
        match &node.kind {
            Kind::Scalar(scalar) if !matches!(scalar.typed, Typed::Null | Typed::Bool(_)) => {
                match rate::parse(&scalar.text) {
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

    fn version(&mut self, key: &Key, node: &Node) {
        let is_one = matches!(&node.kind, Kind::Scalar(Scalar { typed: Typed::Integer(1), .. }));
        if !is_one {
            let message = format!("`{}` of a rule must be 1", key.text);
            self.error("R008", node.span, message, "X-Ray knows no other; remove the key");
        }
    }

    /// One pattern or a list of them; anything, if something is wrong.
    fn globs(&mut self, key: &Key, node: &Node) -> Globs {
        let patterns = match &node.kind {
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

    fn attributes(&mut self, key: &Key, node: &Node) -> Vec<(Box<str>, Pattern)> {
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
