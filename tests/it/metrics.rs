//! The side doors: what is counted and under which labels, health, and the admin port's manners.

use std::collections::BTreeSet;

use crate::support::client::{Client, Request};
use crate::support::scrape::Scrape;
use crate::support::trace::{PARENT, ROOT};
use crate::support::upstream::{Answer, Gate};
use crate::support::world::{ALWAYS, NEVER, World};

/// Every metric of the contract that exists so far; a histogram is named by its `_count`.
const NAMES: &[&str] = &[
    "collimator_requests_total",
    "collimator_request_duration_seconds_count",
    "collimator_overhead_seconds_count",
    "collimator_requests_in_flight",
    "collimator_connections",
    "collimator_upstream_errors_total",
    "collimator_upstream_retries_total",
    "collimator_sampling_decisions_total",
    "collimator_sampling_observed_decisions_total",
    "collimator_sampling_captures_refused_total",
    "collimator_sampling_decision_seconds_count",
    "collimator_sampling_reservoir_used_ratio",
    "collimator_trace_headers_total",
    "collimator_segments_offered_total",
    "collimator_segments_emitted_total",
    "collimator_segments_dropped_total",
    "collimator_segments_rejected_total",
    "collimator_emit_bytes_total",
    "collimator_emit_queue_length",
    "collimator_emit_queue_capacity",
    "collimator_rules_reload_total",
    "collimator_rules_last_reload_success",
    "collimator_rules_last_reload_success_timestamp_seconds",
    "collimator_rules_info",
    "collimator_tls_handshakes_total",
    "collimator_tls_reload_total",
    "collimator_tls_last_reload_success",
    "collimator_build_info",
    "collimator_estimated_cost_usd_per_month",
    "collimator_draining",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_start_time_seconds",
];

#[track_caller]
fn check_value(scrape: &Scrape, name: &str, labels: &[(&str, &str)], expected: f64) {
    assert_eq!(scrape.value(name, labels), Some(expected), "{name} {labels:?} in\n{}", scrape.text);
}

#[test]
fn every_metric_exists_from_the_start_and_counters_are_zero() {
    let world = World::ruled(ALWAYS);
    let scrape = world.scrape();
    for name in NAMES {
        let value = scrape.value(name, &[]);
        assert!(value.is_some(), "no {name} in\n{}", scrape.text);
        if name.starts_with("collimator_") && (name.ends_with("_total") || name.ends_with("_count")) {
            // The rules that the start itself loaded may count as one reload.
            let most = if *name == "collimator_rules_reload_total" { 1.0 } else { 0.0 };
            assert!(value <= Some(most), "{name} is {value:?} before any request");
        }
    }
    for result in ["success", "failure"] {
        assert!(scrape.value("collimator_rules_reload_total", &[("result", result)]).is_some(), "{result}");
    }
    check_value(&scrape, "collimator_draining", &[], 0.0);
    check_value(&scrape, "collimator_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    check_value(&scrape, "collimator_rules_info", &[], 1.0);
    check_value(&scrape, "collimator_rules_last_reload_success", &[], 1.0);
}

#[test]
fn every_metric_says_its_type_and_meaning() {
    let text = World::ruled(ALWAYS).scrape().text;
    for name in NAMES.iter().filter(|name| name.starts_with("collimator_")) {
        let family = name.strip_suffix("_count").unwrap_or(name);
        assert!(text.contains(&format!("# TYPE {family} ")), "no type of {family}");
        assert!(text.contains(&format!("# HELP {family} ")), "no help for {family}");
    }
}

#[test]
fn requests_are_counted_by_method_and_status() {
    let world = World::scripted(|seen| match seen.method().as_str() {
        "POST" => Answer::status(503),
        _ => Answer::ok(),
    });
    world.burst(3, &Request::get("/"));
    world.send(&Request::post("/", "x"));
    let scrape = world.sidecar.scrape_until("all hops are closed", |scrape| {
        scrape.sum("collimator_requests_total", &[]) >= 4.0
            && scrape.sum("collimator_requests_in_flight", &[]) == 0.0
    });
    let by = |method, status| {
        [("direction", "inbound"), ("http_request_method", method), ("http_response_status_code", status)]
    };
    check_value(&scrape, "collimator_requests_total", &by("GET", "200"), 3.0);
    check_value(&scrape, "collimator_requests_total", &by("POST", "503"), 1.0);
    let inbound = [("direction", "inbound")];
    check_value(&scrape, "collimator_request_duration_seconds_count", &inbound, 4.0);
    for phase in ["request", "response"] {
        let labels = [("direction", "inbound"), ("phase", phase)];
        check_value(&scrape, "collimator_overhead_seconds_count", &labels, 4.0);
    }
    assert!(scrape.sum("collimator_emit_bytes_total", &[]) > 0.0, "{}", scrape.text);
}

#[test]
fn requests_and_connections_are_counted_while_they_last() {
    let gate = Gate::default();
    let held = gate.clone();
    let world = World::scripted(move |_| Answer::ok().held_by(&held));
    let mut client = world.sidecar.client();
    client.say(&Request::get("/").to_bytes()).unwrap();
    world.upstream.wait_for(1);
    let inbound = [("direction", "inbound")];
    let scrape = world.scrape();
    check_value(&scrape, "collimator_requests_in_flight", &inbound, 1.0);
    check_value(&scrape, "collimator_connections", &inbound, 1.0);
    gate.open();
    client.read("GET").unwrap();
    drop(client);
    world.sidecar.scrape_until("both have ended", |scrape| {
        scrape.sum("collimator_requests_in_flight", &inbound) == 0.0
            && scrape.sum("collimator_connections", &inbound) == 0.0
    });
}

#[test]
fn trace_headers_are_counted_by_format_and_outcome() {
    let world = World::ruled(NEVER);
    world.forward(&Request::get("/"));
    world.forward(&Request::get("/").trace(format!("Root={ROOT};Parent={PARENT};Sampled=0")));
    let traceparent = crate::support::trace::traceparent(ROOT, PARENT, "00");
    world.forward(&Request::get("/").header("traceparent", traceparent));
    let scrape = world.scrape();
    let name = "collimator_trace_headers_total";
    check_value(&scrape, name, &[("format", "none"), ("outcome", "started")], 1.0);
    check_value(&scrape, name, &[("format", "xray"), ("outcome", "continued")], 1.0);
    check_value(&scrape, name, &[("format", "w3c"), ("outcome", "continued")], 1.0);
    check_value(&scrape, name, &[], 3.0);
}

/// The names of all series, with their labels.
fn series(scrape: &Scrape) -> BTreeSet<String> {
    scrape.samples.iter().map(|sample| format!("{}{:?}", sample.name, sample.labels)).collect()
}

#[test]
fn ten_thousand_paths_and_hosts_add_no_series() {
    let world = World::ruled(ALWAYS);
    world.burst(100, &Request::get("/warm-up"));
    let before = series(&world.scrape());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let world = &world;
            scope.spawn(move || {
                let mut client = Client::connect(world.sidecar.listen);
                for n in 0..2500 {
                    let host = format!("h{n}.t{thread}.example");
                    let request = Request::get(&format!("/p{thread}/{n}?q={n}")).header("Host", host);
                    let request = request.header("User-Agent", format!("agent-{thread}-{n}"));
                    assert_eq!(client.send(&request).status, 200);
                }
            });
        }
    });
    let after = series(&world.scrape());
    let new: Vec<&String> = after.difference(&before).collect();
    assert!(new.is_empty(), "new series: {new:?}");
    assert!(after.len() <= 1000, "{} series", after.len());
}

#[test]
fn invented_methods_share_one_label() {
    let world = World::ruled(NEVER);
    world.forward(&Request::new("BREW0", "/"));
    let before = series(&world.scrape()).len();
    for n in 1..=50 {
        world.forward(&Request::new(&format!("BREW{n}"), "/"));
    }
    let scrape = world.scrape();
    assert_eq!(series(&scrape).len(), before);
    assert!(!scrape.text.contains("BREW"), "a stranger's word became a label");
}

#[test]
fn the_metrics_port_has_health_and_metrics_and_nothing_else() {
    let world = World::ruled(NEVER);
    for path in ["/livez", "/readyz", "/live", "/ready", "/metrics"] {
        assert_eq!(world.sidecar.side("GET", path).status, 200, "{path}");
    }
    for path in ["/", "/status", "/rules", "/config", "/metrics/", "/livez/x", "/debug/pprof"] {
        assert_eq!(world.sidecar.side("GET", path).status, 404, "{path}");
    }
    for path in ["/reload", "/drain", "/shutdown", "/log-level"] {
        let status = world.sidecar.side("POST", path).status;
        assert!(matches!(status, 404 | 405), "POST {path} answered {status}");
    }
    assert_eq!(world.send(&Request::get("/")).status, 200, "none of these did anything");
}

#[test]
fn metrics_are_prometheus_text() {
    let response = World::ruled(NEVER).sidecar.side("GET", "/metrics");
    let content_type = response.header("content-type").unwrap();
    assert!(content_type.starts_with("text/plain"), "{content_type}");
}

#[test]
fn health_asks_nothing_of_the_application() {
    let world = World::scripted(|_| Answer::reset_at_once());
    assert_eq!(world.sidecar.side("GET", "/livez").status, 200);
    assert_eq!(world.sidecar.side("GET", "/readyz").status, 200);
    assert_eq!(world.upstream.n_seen(), 0);
}

#[test]
fn the_admin_port_tells_status_rules_settings_and_metrics() {
    let world = World::ruled(&crate::sampling::rules(&["name: shown, priority: 1"]));
    for path in ["/status", "/rules", "/config"] {
        let response = world.sidecar.admin("GET", path);
        assert_eq!(response.status, 200, "{path}");
        response.json();
    }
    assert!(world.sidecar.admin("GET", "/rules").text().contains("shown"));
    let metrics = world.sidecar.admin("GET", "/metrics").text();
    assert!(metrics.contains("collimator_requests_total"), "{metrics}");
    assert_eq!(world.sidecar.admin("GET", "/no-such-page").status, 404);
}

#[test]
fn a_get_changes_nothing() {
    let world = World::ruled(NEVER);
    for path in ["/reload", "/drain", "/log-level", "/shutdown"] {
        assert_eq!(world.sidecar.admin("GET", path).status, 405, "{path}");
    }
    for path in ["/status", "/rules", "/config"] {
        assert_eq!(world.sidecar.admin("POST", path).status, 405, "POST {path}");
    }
    assert_eq!(world.sidecar.side("GET", "/readyz").status, 200);
    assert_eq!(world.send(&Request::get("/")).status, 200);
}

#[test]
fn a_foreign_host_or_origin_is_refused_on_the_admin_port() {
    let world = World::ruled(NEVER);
    let admin = world.sidecar.admin;
    let paths = ["/", "/status", "/rules", "/config", "/metrics", "/no-such-page"].map(|path| ("GET", path));
    let posts = ["/reload", "/drain", "/log-level", "/shutdown"].map(|path| ("POST", path));
    for (method, path) in paths.into_iter().chain(posts) {
        let foreign = Request::new(method, path).header("Host", format!("evil.example:{}", admin.port()));
        assert_eq!(Client::once(admin, &foreign).status, 403, "{method} {path} by a rebound name");
    }
    for (method, path) in posts {
        let request = world.sidecar.admin_request(method, path).header("Origin", "http://evil.example");
        assert_eq!(Client::once(admin, &request).status, 403, "{method} {path} from a foreign page");
    }
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        let local = Request::get("/status").header("Host", format!("{host}:{}", admin.port()));
        assert_eq!(Client::once(admin, &local).status, 200, "{host}");
    }
    assert_eq!(world.sidecar.side("GET", "/readyz").status, 200, "nothing was drained");
}

#[test]
fn the_log_level_can_be_changed_while_running() {
    let world = World::ruled(NEVER);
    let post = |level: &str| {
        let request = Request::post("/log-level", level).header("Host", world.sidecar.admin.to_string());
        Client::once(world.sidecar.admin, &request).status
    };
    assert!((200..300).contains(&post("debug")));
    assert!((200..300).contains(&post("info")));
    assert_eq!(post("as loud as you can"), 400);
}
