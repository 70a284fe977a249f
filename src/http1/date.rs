//! The `Date` of answers that have none (RFC 9110 6.6.1).

use crate::clock::Clock;
use std::cell::RefCell;
use std::time::{Duration, UNIX_EPOCH};

thread_local! {
    /// A second, and how it is written: to write it costs more than to ask the time.
    static WRITTEN: RefCell<(u32, String)> = const { RefCell::new((0, String::new())) };
}

/// Writes the field.
pub(super) fn write(clock: Clock, out: &mut Vec<u8>) {
    let second = clock.now().epoch_seconds();
    WRITTEN.with_borrow_mut(|(written, text)| {
        if *written != second {
            *written = second;
            *text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second.into()));
        }
        out.extend_from_slice(b"date: ");
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(b"\r\n");
    });
}
