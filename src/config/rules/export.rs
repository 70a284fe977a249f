//! Rules in the notations of others, for X-Ray itself and for what sets it up.
//!
//! ```text
//!   files ─► check ─► flat: one pattern a field, whole reservoirs ─► write: JSON or HCL
//!                       └ whatever the target cannot say is refused, with the line that says it
//! ```
//!
//! Nothing is left out that decides anything: what is exported and read back decides as before. What only people read,
//! such as a description, is left out with a note where the target has no room for it.

mod flat;
mod write;

use super::super::problem::{Problem, Problems, Severity, counted};
use super::super::yaml::{Codes, Document, Kind, Node};
use super::keys::{self, Field};
use super::{Loaded, Source, check};
use crate::sampling::{Rate, ReservoirSize, Rule};
use std::collections::HashMap;

/// The code of everything that is told here.
const NOT_EXPORTABLE: &str = "R109";
/// How many rules of one's own X-Ray takes in one region, unless one asks for more.
const XRAY_QUOTA: usize = 25;

/// Who is to read the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// X-Ray's API: what `aws xray get-sampling-rules` prints.
    AwsApi,
    /// The local rules of X-Ray's SDKs, version 2.
    SdkV2,
    /// A CloudFormation template, as JSON.
    CloudFormation,
    /// Terraform's AWS provider.
    Terraform,
}

impl Format {
    /// As it is called on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::AwsApi => "aws-api",
            Format::SdkV2 => "sdk-v2",
            Format::CloudFormation => "cloudformation",
            Format::Terraform => "terraform",
        }
    }

    /// Whether the rules go to X-Ray itself, with its limits, its names and one reservoir for all instances.
    fn is_central(self) -> bool {
        self != Format::SdkV2
    }
}

/// Rules as others read them.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The whole file, with a line feed at its end.
    pub text: String,
    /// What is worth knowing. Never errors.
    pub notes: Problems,
}

/// Writes rules for others. With `expand` a list of patterns becomes several rules.
///
/// # Errors
/// Whatever is wrong with the files, or all that `format` cannot say.
pub fn export(sources: &[Source], format: Format, expand: bool) -> Result<Exported, Problems> {
    let checked = check(sources);
    let Some(loaded) = checked.loaded else { return Err(checked.problems) };
    let mut exporter = Exporter { format, expand, files: Files::new(sources), problems: Problems::new() };
    let flat = exporter.flatten(&loaded);
    exporter.set(sources, &loaded, flat.len());
    if exporter.problems.has_errors() {
        return Err(exporter.problems);
    }
    let text = write::write(format, &flat, loaded.rules.default_rule());
    Ok(Exported { text, notes: exporter.problems })
}

/// Judges rules by what a format can say.
struct Exporter {
    format: Format,
    expand: bool,
    files: Files,
    problems: Problems,
}

impl Exporter {
    /// An error at the value of a rule's field.
    fn refuse(&mut self, rule: &Rule, field: Field, message: impl Into<String>, hint: &str) {
        self.tell(Severity::Error, rule, field, message, hint);
    }

    fn tell(
        &mut self,
        severity: Severity,
        rule: &Rule,
        field: Field,
        message: impl Into<String>,
        hint: &str,
    ) {
        let problem = self.files.problem(rule, field, message.into());
        self.problems.push(problem.hint(hint).severity(severity));
    }

    /// What concerns the set and not one of its rules.
    fn set(&mut self, sources: &[Source], loaded: &Loaded, n_rules: usize) {
        let name = sources.first().map(|source| source.path.display().to_string()).unwrap_or_default();
        let mut tell = |severity: Severity, message: String, hint: &str| {
            let problem = Problem::at_name(NOT_EXPORTABLE, &name, message);
            self.problems.push(problem.hint(hint).severity(severity));
        };
        if !loaded.disabled.is_empty() {
            let n_disabled = loaded.disabled.len();
            let message = format!("{} with `enabled: false` left out", counted(n_disabled, "rule"));
            tell(Severity::Note, message, "others have no rules that are not used");
        }
        if !self.format.is_central() {
            return;
        }
        let n_described = loaded.rules.iter().filter(|rule| rule.description.is_some()).count();
        if n_described > 0 {
            let message = format!("{} left out", counted(n_described, "description"));
            tell(Severity::Note, message, "X-Ray's rules have none");
        }
        if n_rules > XRAY_QUOTA {
            let message =
                format!("{n_rules} rules are more than the {XRAY_QUOTA} that X-Ray takes in a region");
            tell(Severity::Warning, message, "ask AWS for more, or use wildcards to say the same in fewer");
        }
        let default = loaded.rules.default_rule();
        let (reservoir, rate) = (default.whole_reservoir(), default.rate);
        let is_xrays = reservoir == ReservoirSize::per_second(1) && rate == Rate::FIVE_PERCENT;
        if self.format != Format::AwsApi && !is_xrays {
            let hint = format!(
                "set it once: aws xray update-sampling-rule --sampling-rule-update RuleName=Default,ReservoirSize={},FixedRate={}",
                reservoir.get(),
                rate.get()
            );
            tell(
                Severity::Warning,
                "X-Ray's `Default` is there already, and is left as it is".to_owned(),
                &hint,
            );
        }
        let has_boost =
            loaded.rules.iter().any(|rule| rule.kept.as_ref().is_some_and(|kept| kept.boost.is_some()));
        if self.format == Format::Terraform && has_boost {
            let message = "`sampling_rate_boost` is left out".to_owned();
            tell(Severity::Note, message, "Terraform's provider does not know it");
        }
    }
}

/// The files once more, to find where a field stands.
struct Files(HashMap<String, Document>);

impl Files {
    fn new(sources: &[Source]) -> Files {
        let documents = sources.iter().filter_map(|source| {
            let name = source.path.display().to_string();
            let document = Document::parse(&name, &source.bytes, Codes::RULES).ok()?;
            Some((name, document))
        });
        Files(documents.collect())
    }

    /// A problem at the value of a rule's field, or at the rule if it does not mention the field.
    fn problem(&self, rule: &Rule, field: Field, message: String) -> Problem {
        let place = &rule.place;
        let Some(document) = self.0.get(&*place.file) else {
            return Problem::at_name(NOT_EXPORTABLE, &place.to_string(), message);
        };
        let Some(node) = mapping_at(&document.root, place.line, place.column) else {
            return Problem::at_name(NOT_EXPORTABLE, &place.to_string(), message);
        };
        let value = match &node.kind {
            Kind::Mapping(entries) => {
                entries.iter().find(|(key, _)| keys::find(keys::RULE, &key.text) == Some(field))
            }
            Kind::Scalar(_) | Kind::Sequence(_) => None,
        };
        let span = value.map_or(node.span, |(_, value)| value.span);
        document.problem(NOT_EXPORTABLE, span, message)
    }
}

/// The mapping that begins there.
fn mapping_at(node: &Node, line: usize, column: usize) -> Option<&Node> {
    let is_it = matches!(node.kind, Kind::Mapping(_)) && (node.span.line, node.span.column) == (line, column);
    // A file's own mapping begins where its first key does, and so may the first rule's: the inner one is meant.
    let inner = match &node.kind {
        Kind::Mapping(entries) => entries.iter().find_map(|(_, node)| mapping_at(node, line, column)),
        Kind::Sequence(items) => items.iter().find_map(|node| mapping_at(node, line, column)),
        Kind::Scalar(_) => None,
    };
    inner.or(is_it.then_some(node))
}

#[cfg(test)]
mod tests;
