//! How much a rule file may hold. Whoever needs more is shown where to say it in less.

/// The longest name of a rule, in bytes. X-Ray takes 32 characters; `check` warns of that.
pub(in crate::config) const MAX_NAME_BYTES: usize = 128;
/// The longest pattern, in bytes.
pub(in crate::config) const MAX_PATTERN_BYTES: usize = 512;
/// The most patterns of one field; every request may be compared with each.
pub(in crate::config) const MAX_PATTERNS: usize = 256;
/// The most attributes of one rule. X-Ray takes 5.
pub(in crate::config) const MAX_ATTRIBUTES: usize = 32;
/// The longest description, in bytes.
pub(in crate::config) const MAX_DESCRIPTION_BYTES: usize = 1024;
/// The most entries of `status`.
pub(in crate::config) const MAX_STATUSES: usize = 32;
/// The longest ARN, in bytes.
pub(in crate::config) const MAX_ARN_BYTES: usize = 2_048;
/// The most entries of one `include`.
pub(in crate::config) const MAX_INCLUDES: usize = 256;
/// The most instances that may share a reservoir.
pub(in crate::config) const MAX_REPLICAS: u32 = 100_000;
/// The most rules in one set, disabled ones counted.
pub const MAX_RULES: usize = 1_000;
