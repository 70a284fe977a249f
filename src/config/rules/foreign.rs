//! Rules in the notations of others: X-Ray's API, and the local rules of X-Ray's SDKs.
//!
//! Both are read as strictly as our own, and hold nothing that their owners would not understand: a file that loads
//! here loads there.

use super::super::problem::shown;
use super::super::yaml::{Key, Kind, Node, Scalar, Typed};
use super::keys::{self, Field, Record, Spellings};
use super::lower::{Found, Lowered, Required};
use super::scalars::Lowering;
use crate::sampling::{Kept, Priority, Rule, RuleName};

/// What a rule of X-Ray's API cannot be without.
const API_REQUIRED: &[Required] = &[
    (Field::Name, "RuleName", "X-Ray's rules have names"),
    (Field::Priority, "Priority", "add one from 1, tried first, to 9999"),
    (Field::Rate, "FixedRate", "add one from 0 to 1"),
];

/// What a local rule of an SDK cannot be without.
const SDK_REQUIRED: &[Required] = &[
    (Field::Host, "host", "the SDKs refuse the file without it; \"*\" is any"),
    (Field::HttpMethod, "http_method", "the SDKs refuse the file without it; \"*\" is any"),
    (Field::UrlPath, "url_path", "the SDKs refuse the file without it; \"*\" is any"),
    (Field::Reservoir, "fixed_target", "the SDKs refuse the file without it; 0 is none"),
    (Field::Rate, "rate", "the SDKs refuse the file without it; 0 is none"),
];

/// As [`SDK_REQUIRED`], in version 1.
const SDK_REQUIRED_V1: &[Required] = &[
    (Field::Host, "service_name", "version 1 calls the host so; \"*\" is any"),
    SDK_REQUIRED[1],
    SDK_REQUIRED[2],
    SDK_REQUIRED[3],
    SDK_REQUIRED[4],
];

/// What the default of an SDK's file cannot be without.
pub(super) const SDK_DEFAULT_REQUIRED: &[Required] = &[SDK_REQUIRED[3], SDK_REQUIRED[4]];

/// What a rule of X-Ray's API comes to.
pub(super) enum FromApi {
    /// One of the rules.
    Rule(Lowered),
    /// `Default`; absent if anything is wrong with it.
    Default(Option<Rule>),
}

impl Lowering<'_> {
    /// One element of a list of rules or records, or a whole file that is one of these.
    pub(super) fn api_entry(&mut self, node: &Node) -> FromApi {
        let Kind::Mapping(entries) = &node.kind else {
            let message = format!("a rule is a mapping, not {}", node.type_name());
            self.error("R003", node.span, message, "keep what `aws xray get-sampling-rules` printed");
            return FromApi::Rule(Lowered { name: None, rule: None, enabled: true });
        };
        if node.get("RuleName").is_some() {
            return self.api_rule(node, entries, Kept::default(), self.n_errors);
        }
        let (mut kept, n_errors) = (Kept::default(), self.n_errors);
        let mut rule = None;
        for (field, key, value) in self.fields(entries, keys::RECORD, "a record") {
            match field {
                Record::Rule => rule = Some(value),
                Record::CreatedAt => kept.created_at = self.timestamp(key, value),
                Record::ModifiedAt => kept.modified_at = self.timestamp(key, value),
            }
        }
        match rule {
            Some(Node { kind: Kind::Mapping(entries), .. }) => {
                self.api_rule(rule.unwrap_or(node), entries, kept, n_errors)
            }
            other => {
                let message = match other {
                    Some(other) => format!("`SamplingRule` is a mapping, not {}", other.type_name()),
                    None => "the record has no `SamplingRule`".to_owned(),
                };
                let span = other.unwrap_or(node).span;
                self.error("R003", span, message, "keep what `aws xray get-sampling-rules` printed");
                FromApi::Rule(Lowered { name: None, rule: None, enabled: true })
            }
        }
    }

    fn api_rule(&mut self, node: &Node, entries: &[(Key, Node)], kept: Kept, n_errors: usize) -> FromApi {
        let fields = self.fields(entries, keys::API_RULE, "a rule of X-Ray's API");
        let is_default = fields.iter().any(|(field, _, node)| {
            *field == Field::Name
                && matches!(&node.kind, Kind::Scalar(scalar) if scalar.text == RuleName::DEFAULT)
        });
        match is_default {
            true => FromApi::Default(self.api_default(node, &fields, kept, n_errors)),
            false => FromApi::Rule(self.rule_of(node, &fields, API_REQUIRED, kept, n_errors)),
        }
    }

    /// X-Ray's catch-all is a rule like others there: its priority is 10000, and everything matches.
    fn api_default(
        &mut self,
        node: &Node,
        fields: &[Found<'_, Field>],
        kept: Kept,
        n_errors: usize,
    ) -> Option<Rule> {
        const HINT: &str = "give the rule another name, or let it be as X-Ray prints it";
        let mut rest = Vec::new();
        for &(field, key, value) in fields {
            let number = match &value.kind {
                Kind::Scalar(Scalar { typed: Typed::Integer(number), .. }) => Some(*number),
                _ => None,
            };
            match field {
                Field::Name => {}
                Field::Priority if number == Some(i64::from(Priority::DEFAULT_RULE.get())) => {}
                Field::Priority => {
                    self.error("R006", value.span, "the priority of `Default` is 10000", HINT);
                }
                _ => rest.push((field, key, value)),
            }
        }
        let draft = self.draft(&rest, kept);
        for &(field, key, value) in rest.iter().filter(|(field, ..)| field.is_matcher()) {
            let matchers = &draft.matchers;
            let is_anything = match field {
                Field::ServiceName => matchers.service_name.is_anything(),
                Field::ServiceType => matchers.service_type.is_anything(),
                Field::Host => matchers.host.is_anything(),
                Field::HttpMethod => matchers.http_method.is_anything(),
                Field::UrlPath => matchers.url_path.is_anything(),
                Field::ResourceArn => matchers.resource_arn.is_anything(),
                _ => matchers.attributes.is_empty(),
            };
            if !is_anything {
                let message =
                    format!("`Default` takes every request, and its `{}` says otherwise", shown(&key.text));
                self.error("R006", value.span, message, HINT);
            }
        }
        for (field, key) in [(Field::Priority, "Priority"), (Field::Rate, "FixedRate")] {
            if !fields.iter().any(|(found, ..)| *found == field) {
                self.error("R003", node.span, format!("`Default` has no `{key}`"), HINT);
            }
        }
        let rate = draft.rate.filter(|_| self.n_errors == n_errors)?;
        let place = self.document.place(node.span);
        let mut draft = draft;
        Some(Rule { kept: draft.kept(), ..Rule::default_rule(draft.reservoir, rate, place) })
    }

    /// A local rule of an SDK. Its name and its priority are its place in the file.
    pub(super) fn sdk_rule(
        &mut self,
        node: &Node,
        is_v1: bool,
        name: &str,
        priority: Option<Priority>,
    ) -> Lowered {
        let Kind::Mapping(entries) = &node.kind else {
            let message = format!("a rule is a mapping, not {}", node.type_name());
            self.error("R003", node.span, message, "write { \"host\": \"*\", … }");
            return Lowered { name: None, rule: None, enabled: true };
        };
        let n_errors = self.n_errors;
        let table: &'static [Spellings<Field>] = if is_v1 { keys::SDK_RULE_V1 } else { keys::SDK_RULE };
        let required = if is_v1 { SDK_REQUIRED_V1 } else { SDK_REQUIRED };
        let fields = self.fields(entries, table, "a local rule of the SDKs");
        self.require(node, &fields, required, Some(name));
        let draft = self.draft(&fields, Kept::default());
        let rule = match (priority, draft.rate) {
            (Some(priority), Some(rate)) if self.n_errors == n_errors => {
                Some(self.finish(node, name, priority, rate, draft))
            }
            _ => None,
        };
        Lowered { name: Some((name.to_owned(), node.span)), rule, enabled: true }
    }
}
