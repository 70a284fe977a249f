//! The keys of rule files in every notation and spelling. What is read and the published schema both follow from these
//! tables.

/// A field of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Field {
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
    Capture,
    Mode,
    Expires,
    /// X-Ray's version of a rule, always 1.
    Version,
    /// Kept for round trips, not used.
    Arn,
    /// Kept for round trips, not used.
    CreatedAt,
    /// Kept for round trips, not used.
    ModifiedAt,
    /// Kept for round trips, not used.
    Boost,
}

impl Field {
    /// Whether it says which requests a rule takes.
    pub(in crate::config) fn is_matcher(self) -> bool {
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
}

/// A field and its spellings, the canonical one first. X-Ray's own names are always among them.
pub(in crate::config) type Spellings<F> = (F, &'static [&'static str]);

/// What a rule may hold.
pub(in crate::config) const RULE: &[Spellings<Field>] = &[
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

/// What a rule holds as X-Ray's API prints it: one spelling each.
pub(in crate::config) const API_RULE: &[Spellings<Field>] = &[
    (Field::Name, &["RuleName"]),
    (Field::Arn, &["RuleARN"]),
    (Field::Priority, &["Priority"]),
    (Field::Reservoir, &["ReservoirSize"]),
    (Field::Rate, &["FixedRate"]),
    (Field::ServiceName, &["ServiceName"]),
    (Field::ServiceType, &["ServiceType"]),
    (Field::Host, &["Host"]),
    (Field::HttpMethod, &["HTTPMethod"]),
    (Field::UrlPath, &["URLPath"]),
    (Field::ResourceArn, &["ResourceARN"]),
    (Field::Attributes, &["Attributes"]),
    (Field::Version, &["Version"]),
    (Field::Boost, &["SamplingRateBoost"]),
];

/// What a local rule of the X-Ray SDKs holds, version 2.
pub(in crate::config) const SDK_RULE: &[Spellings<Field>] = &[
    (Field::Description, &["description"]),
    (Field::Host, &["host"]),
    (Field::HttpMethod, &["http_method"]),
    (Field::UrlPath, &["url_path"]),
    (Field::Reservoir, &["fixed_target"]),
    (Field::Rate, &["rate"]),
];

/// Version 1: what it calls the service's name was always compared with the host.
pub(in crate::config) const SDK_RULE_V1: &[Spellings<Field>] = &[
    (Field::Description, &["description"]),
    (Field::Host, &["service_name"]),
    (Field::HttpMethod, &["http_method"]),
    (Field::UrlPath, &["url_path"]),
    (Field::Reservoir, &["fixed_target"]),
    (Field::Rate, &["rate"]),
];

/// A key at the top of a file in our notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Top {
    RulesVersion,
    Include,
    Replicas,
    Default,
    Rules,
}

/// What a file in our notation may hold.
pub(in crate::config) const TOP: &[Spellings<Top>] = &[
    (Top::RulesVersion, &["rules_version"]),
    (Top::Include, &["include"]),
    (Top::Replicas, &["replicas"]),
    (Top::Default, &["default"]),
    (Top::Rules, &["rules"]),
];

/// A key at the top of a file of an X-Ray SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum SdkTop {
    Version,
    Default,
    Rules,
}

/// What a file of an X-Ray SDK may hold.
pub(in crate::config) const SDK_TOP: &[Spellings<SdkTop>] =
    &[(SdkTop::Version, &["version"]), (SdkTop::Default, &["default"]), (SdkTop::Rules, &["rules"])];

/// A key around the rules in an answer of X-Ray's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum ApiTop {
    Records,
    NextToken,
}

/// The answer of `GetSamplingRules`.
pub(in crate::config) const API_TOP: &[Spellings<ApiTop>] =
    &[(ApiTop::Records, &["SamplingRuleRecords"]), (ApiTop::NextToken, &["NextToken"])];

/// A key of one record of X-Ray's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Record {
    Rule,
    CreatedAt,
    ModifiedAt,
}

/// One record: a rule, and when it was made.
pub(in crate::config) const RECORD: &[Spellings<Record>] = &[
    (Record::Rule, &["SamplingRule"]),
    (Record::CreatedAt, &["CreatedAt"]),
    (Record::ModifiedAt, &["ModifiedAt"]),
];

/// A key of `capture`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum CaptureKey {
    Status,
    SlowerThan,
    Limit,
    Inherited,
}

/// What `capture` may hold.
pub(in crate::config) const CAPTURE: &[Spellings<CaptureKey>] = &[
    (CaptureKey::Status, &["status"]),
    (CaptureKey::SlowerThan, &["slower_than"]),
    (CaptureKey::Limit, &["limit"]),
    (CaptureKey::Inherited, &["inherited"]),
];

/// A key of `sampling_rate_boost`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum BoostKey {
    MaxRate,
    Cooldown,
}

/// What `sampling_rate_boost` holds.
pub(in crate::config) const BOOST: &[Spellings<BoostKey>] = &[
    (BoostKey::MaxRate, &["max_rate", "MaxRate"]),
    (BoostKey::Cooldown, &["cooldown_window_minutes", "CooldownWindowMinutes"]),
];

/// The field that `key` spells.
pub(in crate::config) fn find<F: Copy>(table: &[Spellings<F>], key: &str) -> Option<F> {
    table.iter().find(|(_, spellings)| spellings.contains(&key)).map(|(field, _)| *field)
}

/// Every spelling, for suggestions.
pub(in crate::config) fn all<F>(table: &'static [Spellings<F>]) -> impl Iterator<Item = &'static str> {
    table.iter().flat_map(|(_, spellings)| spellings.iter().copied())
}
