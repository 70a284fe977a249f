//! Reads the trace headers that the sidecar writes, strictly: what it writes has one form only.

use super::client::Response;
use super::upstream::Seen;

/// A trace id and a parent that could have come from a caller.
pub(crate) const ROOT: &str = "1-5759e988-bd862e3fe1be46a994272793";
pub(crate) const OTHER_ROOT: &str = "1-68a1b2c3-0f1e2d3c4b5a69788796a5b4";
pub(crate) const PARENT: &str = "53995c3f42cd8ad8";

/// The value of `X-Amzn-Trace-Id` as the application saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) root: String,
    pub(crate) parent: String,
    pub(crate) sampled: bool,
    /// Everything after `Sampled`, in order.
    pub(crate) rest: Vec<String>,
}

impl Carried {
    /// Reads what the application saw, and holds it to the one canonical form and to an equal `traceparent`.
    #[track_caller]
    pub(crate) fn by(seen: &Seen) -> Carried {
        let text = seen.header("x-amzn-trace-id").expect("the application saw no X-Amzn-Trace-Id");
        let carried = Carried::read(&text).unwrap_or_else(|| panic!("not the canonical form: {text}"));
        let traceparent = seen.header("traceparent").expect("the application saw no traceparent");
        let parts: Vec<&str> = traceparent.split('-').collect();
        let [version, trace, span, flags] = parts[..] else { panic!("not a traceparent: {traceparent}") };
        assert_eq!(version, "00", "{traceparent}");
        assert_eq!(trace, carried.root[2..].replace('-', ""), "{traceparent} beside {text}");
        assert_eq!(span, carried.parent, "{traceparent} beside {text}");
        let flags = u8::from_str_radix(flags, 16).expect("flags are hex");
        assert_eq!(flags & 1 == 1, carried.sampled, "{traceparent} beside {text}");
        carried
    }

    /// `Root=…;Parent=…;Sampled=0|1` and what follows; no spaces, lower-case hex.
    fn read(text: &str) -> Option<Carried> {
        let mut parts = text.split(';');
        let root = parts.next()?.strip_prefix("Root=")?;
        let parent = parts.next()?.strip_prefix("Parent=")?;
        let sampled = match parts.next()? {
            "Sampled=1" => true,
            "Sampled=0" => false,
            _ => return None,
        };
        let rest: Vec<String> = parts.map(str::to_owned).collect();
        (is_root(root) && is_hex(parent, 16)).then_some(Carried {
            root: root.to_owned(),
            parent: parent.to_owned(),
            sampled,
            rest,
        })
    }
}

/// Whether the text is a trace id in X-Ray's own spelling, lower case, and not all zero.
pub(crate) fn is_root(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [version, time, unique] = parts[..] else { return false };
    let all_zero = time.bytes().chain(unique.bytes()).all(|b| b == b'0');
    version == "1" && is_hex(time, 8) && is_hex(unique, 24) && !all_zero
}

/// Whether the text is so many lower-case hex digits.
pub(crate) fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The parts of the one `X-Amzn-Trace-Id` of an answer; empty when there is none.
#[track_caller]
pub(crate) fn answered(response: &Response) -> Vec<String> {
    let value = response.header("x-amzn-trace-id").unwrap_or_default();
    value.split(';').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// A `traceparent` with the ids of an X-Ray header.
pub(crate) fn traceparent(root: &str, parent: &str, flags: &str) -> String {
    format!("00-{}-{parent}-{flags}", root[2..].replace('-', ""))
}
