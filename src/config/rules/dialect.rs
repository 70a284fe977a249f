//! The notations of sampling rules, told apart by content.

use super::super::yaml::{Kind, Node, Scalar, Span, Typed};

/// A notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `rules_version`.
    Ours,
    /// Like ours, but it does not say so.
    Undeclared,
    /// What `aws xray get-sampling-rules` prints, or a part of it.
    XrayApi,
    /// The local rules of X-Ray's SDKs; where its `version` is.
    SdkLocal(Span),
    /// Nothing, or only comments.
    Empty,
    /// Not even a mapping.
    Unknown,
}

/// In which notation a file is written.
pub(super) fn dialect(root: &Node) -> Dialect {
    let is_api = |node: &Node| {
        ["SamplingRuleRecords", "SamplingRule", "RuleName"].iter().any(|key| node.get(key).is_some())
    };
    match &root.kind {
        Kind::Scalar(Scalar { typed: Typed::Null, .. }) => Dialect::Empty,
        Kind::Mapping(_) if root.get("rules_version").is_some() => Dialect::Ours,
        Kind::Mapping(_) if is_api(root) => Dialect::XrayApi,
        Kind::Sequence(items) if items.iter().any(is_api) => Dialect::XrayApi,
        Kind::Mapping(entries) => match entries.iter().find(|(key, _)| key.text == "version") {
            Some((key, _)) => Dialect::SdkLocal(key.span),
            None => Dialect::Undeclared,
        },
        _ => Dialect::Unknown,
    }
}
