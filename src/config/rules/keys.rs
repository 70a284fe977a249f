//! The keys of a rule file, in every spelling, and what is done with each.

/// A field of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Name,
    Priority,
    Reservoir,
    Rate,
    ServiceName,
    ServiceType,
    Host,
    HttpMethod,
    UrlPath,
    ResourceArn,
    Attributes,
    Description,
    Enabled,
    /// X-Ray's version of a rule, always 1.
    Version,
    /// Kept for round trips, not used.
    Arn,
    /// Kept for round trips, not used.
    CreatedAt,
    /// Kept for round trips, not used.
    ModifiedAt,
    /// Part of the format, but not read yet: refused, for ignoring it would record something else than was written.
    Capture,
    /// Likewise.
    Mode,
    /// Likewise.
    Expires,
    /// Likewise.
    Boost,
}

impl Field {
    /// Whether it says which requests a rule takes.
    pub(super) fn is_matcher(self) -> bool {
        matches!(
            self,
            Field::ServiceName
                | Field::ServiceType
                | Field::Host
                | Field::HttpMethod
                | Field::UrlPath
                | Field::ResourceArn
                | Field::Attributes
        )
    }

    /// Whether the format knows it and this version does not.
    pub(super) fn is_later(self) -> bool {
        matches!(self, Field::Capture | Field::Mode | Field::Expires | Field::Boost)
    }
}

/// A field and its spellings, the canonical one first. X-Ray's own names are always among them.
pub(super) type Spellings<F> = (F, &'static [&'static str]);

/// What a rule may hold.
pub(super) const RULE: &[Spellings<Field>] = &[
    (Field::Name, &["name", "rule_name", "RuleName"]),
    (Field::Priority, &["priority", "Priority"]),
    (Field::Reservoir, &["reservoir", "reservoir_size", "ReservoirSize", "fixed_target"]),
    (Field::Rate, &["rate", "fixed_rate", "FixedRate"]),
    (Field::ServiceName, &["service_name", "ServiceName"]),
    (Field::ServiceType, &["service_type", "ServiceType"]),
    (Field::Host, &["host", "Host"]),
    (Field::HttpMethod, &["http_method", "HTTPMethod", "HttpMethod", "method"]),
    (Field::UrlPath, &["url_path", "URLPath", "UrlPath", "path"]),
    (Field::ResourceArn, &["resource_arn", "ResourceARN", "ResourceArn"]),
    (Field::Attributes, &["attributes", "Attributes"]),
    (Field::Description, &["description", "Description"]),
    (Field::Enabled, &["enabled"]),
    (Field::Version, &["version", "Version"]),
    (Field::Arn, &["rule_arn", "RuleARN", "RuleArn"]),
    (Field::CreatedAt, &["created_at", "CreatedAt"]),
    (Field::ModifiedAt, &["modified_at", "ModifiedAt"]),
    (Field::Capture, &["capture"]),
    (Field::Mode, &["mode"]),
    (Field::Expires, &["expires"]),
    (Field::Boost, &["sampling_rate_boost", "SamplingRateBoost"]),
];

/// A key at the top of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Top {
    RulesVersion,
    Default,
    Rules,
    /// Part of the format, but not read yet.
    Include,
    /// Likewise.
    Replicas,
}

/// What a file may hold.
pub(super) const TOP: &[Spellings<Top>] = &[
    (Top::RulesVersion, &["rules_version"]),
    (Top::Default, &["default"]),
    (Top::Rules, &["rules"]),
    (Top::Include, &["include"]),
    (Top::Replicas, &["replicas"]),
];

/// The field that `key` spells.
pub(super) fn find<F: Copy>(table: &[Spellings<F>], key: &str) -> Option<F> {
    table.iter().find(|(_, spellings)| spellings.contains(&key)).map(|(field, _)| *field)
}

/// Every spelling, for suggestions.
pub(super) fn all<F>(table: &'static [Spellings<F>]) -> impl Iterator<Item = &'static str> {
    table.iter().flat_map(|(_, spellings)| spellings.iter().copied())
}
