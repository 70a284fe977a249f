//! Tests of rules: what they should decide, written beside them and computed without rolling dice.
//!
//! ```yaml
//! service: { name: shop }
//! tests:
//!   - name: polling stays cheap
//!     request: GET https://shop.example.com/api/state/42
//!     expect: { rule: state-polling, rate: 0.3% }
//! ```
//!
//! A test asks for the rule and for figures that follow from it. Only `trials` runs the sampler itself, with a seed, so
//! that it too says the same each time.
//!
//! May not: print, ask the time, or read files; text comes in and results go out.

mod file;
mod judge;
pub mod record;

pub use file::{Captured, Expectation, Sampled, Test, TestFile, Trials, parse};
pub use judge::{Verdict, coverage, judge};

#[cfg(test)]
mod tests;
