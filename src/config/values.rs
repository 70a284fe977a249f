//! The types of settings, and how each is read from text.
//!
//! A value comes from a flag, a variable or a file, but always as text, and each has one reader. What is refused is
//! told with a remedy.

use super::problem::shown;
use rustls::pki_types::ServerName;
use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use tracing::level_filters::LevelFilter;

/// Why a text is not a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) hint: String,
}

/// A value of the wrong type or out of range.
pub(super) const WRONG_VALUE: &str = "S003";
/// A value that means something, but not yet.
pub(super) const NOT_SUPPORTED: &str = "S006";
/// A value that opens a door to others.
pub(super) const INSECURE: &str = "S007";

impl Wrong {
    pub(super) fn new(message: impl Into<String>, hint: impl Into<String>) -> Wrong {
        Wrong { code: WRONG_VALUE, message: message.into(), hint: hint.into() }
    }

    fn later(what: &str, hint: &str) -> Wrong {
        let message = format!("`{}` is not supported by this version", shown(what));
        Wrong { code: NOT_SUPPORTED, message, hint: hint.to_owned() }
    }
}

/// Where the application listens. Prints as `http://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What is spoken there.
    pub scheme: Scheme,
    /// A name or an address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Target {
    /// `host:port`, as in a `Host` header.
    pub fn authority(&self) -> String {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        format!("{open}{}{close}:{}", self.host, self.port)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

/// How the application is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 without TLS, known beforehand: what gRPC servers speak inside a task.
    H2c,
    /// TLS, and whichever of HTTP/2 and HTTP/1.1 the application chooses.
    Https,
}

impl Scheme {
    /// As in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::H2c => "h2c",
            Scheme::Https => "https",
        }
    }

    const fn default_port(self) -> u16 {
        match self {
            Scheme::Http | Scheme::H2c => 80,
            Scheme::Https => 443,
        }
    }
}

/// `host:port` of an X-Ray daemon. Prints as that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpAddress {
    /// A name or an address; IPv6 in brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for UdpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Where segments go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The store in memory, from which the page is drawn.
    Store,
    /// An X-Ray daemon, or whatever speaks its protocol.
    Udp(UdpAddress),
    /// JSON lines on stdout.
    Stdout,
    /// Nowhere: counted and forgotten.
    None,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Store => f.write_str("store"),
            Destination::Udp(address) => write!(f, "udp://{address}"),
            Destination::Stdout => f.write_str("stdout"),
            Destination::None => f.write_str("none"),
        }
    }
}

/// A setting that is one of a few words: its variants, their words, and the reader.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// All.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// Every word there is.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// As it is written.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }

            pub(super) fn read(text: &str) -> Result<$name, Wrong> {
                match text {
                    $($word => Ok($name::$variant),)+
                    _ => Err(one_of(text, $name::WORDS)),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// Which requests get a line in the access log.
    AccessLevel {
        /// None.
        Off = "off",
        /// Those answered with 5xx, or not at all because of the application.
        #[default]
        Errors = "errors",
        /// Those kept, and those of `Errors`.
        Sampled = "sampled",
        /// Every one.
        All = "all",
    }
}

words! {
    /// How log lines look.
    LogFormat {
        /// Text on a terminal, JSON elsewhere.
        #[default]
        Auto = "auto",
        /// One JSON object a line.
        Json = "json",
        /// For people.
        Text = "text",
    }
}

words! {
    /// What to do when the rules are wrong at the start.
    RulesFallback {
        /// Do not start.
        #[default]
        Off = "off",
        /// Start with the built-in rules, and take over the given ones once they are right.
        Default = "default",
    }
}

words! {
    /// How HTTP/1 header names leave.
    HeaderCase {
        /// As they came.
        #[default]
        Preserve = "preserve",
        /// In lower case.
        Lower = "lower",
    }
}

fn one_of(text: &str, words: &[&str]) -> Wrong {
    let hint = match super::nearest::nearest(text, words.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "write one of them".to_owned(),
    };
    Wrong::new(format!("`{}` is none of {}", shown(text), words.join(", ")), hint)
}

/// The levels of the log, the most important first.
pub(super) const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace"];

pub(super) fn level(text: &str) -> Result<LevelFilter, Wrong> {
    match text {
        "error" => Ok(LevelFilter::ERROR),
        "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        _ => Err(one_of(text, LEVELS)),
    }
}

pub(super) fn flag(text: &str) -> Result<bool, Wrong> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => {
            Err(Wrong::new(format!("`{}` is neither true nor false", shown(text)), "write `true` or `false`"))
        }
    }
}

pub(super) fn address(text: &str) -> Result<SocketAddr, Wrong> {
    text.parse().map_err(|_| {
        let hint = match text.trim_start_matches("localhost").trim_start_matches(':').parse::<u16>() {
            Ok(port) if text.starts_with("localhost:") => format!("write 127.0.0.1:{port}"),
            Ok(port) => {
                format!("write 0.0.0.0:{port} for all interfaces, 127.0.0.1:{port} for this host only")
            }
            Err(_) => "write an address and a port such as 127.0.0.1:9901 or [::1]:9901".to_owned(),
        };
        Wrong::new(format!("`{}` is not an address and a port", shown(text)), hint)
    })
}

/// The admin side can reload, drain and shut down, and nobody has to show who they are.
pub(super) fn loopback(text: &str) -> Result<SocketAddr, Wrong> {
    let address = address(text)?;
    if address.ip().to_canonical().is_loopback() {
        return Ok(address);
    }
    Err(Wrong {
        code: INSECURE,
        message: format!("`{address}` is not a loopback address: loopback unless a token is set"),
        hint: format!(
            "this version has no token; write 127.0.0.1:{} and reach it through a port forward",
            address.port()
        ),
    })
}

pub(super) fn target(text: &str) -> Result<Target, Wrong> {
    const FORM: &str = "write http://host:port, for example http://127.0.0.1:8080";
    let Some((scheme, rest)) = text.split_once("://") else {
        let hint =
            if host_port(text).is_some() { format!("write http://{}", shown(text)) } else { FORM.to_owned() };
        return Err(Wrong::new(format!("`{}` does not begin with http://", shown(text)), hint));
    };
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => Scheme::Http,
        "h2c" => Scheme::H2c,
        "https" => Scheme::Https,
        _ => {
            let message = format!("`{}` begins with none of http://, https:// and h2c://", shown(text));
            return Err(Wrong::new(message, FORM));
        }
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        // What stands before it is not repeated: it may be a password.
        return Err(Wrong::new("the application's address holds a user", FORM));
    }
    if !matches!(path, "" | "/") {
        let message = format!("`{}` has a path", shown(text));
        return Err(Wrong::new(
            message,
            format!("requests keep their own; write {}://{}", scheme.as_str(), shown(authority)),
        ));
    }
    let (host, port) = match host_port(authority) {
        Some((host, port)) => (host, port),
        None => match host(authority) {
            Some(host) => (host, scheme.default_port()),
            None => return Err(Wrong::new(format!("`{}` is not http://host:port", shown(text)), FORM)),
        },
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Ok(Target { scheme, host: bare.to_owned(), port })
}

pub(super) fn destination(text: &str) -> Result<Destination, Wrong> {
    const FORMS: &str = "write store, udp://host:port, stdout or none";
    match text {
        "store" => return Ok(Destination::Store),
        "stdout" => return Ok(Destination::Stdout),
        "none" => return Ok(Destination::None),
        _ => {}
    }
    if let Some(address) = text.strip_prefix("udp://") {
        return match udp_address(address.strip_suffix('/').unwrap_or(address)) {
            Some(address) => Ok(Destination::Udp(address)),
            None => {
                let hint = match host(address) {
                    Some(host) => format!("write udp://{host}:2000; the X-Ray daemon listens on 2000"),
                    None => "write for example udp://127.0.0.1:2000".to_owned(),
                };
                Err(Wrong::new(format!("`{}` is not udp://host:port", shown(text)), hint))
            }
        };
    }
    if text == "xray" || text.starts_with("xray://") || text.starts_with("otlp+") {
        return Err(Wrong::later(text, FORMS));
    }
    let hint =
        if udp_address(text).is_some() { format!("write udp://{}", shown(text)) } else { FORMS.to_owned() };
    Err(Wrong::new(format!("`{}` is no sink", shown(text)), hint))
}

/// The UDP address in `AWS_XRAY_DAEMON_ADDRESS`: `host:port`, or `tcp:host:port udp:host:port` in either order.
pub(super) fn daemon_address(text: &str) -> Result<UdpAddress, Wrong> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let found = match words.as_slice() {
        [one] => udp_address(one.strip_prefix("udp:").unwrap_or(one)),
        [first, second] => match (first.split_once(':'), second.split_once(':')) {
            (Some(("tcp", tcp)), Some(("udp", udp))) | (Some(("udp", udp)), Some(("tcp", tcp))) => {
                udp_address(tcp).and_then(|_| udp_address(udp))
            }
            _ => None,
        },
        _ => None,
    };
    found.ok_or_else(|| {
        Wrong::new(
            format!("`{}` is not the address of a daemon", shown(text)),
            "write host:port or `tcp:host:port udp:host:port`, or name the sinks with COLLIMATOR_SINKS",
        )
    })
}

fn udp_address(text: &str) -> Option<UdpAddress> {
    host_port(text).map(|(host, port)| UdpAddress { host: host.to_owned(), port })
}

fn host_port(text: &str) -> Option<(&str, u16)> {
    let (name, port) = text.rsplit_once(':')?;
    let is_number = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let port = port.parse().ok().filter(|&port| is_number && port != 0)?;
    Some((host(name)?, port))
}

/// A name, an IPv4 address, or an IPv6 address in brackets.
fn host(text: &str) -> Option<&str> {
    let plausible = match text.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            (1..=253).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        }
    };
    plausible.then_some(text)
}

pub(super) fn duration(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, Wrong> {
    let units = [("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let no_duration =
        |hint: &str| Wrong::new(format!("`{}` is not a duration", shown(text)), hint.to_owned());
    let value: f64 = number.parse().map_err(|_| no_duration("write for example 200ms, 1.5s or 2m"))?;
    let seconds = match units.iter().find(|(name, _)| *name == unit) {
        Some((_, seconds)) => value * seconds,
        None if unit.is_empty() => {
            return Err(no_duration(&format!("it has no unit; write {}s or {0}ms", shown(text))));
        }
        None => return Err(no_duration("its unit is ms, s, m or h")),
    };
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if range.contains(&duration) => Ok(duration),
        _ => Err(Wrong::new(
            format!("`{}` is out of range", shown(text)),
            format!("write {} to {}", duration_text(*range.start()), duration_text(*range.end())),
        )),
    }
}

/// What is written for no limit.
pub(super) const OFF: &str = "off";

/// A duration, or `off`.
pub(super) fn duration_or_off(
    text: &str,
    range: RangeInclusive<Duration>,
) -> Result<Option<Duration>, Wrong> {
    match text {
        OFF => Ok(None),
        _ => duration(text, range)
            .map(Some)
            .map_err(|wrong| Wrong { hint: format!("{}, or `{OFF}` for no limit", wrong.hint), ..wrong }),
    }
}

/// As short as it can be read back: `5s`, `200ms`, `1.5s`, `2m`.
pub(super) fn duration_text(duration: Duration) -> String {
    match (duration.as_secs(), duration.subsec_nanos()) {
        (seconds @ 1.., 0) if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        (seconds @ 1.., 0) if seconds % 60 == 0 => format!("{}m", seconds / 60),
        (seconds, 0) => format!("{seconds}s"),
        (0, _) => format!("{}ms", duration.as_secs_f64() * 1e3),
        _ => format!("{}s", duration.as_secs_f64()),
    }
}

pub(super) fn count(text: &str, most: usize) -> Result<NonZeroUsize, Wrong> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse().ok().filter(|_| is_number).and_then(NonZeroUsize::new) {
        Some(count) if count.get() <= most => Ok(count),
        _ => Err(Wrong::new(
            format!("`{}` is not a number from 1 to {most}", shown(text)),
            "write it in digits",
        )),
    }
}

pub(super) fn path(text: &str) -> Result<PathBuf, Wrong> {
    match text {
        "" => Err(Wrong::new("the path is empty", "name a file, or leave the setting out")),
        _ => Ok(PathBuf::from(text)),
    }
}

/// What a certificate is checked against: a name, or an address without brackets.
pub(super) fn server_name(text: &str) -> Result<ServerName<'static>, Wrong> {
    ServerName::try_from(text.to_owned()).map_err(|_| {
        let message = format!("`{}` is not a host's name or address", shown(text));
        Wrong::new(
            message,
            "write it as it stands in the certificate, without scheme, port or `*`: app.internal",
        )
    })
}

pub(super) fn name(text: &str) -> Result<String, Wrong> {
    let text = text.trim();
    if text.is_empty() || text.len() > 1_024 || text.chars().any(char::is_control) {
        let message = format!("`{}` is not a name of 1 to 1,024 bytes", shown(text));
        return Err(Wrong::new(message, "write the name under which the application is to appear in traces"));
    }
    Ok(text.to_owned())
}
