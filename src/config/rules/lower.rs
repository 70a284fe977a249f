//! One rule: from the tree to `sampling::Rule`, telling everything that is wrong with it.

use super::super::nearest::nearest;
use super::super::problem::shown;
use super::super::yaml::{Key, Kind, Node, Span};
use super::keys::{self, Field, Spellings};
use super::limits::MAX_DESCRIPTION_BYTES;
use super::scalars::Lowering;
use crate::sampling::{Capture, Kept, Matchers, Mode, Priority, Rate, ReservoirSize, Rule, RuleName};
use std::sync::Arc;

/// What came of one entry of `rules`.
pub(super) struct Lowered {
    /// As written, for telling names given twice; also of a rule that is wrong otherwise.
    pub(super) name: Option<(String, Span)>,
    /// Absent if anything is wrong with it.
    pub(super) rule: Option<Rule>,
    /// Whether it takes part.
    pub(super) enabled: bool,
}

/// A field that must be there: what it is called, and what to do if it is not.
pub(super) type Required = (Field, &'static str, &'static str);

/// What a rule of ours cannot be without.
const REQUIRED: &[Required] = &[
    (Field::Name, "name", "add one; metrics and every trace it keeps show it"),
    (Field::Priority, "priority", "add one from 1, tried first, to 9999"),
    (Field::Rate, "rate", "add `rate: 5%`, or `rate: 0` to keep only what the reservoir takes"),
];

/// A key, and the field it spells.
pub(super) type Found<'a, F> = (F, &'a Key, &'a Node);

/// What the fields of one rule say, each as far as it is right.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) name: Option<(String, Span)>,
    pub(super) priority: Option<Priority>,
    pub(super) rate: Option<Rate>,
    pub(super) reservoir: ReservoirSize,
    pub(super) matchers: Matchers,
    pub(super) description: Option<String>,
    pub(super) disabled: bool,
    pub(super) mode: Mode,
    pub(super) expires: Option<u64>,
    pub(super) capture: Option<Capture>,
    pub(super) kept: Kept,
}

impl Draft {
    /// What nobody decides by, if there is any.
    pub(super) fn kept(&mut self) -> Option<Box<Kept>> {
        let kept = std::mem::take(&mut self.kept);
        (kept != Kept::default()).then(|| Box::new(kept))
    }
}

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
        self.rule_of(node, &fields, REQUIRED, Kept::default(), n_errors)
    }

    /// A rule of these fields. `kept` is what stood around it; `n_errors` is how many there were before its first key.
    pub(super) fn rule_of(
        &mut self,
        node: &Node,
        fields: &[Found<'_, Field>],
        required: &[Required],
        kept: Kept,
        n_errors: usize,
    ) -> Lowered {
        let mut draft = self.draft(fields, kept);
        self.require(node, fields, required, draft.name.as_ref().map(|(name, _)| name.as_str()));
        let enabled = !draft.disabled;
        let name = draft.name.take();
        let rule = match (&name, draft.priority, draft.rate) {
            (Some((name, _)), Some(priority), Some(rate)) if self.n_errors == n_errors => {
                Some(self.finish(node, name, priority, rate, draft))
            }
            _ => None,
        };
        Lowered { name, rule, enabled }
    }

    /// The rule that a draft without mistakes makes.
    pub(super) fn finish(
        &self,
        node: &Node,
        name: &str,
        priority: Priority,
        rate: Rate,
        mut draft: Draft,
    ) -> Rule {
        Rule {
            name: RuleName::new(name),
            priority,
            reservoir: draft.reservoir,
            rate,
            kept: draft.kept(),
            matchers: draft.matchers,
            mode: draft.mode,
            expires: draft.expires,
            capture: draft.capture,
            description: draft.description,
            place: self.document.place(node.span),
            state: Arc::default(),
        }
    }

    /// Reads each field.
    pub(super) fn draft(&mut self, fields: &[Found<'_, Field>], kept: Kept) -> Draft {
        let mut draft = Draft { kept, ..Draft::default() };
        for &(field, key, node) in fields {
            let matchers = &mut draft.matchers;
            match field {
                Field::Name => {
                    draft.name = self.name(key, node).map(|(name, span)| (name.to_owned(), span));
                }
                Field::Priority => draft.priority = self.priority(key, node),
                Field::Reservoir => draft.reservoir = self.reservoir(key, node).unwrap_or_default(),
                Field::Rate => draft.rate = self.rate(key, node),
                Field::ServiceName => matchers.service_name = self.globs(key, node),
                Field::ServiceType => matchers.service_type = self.globs(key, node),
                Field::Host => matchers.host = self.globs(key, node),
                Field::HttpMethod => matchers.http_method = self.globs(key, node),
                Field::UrlPath => matchers.url_path = self.globs(key, node),
                Field::ResourceArn => matchers.resource_arn = self.globs(key, node),
                Field::Attributes => matchers.attributes = self.attributes(key, node),
                Field::Description => {
                    draft.description = self.text(key, node, MAX_DESCRIPTION_BYTES).map(str::to_owned);
                }
                Field::Enabled => draft.disabled = !self.flag(key, node).unwrap_or(true),
                Field::Capture => draft.capture = self.capture(key, node),
                Field::Mode => draft.mode = self.mode(key, node).unwrap_or_default(),
                Field::Expires => draft.expires = self.expires(key, node),
                Field::Version => self.version(key, node),
                Field::Arn => draft.kept.arn = self.arn(key, node),
                Field::CreatedAt => draft.kept.created_at = self.timestamp(key, node),
                Field::ModifiedAt => draft.kept.modified_at = self.timestamp(key, node),
                Field::Boost => draft.kept.boost = self.boost(key, node),
            }
        }
        draft
    }

    /// Tells which of `required` are not there.
    pub(super) fn require(
        &mut self,
        node: &Node,
        fields: &[Found<'_, Field>],
        required: &[Required],
        name: Option<&str>,
    ) {
        let called = name.map_or("the rule".to_owned(), |name| format!("rule `{}`", shown(name)));
        for (wanted, key, hint) in required {
            if !fields.iter().any(|(field, ..)| field == wanted) {
                self.error("R003", node.span, format!("{called} has no `{key}`"), *hint);
            }
        }
    }

    /// The value of `default`. X-Ray's SDKs ask for a reservoir, too.
    pub(super) fn default_rule(
        &mut self,
        node: &Node,
        table: &'static [Spellings<Field>],
        required: &[Required],
    ) -> Option<Rule> {
        let Kind::Mapping(entries) = &node.kind else {
            let message = format!("`default` is a mapping, not {}", node.type_name());
            self.error("R003", node.span, message, "write default: { reservoir: 1, rate: 5% }");
            return None;
        };
        let n_errors = self.n_errors;
        let fields = self.fields(entries, table, "`default`");
        let (allowed, refused): (Vec<_>, Vec<_>) = fields.into_iter().partition(|(field, ..)| match field {
            Field::Reservoir | Field::Rate => true,
            Field::Capture => !self.is_foreign,
            _ => false,
        });
        for (field, key, _) in refused {
            let (message, hint) = match field.is_matcher() {
                true if self.is_foreign => (
                    format!("`default` takes every request and cannot have `{}`", key.text),
                    "write it as the last of the rules instead",
                ),
                true => (
                    format!("`default` takes every request and cannot have `{}`", key.text),
                    "write a rule with a priority of 9999 instead",
                ),
                false if self.is_foreign => {
                    (format!("`default` cannot have `{}`", key.text), "it has only `fixed_target` and `rate`")
                }
                false => (
                    format!("`default` cannot have `{}`", key.text),
                    "it has only `reservoir`, `rate` and `capture`",
                ),
            };
            self.error("R006", key.span, message, hint);
        }
        for (wanted, key, hint) in required {
            if !allowed.iter().any(|(field, ..)| field == wanted) {
                self.error("R003", node.span, format!("`default` has no `{key}`"), *hint);
            }
        }
        let draft = self.draft(&allowed, Kept::default());
        let place = self.document.place(node.span);
        draft
            .rate
            .filter(|_| self.n_errors == n_errors)
            .map(|rate| Rule { capture: draft.capture, ..Rule::default_rule(draft.reservoir, rate, place) })
    }
}

/// What `default` cannot be without.
pub(super) const DEFAULT_REQUIRED: &[Required] = &[(Field::Rate, "rate", "add `rate: 5%`")];
