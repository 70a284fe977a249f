//! Flags, variables and a file in; values with their sources, or problems word for word, out.

use super::*;
use crate::config::table::SETTINGS;
use proptest::prelude::*;

/// `--flag=value` and `NAME=value`, and a file.
fn resolve(said: &[&str], file: Option<&str>) -> Result<(Settings, Problems), Problems> {
    let (mut flags, mut variables) = (RunFlags::new(), Vec::new());
    for text in said {
        let (name, value) = text.split_once('=').unwrap();
        match name.strip_prefix("--") {
            Some(flag) => flags = flags.with(flag, value),
            None => variables.push((name, value)),
        }
    }
    let environment = Environment::from_variables(variables).with_host_name("web-1");
    Settings::resolve(&flags, &environment, file.map(|text| ("collimator.yaml", text.as_bytes())))
}

const UPSTREAM: &str = "--upstream=http://127.0.0.1:8080";

#[track_caller]
fn entry(settings: &Settings, key: &str) -> String {
    let entry = settings.entries().into_iter().find(|entry| entry.key == key).unwrap();
    format!("{} ({})", entry.value, entry.source)
}

/// What a setting cannot do without.
fn beside(key: &str) -> &'static [&'static str] {
    const HTTPS: &str = "--upstream=https://127.0.0.1:8080";
    match key {
        "tls.cert" => &[UPSTREAM, "--tls-key=k.pem"],
        "tls.key" => &[UPSTREAM, "--tls-cert=c.pem"],
        "tls.client_ca" => &[UPSTREAM, "--tls-cert=c.pem", "--tls-key=k.pem"],
        "upstream_tls.cert" => &[HTTPS, "--upstream-key=k.pem"],
        "upstream_tls.key" => &[HTTPS, "--upstream-cert=c.pem"],
        _ if key.starts_with("upstream_tls.") => &[HTTPS],
        _ => &[UPSTREAM],
    }
}

/// One setting's value and source.
#[track_caller]
fn check(said: &[&str], file: Option<&str>, key: &str, expected: &str) {
    let said = if key == "upstream" { said.to_vec() } else { [beside(key), said].concat() };
    let (settings, warnings) = resolve(&said, file).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(entry(&settings, key), expected, "{said:?}");
    assert!(warnings.is_empty(), "{warnings}");
}

/// The problems of something wrong, in one line each; an upstream is given.
#[track_caller]
fn check_wrong(said: &[&str], file: Option<&str>, expected: &[&str]) {
    let said = if said.iter().any(|text| text.contains("upstream=")) {
        said.to_vec()
    } else {
        [&[UPSTREAM], said].concat()
    };
    let problems = resolve(&said, file).expect_err("expected problems");
    let got: Vec<String> = problems.iter().map(|p| format!("{} {}", p.code, p.one_line())).collect();
    assert_eq!(got, expected, "{said:?}");
}

#[test]
fn an_upstream_is_enough() {
    let (settings, warnings) = resolve(&[UPSTREAM], None).unwrap();
    assert!(warnings.is_empty());
    let entries: Vec<String> = settings
        .entries()
        .iter()
        .map(|entry| format!("{} = {} ({})", entry.key, entry.value, entry.source))
        .collect();
    let workers = std::thread::available_parallelism().unwrap();
    let workers = format!("workers = {workers} (default)");
    assert_eq!(
        entries,
        [
            "upstream = http://127.0.0.1:8080 (flag --upstream)",
            "listen = 0.0.0.0:8000 (default)",
            "admin = 127.0.0.1:9901 (default)",
            "metrics = 0.0.0.0:9464 (default)",
            "service.name = web-1 (host name)",
            "rules = built-in (default)",
            "rules_fallback = off (default)",
            "candidate = none (default)",
            "sinks = store (default)",
            "trust = internal (default)",
            &workers,
            "sample_all = false (default)",
            "response_header = false (default)",
            "connect_timeout = 2s (default)",
            "response_timeout = off (default)",
            "drain_delay = 5s (default)",
            "drain_timeout = 25s (default)",
            "header_case = preserve (default)",
            "limits.connections = 10000 (default)",
            "tls.cert = none (default)",
            "tls.key = none (default)",
            "tls.client_ca = none (default)",
            "upstream_tls.ca = none (default)",
            "upstream_tls.cert = none (default)",
            "upstream_tls.key = none (default)",
            "upstream_tls.server_name = the upstream's host (default)",
            "log.access = errors (default)",
            "log.level = info (default)",
            "log.format = auto (default)",
            "port_file = none (default)",
        ]
    );
    let keys: Vec<&str> = settings.entries().iter().map(|entry| entry.key).collect();
    assert_eq!(keys, SETTINGS.iter().map(|setting| setting.key).collect::<Vec<_>>());
    assert_eq!(settings.rules_source(), RulesSource::BuiltIn);
    assert!(settings.preserve_header_case());
}

#[test]
fn without_an_upstream_nothing_starts() {
    let problems = resolve(&[], None).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "error[S004] upstream: the address of the application is missing\n     \
         give it with --upstream http://127.0.0.1:8080, COLLIMATOR_UPSTREAM, or `upstream:` in the settings file"
    );
}

/// A value for each setting, and how it is shown.
const SAMPLES: [(&str, &str, &str); 30] = [
    ("upstream", "http://app:3000", "http://app:3000"),
    ("listen", "127.0.0.1:80", "127.0.0.1:80"),
    ("admin", "[::1]:9902", "[::1]:9902"),
    ("metrics", "127.0.0.1:9465", "127.0.0.1:9465"),
    ("service.name", "shop", "shop"),
    ("rules", "rules/", "rules/"),
    ("rules_fallback", "default", "default"),
    ("candidate", "rules-next/", "rules-next/"),
    ("sinks", "stdout", "stdout"),
    ("trust", "all", "all"),
    ("workers", "3", "3"),
    ("sample_all", "true", "true"),
    ("response_header", "true", "true"),
    ("connect_timeout", "1.5s", "1.5s"),
    ("response_timeout", "90s", "90s"),
    ("drain_delay", "200ms", "200ms"),
    ("drain_timeout", "1m", "1m"),
    ("header_case", "lower", "lower"),
    ("limits.connections", "7", "7"),
    ("tls.cert", "cert.pem", "cert.pem"),
    ("tls.key", "key.pem", "key.pem"),
    ("tls.client_ca", "ca.pem", "ca.pem"),
    ("upstream_tls.ca", "ca.pem", "ca.pem"),
    ("upstream_tls.cert", "cert.pem", "cert.pem"),
    ("upstream_tls.key", "key.pem", "key.pem"),
    ("upstream_tls.server_name", "app.internal", "app.internal"),
    ("log.access", "all", "all"),
    ("log.level", "debug", "debug"),
    ("log.format", "json", "json"),
    ("port_file", "/run/ports", "/run/ports"),
];

fn yaml(key: &str, value: &str) -> String {
    match key.split_once('.') {
        Some((outer, inner)) => format!("{outer}:\n  {inner}: \"{value}\"\n"),
        None => format!("{key}: \"{value}\"\n"),
    }
}

#[test]
fn every_setting_has_a_flag_a_variable_and_a_key() {
    assert_eq!(SAMPLES.map(|(key, ..)| key), SETTINGS.map(|setting| setting.key));
    for ((key, value, shown), setting) in SAMPLES.into_iter().zip(SETTINGS) {
        let flag = format!("--{}={value}", setting.flag);
        let variable = format!("{}={value}", setting.variable());
        let file = yaml(key, value);
        check(&[&flag], None, key, &format!("{shown} (flag --{})", setting.flag));
        check(&[&variable], None, key, &format!("{shown} (variable {})", setting.variable()));
        let place = if key.contains('.') {
            format!("2:{}", key.len() - key.find('.').unwrap() + 4)
        } else {
            format!("1:{}", key.len() + 3)
        };
        check_file_only(key, &file, &format!("{shown} (collimator.yaml:{place})"));
    }
}

#[track_caller]
fn check_file_only(key: &str, file: &str, expected: &str) {
    let beside = if key == "upstream" { &[] } else { beside(key) };
    let (settings, _) = resolve(beside, Some(file)).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(entry(&settings, key), expected);
}

#[test]
fn flag_beats_variable_beats_file_beats_default() {
    let file = Some("listen: 127.0.0.1:1\n");
    let (flag, variable) = ("--listen=127.0.0.1:3", "COLLIMATOR_LISTEN=127.0.0.1:2");
    check(&[flag, variable], file, "listen", "127.0.0.1:3 (flag --listen)");
    check(&[variable], file, "listen", "127.0.0.1:2 (variable COLLIMATOR_LISTEN)");
    check(&[], file, "listen", "127.0.0.1:1 (collimator.yaml:1:9)");
    check(&[], None, "listen", "0.0.0.0:8000 (default)");
    check(&["COLLIMATOR_LISTEN="], None, "listen", "0.0.0.0:8000 (default)");
}

#[test]
fn the_service_is_named_by_whoever_names_it_first() {
    let file = Some("service: { name: from-file }\n");
    let all = [
        "--service-name=a",
        "COLLIMATOR_SERVICE_NAME=b",
        "AWS_XRAY_TRACING_NAME=c",
        "OTEL_SERVICE_NAME=d",
        "XRAY_SEGMENT_NAME=e",
    ];
    for (n, expected) in [
        "a (flag --service-name)",
        "b (variable COLLIMATOR_SERVICE_NAME)",
        "c (variable AWS_XRAY_TRACING_NAME)",
        "d (variable OTEL_SERVICE_NAME)",
        "e (variable XRAY_SEGMENT_NAME)",
        "from-file (collimator.yaml:1:18)",
    ]
    .into_iter()
    .enumerate()
    {
        check(&all[n..], file, "service.name", expected);
    }
    check(&["HOSTNAME=pod-7"], None, "service.name", "pod-7 (host name)");
    let flags = RunFlags::new().with("upstream", "http://a:1");
    let (settings, _) = Settings::resolve(&flags, &Environment::default(), None).unwrap();
    assert_eq!(entry(&settings, "service.name"), "collimator (default)");
}

#[test]
fn sinks_come_as_flags_lists_and_commas() {
    let both = "store,udp://127.0.0.1:2000";
    check(&["--sink=store", "--sink=udp://127.0.0.1:2000"], None, "sinks", &format!("{both} (flag --sink)"));
    check(
        &["COLLIMATOR_SINKS=store, udp://127.0.0.1:2000"],
        None,
        "sinks",
        &format!("{both} (variable COLLIMATOR_SINKS)"),
    );
    check(&["COLLIMATOR_SINK=none"], None, "sinks", "none (variable COLLIMATOR_SINK)");
    check(
        &[],
        Some("sinks: [store, 'udp://[::1]:2000']\n"),
        "sinks",
        "store,udp://[::1]:2000 (collimator.yaml:1:9)",
    );
}

#[test]
fn the_daemons_address_means_the_store_and_the_daemon() {
    for address in
        ["10.0.0.9:2000", "udp:10.0.0.9:2000 tcp:10.0.0.8:2001", "tcp:10.0.0.8:2001 udp:10.0.0.9:2000"]
    {
        let variable = format!("AWS_XRAY_DAEMON_ADDRESS={address}");
        let expected = "store,udp://10.0.0.9:2000 (variable AWS_XRAY_DAEMON_ADDRESS)";
        check(&[&variable], None, "sinks", expected);
    }
    let wrong = "AWS_XRAY_DAEMON_ADDRESS=tcp:a:1 tcp:b:2";
    check(&[wrong, "--sink=store"], None, "sinks", "store (flag --sink)");
    check_wrong(
        &[wrong],
        None,
        &["S003 variable AWS_XRAY_DAEMON_ADDRESS: `tcp:a:1 tcp:b:2` is not the address of a daemon; \
         write host:port or `tcp:host:port udp:host:port`, or name the sinks with COLLIMATOR_SINKS"],
    );
    let set = [UPSTREAM, "AWS_XRAY_DAEMON_ADDRESS=10.0.0.9:2000"];
    let (settings, warnings) = resolve(&set, Some("sinks: [stdout]\n")).unwrap();
    assert_eq!(entry(&settings, "sinks"), "store,udp://10.0.0.9:2000 (variable AWS_XRAY_DAEMON_ADDRESS)");
    assert_eq!(
        warnings.to_string(),
        "warning[S102] collimator.yaml:1:9: `sinks` is overridden by the variable AWS_XRAY_DAEMON_ADDRESS\n     \
         a variable is stronger than the file; set COLLIMATOR_SINKS to be stronger than both"
    );
}

#[test]
fn trust_is_a_word_networks_or_a_cap() {
    check(
        &["--trust=10.0.0.0/8,192.168.0.0/16,5/s"],
        None,
        "trust",
        "10.0.0.0/8,192.168.0.0/16,5/s (flag --trust)",
    );
    check(&[], Some("trust: [10.0.0.0/8, 5/s]\n"), "trust", "10.0.0.0/8,5/s (collimator.yaml:1:9)");
    check_wrong(
        &["COLLIMATOR_TRUST=10.0.0.0/99"],
        None,
        &[
            "S003 variable COLLIMATOR_TRUST: `10.0.0.0/99` is not `internal`, `all`, `none`, a network such as `10.0.0.0/8`, \
         or a cap such as `5/s`; write for example internal, or 10.0.0.0/8,192.168.0.0/16,5/s",
        ],
    );
    check_wrong(
        &[],
        Some("trust:\n  - 10.0.0.0/8\n  - everybody\n"),
        &[
            "S003 collimator.yaml:3:5: `everybody` is not `internal`, `all`, `none`, a network such as `10.0.0.0/8`, \
         or a cap such as `5/s`; write for example internal, or 10.0.0.0/8,192.168.0.0/16,5/s",
        ],
    );
    check_wrong(
        &["--trust=all,10.0.0.0/8"],
        None,
        &[
            "S003 flag --trust: `all,10.0.0.0/8` is not `internal`, `all`, `none`, a network such as `10.0.0.0/8`, \
         or a cap such as `5/s`; a word cannot stand beside networks",
        ],
    );
}

#[test]
fn wrong_values_are_told_with_a_remedy() {
    const DURATION: &str = "write for example 200ms, 1.5s or 2m";
    const TARGET: &str = "write http://host:port, for example http://127.0.0.1:8080";
    for (said, expected) in [
        (
            "--upstream=127.0.0.1:8080",
            "S003 flag --upstream: `127.0.0.1:8080` does not begin with http://; write http://127.0.0.1:8080",
        ),
        ("--upstream=app", &format!("S003 flag --upstream: `app` does not begin with http://; {TARGET}")),
        (
            "--upstream=ftp://app",
            &format!(
                "S003 flag --upstream: `ftp://app` begins with none of http://, https:// and h2c://; {TARGET}"
            ),
        ),
        (
            "--upstream=http://app:80/api",
            "S003 flag --upstream: `http://app:80/api` has a path; requests keep their own; write http://app:80",
        ),
        (
            "--upstream=http://app?x=1",
            "S003 flag --upstream: `http://app?…` has a path; requests keep their own; write http://app",
        ),
        (
            "--upstream=http://me:secret@app:80",
            &format!("S003 flag --upstream: the application's address holds a user; {TARGET}"),
        ),
        (
            "--upstream=http://app:0",
            &format!("S003 flag --upstream: `http://app:0` is not http://host:port; {TARGET}"),
        ),
        ("--upstream=http://", &format!("S003 flag --upstream: `http://` is not http://host:port; {TARGET}")),
        (
            "--upstream=http://a b",
            &format!("S003 flag --upstream: `http://a b` is not http://host:port; {TARGET}"),
        ),
        (
            "--listen=8000",
            "S003 flag --listen: `8000` is not an address and a port; write 0.0.0.0:8000 for all interfaces, 127.0.0.1:8000 for this host only",
        ),
        (
            "--listen=localhost:8000",
            "S003 flag --listen: `localhost:8000` is not an address and a port; write 127.0.0.1:8000",
        ),
        (
            "--metrics=0.0.0.0:99999",
            "S003 flag --metrics: `0.0.0.0:99999` is not an address and a port; write an address and a port such as 127.0.0.1:9901 or [::1]:9901",
        ),
        (
            "--admin=0.0.0.0:9901",
            "S007 flag --admin: `0.0.0.0:9901` is not a loopback address: loopback unless a token is set; this version has no token; write 127.0.0.1:9901 and reach it through a port forward",
        ),
        (
            "--service-name=a\nb",
            "S003 flag --service-name: `a\u{fffd}b` is not a name of 1 to 1,024 bytes; write the name under which the application is to appear in traces",
        ),
        ("--rules=", "S003 flag --rules: the path is empty; name a file, or leave the setting out"),
        (
            "--sink=files",
            "S003 flag --sink: `files` is no sink; write store, udp://host:port, stdout or none",
        ),
        (
            "--sink=127.0.0.1:2000",
            "S003 flag --sink: `127.0.0.1:2000` is no sink; write udp://127.0.0.1:2000",
        ),
        (
            "--sink=udp://xray",
            "S003 flag --sink: `udp://xray` is not udp://host:port; write udp://xray:2000; the X-Ray daemon listens on 2000",
        ),
        (
            "--sink=udp://::1:2000",
            "S003 flag --sink: `udp://::1:2000` is not udp://host:port; write for example udp://127.0.0.1:2000",
        ),
        (
            "--sink=xray",
            "S006 flag --sink: `xray` is not supported by this version; write store, udp://host:port, stdout or none",
        ),
        (
            "--sink=xray://eu-west-1",
            "S006 flag --sink: `xray://eu-west-1` is not supported by this version; write store, udp://host:port, stdout or none",
        ),
        (
            "--sink=otlp+http://a:4318",
            "S006 flag --sink: `otlp+http://a:4318` is not supported by this version; write store, udp://host:port, stdout or none",
        ),
        (
            "--sink=udp://h:1,udp://h:2,udp://h:3,udp://h:4,udp://h:5,udp://h:6,udp://h:7,udp://h:8,udp://h:9,udp://h:10,udp://h:11,udp://h:12,udp://h:13,udp://h:14,udp://h:15,udp://h:16,udp://h:17",
            "S003 flag --sink: these are 17 sinks; name 16 at most",
        ),
        ("--sink=store,store", "S003 flag --sink: `store` is there twice; name each sink once"),
        (
            "--sink=none,store",
            "S003 flag --sink: `none` stands beside other sinks; remove it, or remove the others",
        ),
        ("--workers=0", "S003 flag --workers: `0` is not a number from 1 to 256; write it in digits"),
        ("--workers=257", "S003 flag --workers: `257` is not a number from 1 to 256; write it in digits"),
        ("--workers=+3", "S003 flag --workers: `+3` is not a number from 1 to 256; write it in digits"),
        (
            "COLLIMATOR_SAMPLE_ALL=yes",
            "S003 variable COLLIMATOR_SAMPLE_ALL: `yes` is neither true nor false; write `true` or `false`",
        ),
        (
            "COLLIMATOR_RESPONSE_HEADER=on",
            "S003 variable COLLIMATOR_RESPONSE_HEADER: `on` is neither true nor false; write `true` or `false`",
        ),
        (
            "--drain-delay=5",
            "S003 flag --drain-delay: `5` is not a duration; it has no unit; write 5s or 5ms",
        ),
        ("--drain-delay=2h", "S003 flag --drain-delay: `2h` is out of range; write 0s to 1h"),
        (
            "--drain-timeout=1d",
            "S003 flag --drain-timeout: `1d` is not a duration; its unit is ms, s, m or h",
        ),
        ("--drain-timeout=-1s", &format!("S003 flag --drain-timeout: `-1s` is not a duration; {DURATION}")),
        (
            "--connect-timeout=soon",
            &format!("S003 flag --connect-timeout: `soon` is not a duration; {DURATION}"),
        ),
        ("--connect-timeout=0s", "S003 flag --connect-timeout: `0s` is out of range; write 1ms to 5m"),
        (
            "--response-timeout=never",
            &format!(
                "S003 flag --response-timeout: `never` is not a duration; {DURATION}, or `off` for no limit"
            ),
        ),
        (
            "--response-timeout=0s",
            "S003 flag --response-timeout: `0s` is out of range; write 1ms to 1h, or `off` for no limit",
        ),
        (
            "--header-case=upper",
            "S003 flag --header-case: `upper` is none of preserve, lower; write one of them",
        ),
        (
            "--max-connections=many",
            "S003 flag --max-connections: `many` is not a number from 1 to 1000000; write it in digits",
        ),
        (
            "--access-log=error",
            "S003 flag --access-log: `error` is none of off, errors, sampled, all; did you mean `errors`?",
        ),
        (
            "--log-level=loud",
            "S003 flag --log-level: `loud` is none of error, warn, info, debug, trace; write one of them",
        ),
        ("--log-format=xml", "S003 flag --log-format: `xml` is none of auto, json, text; write one of them"),
        (
            "COLLIMATOR_RULES_INLINE=rules",
            "S003 variable COLLIMATOR_RULES_INLINE: this is neither rules nor base64; write the rules themselves, or `gzip -c rules.yaml | base64 -w0`",
        ),
        (
            "XRAY_SAMPLING_RATE=5",
            "S003 variable XRAY_SAMPLING_RATE: rate 5 is above 1; X-Ray's API takes 0–1, its console takes percent; did you mean 5% (0.05)?",
        ),
        (
            "COLLIMATOR_EGRESS_LISTEN=x",
            "S006 variable COLLIMATOR_EGRESS_LISTEN: this setting is not supported by this version; unset it",
        ),
    ] {
        check_wrong(&[said], None, &[expected]);
    }
    check_wrong(
        &["COLLIMATOR_SINK=store", "COLLIMATOR_SINKS=stdout"],
        None,
        &[
            "S003 variable COLLIMATOR_SINKS: COLLIMATOR_SINK is set too, for the same setting; keep one of them",
        ],
    );
}

#[test]
fn rules_come_from_the_strongest_of_flag_variables_and_file() {
    #[track_caller]
    fn check(said: &[&str], file: Option<&str>, expected: &str) {
        let said: Vec<&str> = [&[UPSTREAM], said].concat();
        let (settings, _) = resolve(&said, file).unwrap_or_else(|problems| panic!("{problems}"));
        let entry = settings.entries().into_iter().find(|entry| entry.key == "rules").unwrap();
        assert_eq!(format!("{} ({})", entry.value, entry.source), expected);
    }
    let file = Some("rules: from-file\n");
    let well_known = ["XRAY_SAMPLING_RATE=0.1", "XRAY_SAMPLING_RULE_MANIFEST=/etc/xray.json"];
    check(&[], file, "from-file (collimator.yaml:1:8)");
    check(&well_known[..1], file, "1/s, then 10% (variable XRAY_SAMPLING_RATE)");
    check(&well_known, file, "/etc/xray.json (variable XRAY_SAMPLING_RULE_MANIFEST)");
    let inline = "COLLIMATOR_RULES_INLINE=rules_version: 1";
    check(
        &[&well_known[..], &[inline]].concat(),
        file,
        "inline, 16 bytes (variable COLLIMATOR_RULES_INLINE)",
    );
    check(
        &[&well_known[..], &["COLLIMATOR_RULES=mine/"]].concat(),
        file,
        "mine/ (variable COLLIMATOR_RULES)",
    );
    check(&[inline, "--rules=typed"], file, "typed (flag --rules)");
    check_wrong(
        &[UPSTREAM, inline, "COLLIMATOR_RULES=mine/"],
        None,
        &[
            "S003 variable COLLIMATOR_RULES_INLINE: COLLIMATOR_RULES is set too, for the same setting; keep one of them",
        ],
    );
    let (_, warnings) = resolve(&[UPSTREAM, well_known[0]], file).unwrap();
    assert_eq!(
        warnings.one_line(9),
        "collimator.yaml:1:8: `rules` is overridden by the variable XRAY_SAMPLING_RATE; a variable is stronger than the file; set COLLIMATOR_RULES to be stronger than both"
    );
    // The indentation of the first line belongs to the rules.
    let indented = "COLLIMATOR_RULES_INLINE=  rules_version: 1\n  rules: []\n";
    let (settings, _) = resolve(&[UPSTREAM, indented], None).unwrap();
    let expected = b"  rules_version: 1\n  rules: []\n".to_vec();
    assert_eq!(settings.rules_source(), RulesSource::Inline(expected.into()));
}

#[test]
fn the_file_is_strict_and_all_of_it_is_told() {
    let file = "\
lissten: 127.0.0.1:1
log:
  acces: all
  level: loud
egress: {}
log.format: json
limits: 5
workers: [1]
drain_delay:
sinks: {}
service: { nme: a }
drain_timeout: 5
";
    check_wrong(
        &[],
        Some(file),
        &[
            "S002 collimator.yaml:1:1: unknown key `lissten`; did you mean `listen`?",
            "S002 collimator.yaml:3:3: unknown key `log.acces`; did you mean `access`?",
            "S003 collimator.yaml:4:10: `loud` is none of error, warn, info, debug, trace; write one of them",
            "S006 collimator.yaml:5:1: `egress` is not supported by this version; remove it",
            "S002 collimator.yaml:6:1: unknown key `log.format`; write `log:` and below it, indented, `format:`",
            "S003 collimator.yaml:7:9: `limits` is a mapping, not a number; below it stand: connections",
            "S003 collimator.yaml:8:10: `workers` must be one value, not a list; write one value",
            "S003 collimator.yaml:9:12: `drain_delay` is empty; give it a value, or remove the key",
            "S003 collimator.yaml:10:8: `sinks` must be a list of texts; write one text or a list of them",
            "S002 collimator.yaml:11:12: unknown key `service.nme`; did you mean `name`?",
            "S003 collimator.yaml:12:16: `5` is not a duration; it has no unit; write 5s or 5ms",
        ],
    );
    check_wrong(
        &[],
        Some("listen: *:80\n"),
        &["S001 collimator.yaml:1:9: a value that starts with `*` must be quoted; write listen: \"*:80\""],
    );
    check_wrong(
        &[],
        Some("workers: 1\nworkers: 2\n"),
        &[
            "S005 collimator.yaml:2:1: `workers` is repeated; it is already set at collimator.yaml:1:1; keep one of them",
        ],
    );
    check_wrong(
        &[],
        Some("- a\n"),
        &["S003 collimator.yaml:1:1: a settings file is a mapping; write `listen: …` and the like"],
    );
    check_wrong(
        &[],
        Some("zebra: 1\n"),
        &["S002 collimator.yaml:1:1: unknown key `zebra`; `collimator run --help` tells the keys there are"],
    );
    check(
        &[],
        Some("# nothing\n"),
        "workers",
        &format!("{} (default)", std::thread::available_parallelism().unwrap()),
    );
}

#[test]
fn a_problem_in_the_file_shows_its_line() {
    let problems = resolve(&[UPSTREAM], Some("log:\n  level: loud\n")).unwrap_err().to_string();
    assert_eq!(
        problems.lines().collect::<Vec<_>>(),
        [
            "error[S003] collimator.yaml:2:10: `loud` is none of error, warn, info, debug, trace",
            "   2 |   level: loud",
            "     |          ^^^^ write one of them",
        ]
    );
}

#[test]
fn what_a_stronger_value_hides_is_checked_all_the_same() {
    check_wrong(
        &["--workers=2", "COLLIMATOR_WORKERS=two"],
        Some("workers: none\n"),
        &[
            "S003 variable COLLIMATOR_WORKERS: `two` is not a number from 1 to 256; write it in digits",
            "S003 collimator.yaml:1:10: `none` is not a number from 1 to 256; write it in digits",
        ],
    );
}

#[test]
fn values_that_cannot_be_meant_together_are_told() {
    check_wrong(
        &["--listen=0.0.0.0:9901"],
        None,
        &["S008 default: `admin` takes the port of `listen`, 9901; choose another port"],
    );
    check_wrong(
        &["--metrics=127.0.0.1:8000"],
        Some("listen: 127.0.0.1:8000\n"),
        &["S008 flag --metrics: `metrics` takes the port of `listen`, 8000; choose another port"],
    );
    for upstream in ["http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000"] {
        check_wrong(
            &[&format!("--upstream={upstream}")],
            None,
            &[&format!(
                "S008 flag --upstream: `upstream` {upstream} is our own `listen` 0.0.0.0:8000: requests would go round; \
             name the port of the application, or let the sidecar listen on another one"
            )],
        );
    }
    check(&["--upstream=http://app:8000"], None, "upstream", "http://app:8000 (flag --upstream)");
    check(
        &["--admin=127.0.0.1:0", "--metrics=127.0.0.1:0", "--listen=127.0.0.1:0"],
        None,
        "listen",
        "127.0.0.1:0 (flag --listen)",
    );
    let (settings, warnings) = resolve(&[UPSTREAM, "--sample-all=true", "--rules=rules/"], None).unwrap();
    assert_eq!(settings.rules_source(), RulesSource::SampleAll);
    assert_eq!(
        warnings.one_line(1),
        "flag --sample-all: every request is recorded and the rules are not read; remove one of the settings `sample_all` and `rules`"
    );
}

#[test]
fn an_unknown_variable_of_ours_is_a_warning() {
    let set = [UPSTREAM, "COLLIMATOR_LISTN=x", "COLLIMATOR_ZEBRA=x", "COLLIMATOR_SERVICE_HOST=10.0.0.1"];
    let (_, warnings) = resolve(&set, None).unwrap();
    assert_eq!(
        warnings.to_string().lines().collect::<Vec<_>>(),
        [
            "warning[S101] variable COLLIMATOR_LISTN: there is no such setting; it is ignored",
            "     did you mean COLLIMATOR_LISTEN?",
            "warning[S101] variable COLLIMATOR_ZEBRA: there is no such setting; it is ignored",
            "     `collimator run --help` tells the variables there are",
        ]
    );
}

#[test]
fn the_file_is_read_where_flag_or_variable_say() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("collimator.yaml");
    let name = path.to_str().unwrap();
    std::fs::write(&path, "upstream: http://app:1\n").unwrap();
    let by_flag = Settings::read(&RunFlags::new().with("config", name), &Environment::default());
    let by_variable =
        Settings::read(&RunFlags::new(), &Environment::from_variables([("COLLIMATOR_CONFIG", name)]));
    for settings in [by_flag, by_variable] {
        let (settings, warnings) = settings.unwrap();
        assert_eq!(entry(&settings, "upstream"), format!("http://app:1 ({name}:1:11)"));
        assert!(warnings.is_empty(), "{warnings}");
    }
    let problems =
        Settings::read(&RunFlags::new().with("config", "/none.yaml"), &Environment::default()).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "error[S000] flag --config: the settings file `/none.yaml` cannot be read: there is no such file\n     \
         check the path and who may read it"
    );
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,20}", n in 0usize..20) {
        let flags = RunFlags::new().with(SETTINGS[n].flag, &text);
        let _ = Settings::resolve(&flags, &Environment::default(), None);
        let variables = [(SETTINGS[n].variable(), text.clone()), ("AWS_XRAY_DAEMON_ADDRESS".into(), text)];
        let _ = Settings::resolve(&RunFlags::new(), &Environment::from_variables(variables), None);
    }

    #[test]
    fn no_file_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = Settings::resolve(&RunFlags::new(), &Environment::default(), Some(("c.yaml", &bytes)));
    }

    /// What is shown as a value is read back as the same value.
    #[test]
    fn durations_are_printed_as_they_are_read(millis in 0u64..3_600_000) {
        let duration = Duration::from_millis(millis);
        prop_assert_eq!(values::duration(&duration_text(duration), Duration::ZERO..=HOUR), Ok(duration));
    }
}

#[test]
fn a_certificate_needs_its_key_and_a_key_its_certificate() {
    check_wrong(
        &["--tls-cert=c.pem"],
        None,
        &["S008 flag --tls-cert: `tls.cert` stands without `tls.key`; \
           set tls.key (--tls-key) to the file of the certificate's private key, or remove both"],
    );
    check_wrong(
        &["--tls-client-ca=ca.pem"],
        Some("tls: { key: k.pem }\n"),
        &["S008 collimator.yaml:1:13: `tls.key` stands without `tls.cert`; \
           set tls.cert (--tls-cert) to the file of the key's certificate, or remove both"],
    );
    check_wrong(
        &["--upstream=https://app", "COLLIMATOR_UPSTREAM_KEY=k.pem"],
        None,
        &["S008 variable COLLIMATOR_UPSTREAM_KEY: `upstream_tls.key` stands without `upstream_tls.cert`; \
           set upstream_tls.cert (--upstream-cert) to the file of the key's certificate, or remove both"],
    );
    check_wrong(
        &["--tls-client-ca=ca.pem"],
        None,
        &[
            "S008 flag --tls-client-ca: `tls.client_ca` stands without `tls.cert` and `tls.key`: there is no TLS \
           to ask for clients' certificates; set tls.cert (--tls-cert) and tls.key (--tls-key), or remove it",
        ],
    );
}

#[test]
fn tls_settings_of_an_upstream_without_tls_are_warned_of() {
    let file = Some("upstream: h2c://app:50051\nupstream_tls: { ca: ca.pem }\n");
    let (_, warnings) = resolve(&["--upstream-server-name=app.internal"], file).unwrap();
    assert_eq!(
        warnings.one_line(9),
        "collimator.yaml:2:21: `upstream_tls.ca` has no effect: `upstream` h2c://app:50051 is spoken to without TLS; \
         write https://app:50051 for the upstream, or remove the setting; \
         flag --upstream-server-name: `upstream_tls.server_name` has no effect: `upstream` h2c://app:50051 is spoken \
         to without TLS; write https://app:50051 for the upstream, or remove the setting"
    );
}

#[test]
fn the_name_of_the_application_is_one_that_a_certificate_can_hold() {
    for name in ["app", "my_app", "10.0.0.7", "::1", "a.b.example"] {
        let flag = format!("--upstream-server-name={name}");
        check(&[&flag], None, "upstream_tls.server_name", &format!("{name} (flag --upstream-server-name)"));
    }
    for name in ["app:443", "https://app", "*.example", "[::1]", "a b"] {
        let expected = format!(
            "S003 flag --upstream-server-name: `{name}` is not a host's name or address; \
             write it as it stands in the certificate, without scheme, port or `*`: app.internal"
        );
        check_wrong(&[&format!("--upstream-server-name={name}")], None, &[&expected]);
    }
    let long = format!("--upstream=https://{}.example", "a".repeat(64));
    let problems = resolve(&[&long], None).unwrap_err().to_string();
    assert!(problems.contains("is no name that a certificate can hold"), "{problems}");
    let (_, warnings) = resolve(&[&long, "--upstream-server-name=app"], None).unwrap();
    assert!(warnings.is_empty(), "{warnings}");
}
