//! X-Ray's own limits of a rule: beyond them a rule runs here and cannot be exported. In characters.

use crate::sampling::rule::N_FIELDS;

/// The longest name.
pub const MAX_NAME: usize = 32;
/// The most attributes.
pub const MAX_ATTRIBUTES: usize = 5;
/// The longest name and the longest value of an attribute.
pub const MAX_ATTRIBUTE: usize = 32;
/// The longest pattern of each field, in the order of `Matchers::fields`.
pub const MAX_FIELDS: [usize; N_FIELDS] = [64, 64, 64, 10, 128, 500];
