//! The one table of settings: key, flag, variables, default and help of each.
//!
//! Flags, the settings file, the environment and `--help` are all driven by it, so that they cannot drift apart.

use super::values::{self, AccessLevel, HeaderCase, LEVELS, LogFormat, RulesFallback};

/// How many values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One.
    One,
    /// None: the flag alone turns it on. Variable and file say `true` or `false`.
    Switch,
    /// Several: the flag is repeated, a variable has commas, the file a list.
    List,
}

/// What one value of a setting may be, as far as its shape goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Any text.
    Text,
    /// An address and a port.
    Address,
    /// `http://host:port`, `https://` or `h2c://`.
    Url,
    /// `200ms`, `1.5s`, `2m`, `1h`.
    Duration,
    /// The same, or `off`.
    DurationOrOff,
    /// A whole number from 1 to this.
    Count(usize),
    /// Yes or no.
    Flag,
    /// One of these.
    Words(&'static [&'static str]),
}

/// What there is to know about a setting before it has a value.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    /// In the settings file; a dot stands for nesting.
    pub key: &'static str,
    /// Without its dashes.
    pub flag: &'static str,
    /// How many values it takes.
    pub form: Form,
    /// What a value may be, for the schema of the settings file.
    pub takes: Takes,
    /// What the value is, for `--help`.
    pub value_name: &'static str,
    /// A second variable of ours, where the first one reads badly.
    pub other_variable: Option<&'static str>,
    /// Variables that people set anyway, the strongest first.
    pub well_known: &'static [&'static str],
    /// What applies when nobody says anything, for people.
    pub default: &'static str,
    /// What it does, with units.
    pub help: &'static str,
}

impl Setting {
    /// `COLLIMATOR_DRAIN_DELAY` for the flag `drain-delay`.
    pub fn variable(&self) -> String {
        variable_of(self.flag)
    }

    const fn new(key: &'static str, flag: &'static str, value_name: &'static str) -> Setting {
        Setting {
            key,
            flag,
            form: Form::One,
            takes: Takes::Text,
            value_name,
            other_variable: None,
            well_known: &[],
            default: "",
            help: "",
        }
    }

    const fn form(self, form: Form) -> Setting {
        Setting { form, ..self }
    }

    const fn takes(self, takes: Takes) -> Setting {
        Setting { takes, ..self }
    }

    const fn default(self, default: &'static str) -> Setting {
        Setting { default, ..self }
    }

    const fn help(self, help: &'static str) -> Setting {
        Setting { help, ..self }
    }
}

/// The variable that goes with a flag.
pub(super) fn variable_of(flag: &str) -> String {
    format!("{PREFIX}{}", flag.to_ascii_uppercase().replace('-', "_"))
}

/// What our own variables begin with.
pub const PREFIX: &str = "COLLIMATOR_";
/// The flag that names the settings file; it cannot stand in that file itself.
pub const CONFIG_FLAG: &str = "config";
/// Where X-Ray's libraries expect the daemon; also ours, if no sink is named.
pub const DAEMON_ADDRESS: &str = "AWS_XRAY_DAEMON_ADDRESS";

/// The most threads.
pub(super) const MOST_WORKERS: usize = 256;
/// The most connections at one time.
pub(super) const MOST_CONNECTIONS: usize = 1_000_000;
/// App Mesh's: a file of local rules.
pub(super) const SAMPLING_MANIFEST: &str = "XRAY_SAMPLING_RULE_MANIFEST";
pub(super) static LISTEN: Setting = Setting::new("listen", "listen", "ADDRESS:PORT")
    .takes(Takes::Address)
    .default("0.0.0.0:8000")
    .help("Where requests arrive that are meant for the application");
pub(super) static UPSTREAM: Setting = Setting::new("upstream", "upstream", "URL")
    .takes(Takes::Url)
    .default("none: required")
    .help("The application, as http://host:port, https://host:port, or h2c://host:port (HTTP/2 without TLS, for gRPC); a path, user or query is refused");
pub(super) static ADMIN: Setting = Setting::new("admin", "admin", "ADDRESS:PORT")
    .takes(Takes::Address)
    .default("127.0.0.1:9901")
    .help("Where the page, status and reload are served; a loopback address");
pub(super) static METRICS: Setting = Setting::new("metrics", "metrics", "ADDRESS:PORT")
    .takes(Takes::Address)
    .default("0.0.0.0:9464")
    .help("Where /metrics, /livez and /readyz are served, and nothing else");
pub(super) static SERVICE_NAME: Setting = Setting {
    well_known: &["AWS_XRAY_TRACING_NAME", "OTEL_SERVICE_NAME", "XRAY_SEGMENT_NAME"],
    ..Setting::new("service.name", "service-name", "NAME").default("the host's name").help(
        "What the application is called in traces and in the rules' `service_name`; at most 1,024 bytes",
    )
};
pub(super) static RULES: Setting = Setting {
    other_variable: Some(super::rules::INLINE),
    well_known: &[SAMPLING_MANIFEST, super::rules::RATE_VARIABLE],
    ..Setting::new("rules", "rules", "PATH").default("built-in: 1/s, then 5 %").help(
        "The sampling rules: a file, or a directory of *.yaml, *.yml and *.json; a change is live within 2 s. COLLIMATOR_RULES_INLINE holds the rules themselves, perhaps packed by gzip and base64",
    )
};
pub(super) static RULES_FALLBACK: Setting =
    Setting::new("rules_fallback", "rules-fallback", "WHAT")
        .takes(Takes::Words(RulesFallback::WORDS))
        .default("off")
        .help("If the rules are wrong at the start: `off` does not start, `default` starts with the built-in rules and takes over the given ones once they are right");
pub(super) static CANDIDATE: Setting = Setting::new("candidate", "candidate", "PATH").default("none").help(
    "A second set of rules that decides nothing and counts what it would have decided, beside the ones in force; read like `rules`",
);
pub(super) static SINKS: Setting = Setting {
    other_variable: Some("COLLIMATOR_SINKS"),
    well_known: &[DAEMON_ADDRESS],
    ..Setting::new("sinks", "sink", "SINK")
        .form(Form::List)
        .default("store, and the daemon of AWS_XRAY_DAEMON_ADDRESS if that is set")
        .help("Where segments go: `store` (the page), `udp://host:port` (an X-Ray daemon), `stdout`, `none`; may be repeated, up to 16 of them")
};
pub(super) static TRUST: Setting = Setting::new("trust", "trust", "WHOM")
    .form(Form::List)
    .default("internal, and from others 10 `Sampled=1` a second")
    .help("Whose sampling decision counts: `internal`, `all`, `none`, networks such as 10.0.0.0/8, a cap such as 5/s; separated by commas");
pub(super) static WORKERS: Setting = Setting::new("workers", "workers", "N")
    .takes(Takes::Count(MOST_WORKERS))
    .default("the CPUs this container may use")
    .help("Threads that carry requests, 1 to 256");
pub(super) static SAMPLE_ALL: Setting = Setting::new("sample_all", "sample-all", "")
    .takes(Takes::Flag)
    .form(Form::Switch)
    .default("false")
    .help("Record every request, whatever the rules say; for development");
pub(super) static RESPONSE_HEADER: Setting = Setting::new("response_header", "response-header", "")
    .takes(Takes::Flag)
    .form(Form::Switch)
    .default("false")
    .help("Put `X-Amzn-Trace-Id` on every response");
pub(super) static CONNECT_TIMEOUT: Setting = Setting::new("connect_timeout", "connect-timeout", "DURATION")
    .takes(Takes::Duration)
    .default("2s")
    .help("How long a connection to the application may take, 1ms to 5m; also how long a request waits for one that is not up yet");
pub(super) static RESPONSE_TIMEOUT: Setting = Setting::new("response_timeout", "response-timeout", "DURATION")
    .takes(Takes::DurationOrOff)
    .default(values::OFF)
    .help("How long the application may be silent before the head of its answer, 1ms to 1h: once it has the whole request, or takes no more of its body; then the answer is 504. `off` means no limit");
pub(super) static DRAIN_DELAY: Setting = Setting::new("drain_delay", "drain-delay", "DURATION")
    .takes(Takes::Duration)
    .default("5s")
    .help("After SIGTERM, how long new connections are still taken while readiness fails, at most 1h");
pub(super) static DRAIN_TIMEOUT: Setting = Setting::new("drain_timeout", "drain-timeout", "DURATION")
    .takes(Takes::Duration)
    .default("25s")
    .help("After that, how long requests may take to finish before they are cut, at most 1h");
pub(super) static HEADER_CASE: Setting = Setting::new("header_case", "header-case", "CASE")
    .takes(Takes::Words(HeaderCase::WORDS))
    .default("preserve")
    .help("HTTP/1 header names: `preserve` as they came, or `lower`, which takes some 7 % less CPU");
pub(super) static MAX_CONNECTIONS: Setting = Setting::new("limits.connections", "max-connections", "N")
    .takes(Takes::Count(MOST_CONNECTIONS))
    .default("10000")
    .help("Connections at one time, and as many requests, 1 to 1000000; more are answered 503");
pub(super) static TLS_CERT: Setting = Setting::new("tls.cert", "tls-cert", "PATH").default("none: no TLS").help(
    "Speak TLS 1.2 and 1.3 with clients: PEM file of the certificate, first, and of what links it to a root; a change is live within 2 s",
);
pub(super) static TLS_KEY: Setting = Setting::new("tls.key", "tls-key", "PATH")
    .default("none")
    .help("PEM file of its private key (PKCS#8, SEC1 or PKCS#1), readable by the sidecar's user alone");
pub(super) static TLS_CLIENT_CA: Setting = Setting::new("tls.client_ca", "tls-client-ca", "PATH")
    .default("none: clients need no certificate")
    .help("PEM file of the authorities one of which must have signed each client's certificate; without one no client is served");
pub(super) static UPSTREAM_CA: Setting = Setting::new("upstream_tls.ca", "upstream-ca", "PATH")
    .default("the system's roots, and Mozilla's where it has none")
    .help("PEM file of the authorities, and no others, that may have signed the certificate of an https:// application; a change is live within 2 s");
pub(super) static UPSTREAM_CERT: Setting = Setting::new("upstream_tls.cert", "upstream-cert", "PATH")
    .default("none")
    .help("PEM file of the certificate shown to an https:// application that asks for one");
pub(super) static UPSTREAM_KEY: Setting = Setting::new("upstream_tls.key", "upstream-key", "PATH")
    .default("none")
    .help("PEM file of its private key (PKCS#8, SEC1 or PKCS#1), readable by the sidecar's user alone");
pub(super) static UPSTREAM_SERVER_NAME: Setting = Setting::new(
    "upstream_tls.server_name",
    "upstream-server-name",
    "NAME",
)
.default("the upstream's host")
.help("The name or address that the certificate of an https:// application must hold; it is always checked");
pub(super) static ACCESS_LOG: Setting = Setting::new("log.access", "access-log", "WHICH")
    .takes(Takes::Words(AccessLevel::WORDS))
    .default("errors")
    .help("Requests that get a log line: `off`, `errors`, `sampled`, `all`");
pub(super) static LOG_LEVEL: Setting = Setting::new("log.level", "log-level", "LEVEL")
    .takes(Takes::Words(LEVELS))
    .default("info")
    .help("The least important lines shown: `error`, `warn`, `info`, `debug`, `trace`");
pub(super) static LOG_FORMAT: Setting = Setting::new("log.format", "log-format", "FORMAT")
    .takes(Takes::Words(LogFormat::WORDS))
    .default("auto")
    .help("`json`, `text`, or `auto`: text on a terminal, JSON elsewhere");
pub(super) static PORT_FILE: Setting = Setting::new("port_file", "port-file", "PATH")
    .default("none")
    .help("Written once listening, with the addresses bound, as JSON; for whoever asks for port 0");

/// All of them, in the order of `--help`.
pub static SETTINGS: [&Setting; 30] = [
    &UPSTREAM,
    &LISTEN,
    &ADMIN,
    &METRICS,
    &SERVICE_NAME,
    &RULES,
    &RULES_FALLBACK,
    &CANDIDATE,
    &SINKS,
    &TRUST,
    &WORKERS,
    &SAMPLE_ALL,
    &RESPONSE_HEADER,
    &CONNECT_TIMEOUT,
    &RESPONSE_TIMEOUT,
    &DRAIN_DELAY,
    &DRAIN_TIMEOUT,
    &HEADER_CASE,
    &MAX_CONNECTIONS,
    &TLS_CERT,
    &TLS_KEY,
    &TLS_CLIENT_CA,
    &UPSTREAM_CA,
    &UPSTREAM_CERT,
    &UPSTREAM_KEY,
    &UPSTREAM_SERVER_NAME,
    &ACCESS_LOG,
    &LOG_LEVEL,
    &LOG_FORMAT,
    &PORT_FILE,
];

/// Flags and top-level keys of settings that the product is to have and this version has not. To ignore one would be
/// worse than to refuse it.
pub(super) const LATER_FLAGS: &[&str] = &["egress-listen", "egress-allow", "central", "endpoint"];
/// See [`LATER_FLAGS`].
pub(super) const LATER_KEYS: &[&str] = &["egress", "central", "xray"];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_setting_has_one_flag_one_variable_and_one_key() {
        let distinct = |names: Vec<String>| names.iter().collect::<HashSet<_>>().len() == names.len();
        assert!(distinct(SETTINGS.iter().map(|setting| setting.key.to_owned()).collect()));
        assert!(distinct(SETTINGS.iter().map(|setting| setting.variable()).collect()));
        for setting in SETTINGS {
            let is_word =
                |text: &str, extra: char| text.chars().all(|c| c.is_ascii_lowercase() || c == extra);
            assert!(is_word(setting.flag, '-'), "{}", setting.flag);
            assert!(is_word(&setting.key.replacen('.', "", 1), '_'), "{}", setting.key);
            assert!(!setting.help.is_empty() && !setting.default.is_empty(), "{}", setting.flag);
            assert!(setting.variable().starts_with(PREFIX), "{}", setting.flag);
            assert_eq!(setting.value_name.is_empty(), setting.form == Form::Switch, "{}", setting.flag);
        }
        assert_eq!(MAX_CONNECTIONS.variable(), "COLLIMATOR_MAX_CONNECTIONS");
    }
}
