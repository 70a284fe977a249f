//! A switch for tests: breaks one request on purpose, to show that the others do not notice.
//!
//! Built only with the feature `fault-switch`, which no release has, and even then off unless the variable
//! `COLLIMATOR_FAULT` turns it on: `panic-on:/path`.

use std::sync::OnceLock;

/// The variable that says what is to break.
const VARIABLE: &str = "COLLIMATOR_FAULT";

/// Panics if the switch is set to this path.
pub fn strike(path: &str) {
    static SWITCH: OnceLock<Option<String>> = OnceLock::new();
    let switch = SWITCH.get_or_init(|| std::env::var(VARIABLE).ok());
    if switch.as_deref().and_then(|fault| fault.strip_prefix("panic-on:")) == Some(path) {
        #[expect(clippy::panic, reason = "this is what the switch is for")]
        {
            panic!("the fault switch was set");
        }
    }
}
