//! Any bytes from a client and from an application.
#![no_main]

#[allow(dead_code, reason = "each target runs one of them")]
#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::http1::http1(bytes));
