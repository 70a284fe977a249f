//! Every path of the admin and metrics ports, as a web page on a foreign site would try it.

use std::time::{Duration, Instant};

use crate::support::client::{Client, Request, Response};
use crate::support::world::{NEVER, World};

const READING: [&str; 16] = [
    "/",
    "/status",
    "/rules",
    "/config",
    "/metrics",
    "/livez",
    "/readyz",
    "/live",
    "/ready",
    "/assets/app.js",
    "/api/v1/traces",
    "/api/v1/graph",
    "/api/v1/status",
    "/explain",
    "/no-such-page",
    "/debug/pprof",
];
const CHANGING: [&str; 5] = ["/reload", "/drain", "/log-level", "/shutdown", "/explain"];
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"];

fn paths() -> impl Iterator<Item = &'static str> {
    READING.into_iter().chain(CHANGING)
}

#[track_caller]
fn ask(world: &World, request: &Request) -> Response {
    Client::once(world.sidecar.admin, request)
}

/// Nothing was changed by whatever came before.
#[track_caller]
fn check_untouched(world: &mut World, before: &str) {
    assert_eq!(world.sidecar.side("GET", "/readyz").status, 200);
    assert!(!world.sidecar.has_ended());
    assert_eq!(world.scrape().sum("collimator_rules_reload_total", &[]).to_string(), before);
    assert_eq!(world.send(&Request::get("/")).status, 200);
}

fn n_reloads(world: &World) -> String {
    world.scrape().sum("collimator_rules_reload_total", &[]).to_string()
}

#[test]
fn no_path_of_the_admin_port_answers_to_a_foreign_host() {
    let mut world = World::ruled(NEVER);
    let (before, port) = (n_reloads(&world), world.sidecar.admin.port());
    let hosts = [
        format!("evil.example:{port}"),
        "evil.example".to_owned(),
        format!("localhost.evil.example:{port}"),
        format!("127.0.0.1.evil.example:{port}"),
        format!("127.0.0.1@evil.example:{port}"),
        format!("localhost@evil.example:{port}"),
        "[evil]:80".to_owned(),
        format!("203.0.113.5:{port}"),
        "169.254.169.254".to_owned(),
        "[2001:db8::1]".to_owned(),
        String::new(),
    ];
    for path in paths() {
        for method in METHODS {
            for host in &hosts {
                let response = ask(&world, &Request::new(method, path).header("Host", host));
                assert_eq!(response.status, 403, "{method} {path} as {host:?}");
                assert!(response.header("access-control-allow-origin").is_none());
            }
        }
        let mut twice = Client::connect(world.sidecar.admin);
        twice
            .say(format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n").as_bytes())
            .unwrap();
        assert!(matches!(twice.read("GET").unwrap().status, 400 | 403), "{path} with two hosts");
        let mut none = Client::connect(world.sidecar.admin);
        none.say(format!("POST {path} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(none.read("POST").unwrap().status, 403, "{path} without a host");
    }
    check_untouched(&mut world, &before);
}

#[test]
fn nothing_is_changed_for_a_foreign_page() {
    let mut world = World::ruled(NEVER);
    let before = n_reloads(&world);
    let own = world.sidecar.admin.to_string();
    let origins = [
        "http://evil.example".to_owned(),
        "null".to_owned(),
        format!("https://{own}"),
        format!("http://{own}.evil.example"),
        "http://localhost".to_owned(),
        String::new(),
        format!("http://{own}/"),
    ];
    for path in CHANGING {
        for origin in &origins {
            let request = world.sidecar.admin_request("POST", path).header("Origin", origin);
            assert_eq!(ask(&world, &request).status, 403, "POST {path} from {origin:?}");
        }
    }
    for path in paths() {
        for method in METHODS.into_iter().filter(|method| *method != "POST") {
            let response = ask(
                &world,
                &world.sidecar.admin_request(method, path).header("Origin", "http://evil.example"),
            );
            assert!(response.header("access-control-allow-origin").is_none(), "{method} {path}");
            let allowed =
                matches!(method, "GET" | "HEAD") && READING.contains(&path) && !CHANGING.contains(&path);
            assert_eq!(response.status == 405, !allowed, "{method} {path} answered {}", response.status);
        }
    }
    check_untouched(&mut world, &before);
}

#[test]
fn the_metrics_port_changes_nothing_and_tells_nothing_else_whoever_asks() {
    let mut world = World::ruled(NEVER);
    let before = n_reloads(&world);
    let open = ["/metrics", "/livez", "/readyz", "/live", "/ready"];
    for path in paths() {
        for method in METHODS {
            for host in ["evil.example", "127.0.0.1"] {
                let request =
                    Request::new(method, path).header("Host", host).header("Origin", "http://evil.example");
                let response = Client::once(world.sidecar.metrics, &request);
                let expected =
                    if open.contains(&path) && matches!(method, "GET" | "HEAD") { 200 } else { 404 };
                assert_eq!(response.status, expected, "{method} {path} as {host}");
                assert!(response.header("access-control-allow-origin").is_none());
            }
        }
    }
    check_untouched(&mut world, &before);
}

#[test]
fn every_answer_of_the_admin_port_forbids_foreign_scripts() {
    let world = World::ruled(NEVER);
    for path in READING {
        let response = world.sidecar.admin("GET", path);
        let policy = response.header("content-security-policy").unwrap_or_default();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("script-src 'self'"),
            "{path}: {policy:?}"
        );
        assert_eq!(response.header("x-content-type-options").as_deref(), Some("nosniff"), "{path}");
    }
}

#[test]
fn an_admin_address_that_others_can_reach_is_refused_at_start() {
    let options = crate::support::sidecar::Options::bare(&[
        "run",
        "--upstream",
        "http://127.0.0.1:9",
        "--admin",
        "0.0.0.0:0",
    ]);
    let exit = options.output();
    exit.check(2);
    assert!(exit.stderr.contains("admin"), "{}", exit.stderr);
}

#[test]
fn who_holds_every_place_does_not_keep_a_kubelet_from_asking() {
    let world = World::ruled(NEVER);
    for address in [world.sidecar.metrics, world.sidecar.admin] {
        let held: Vec<Client> = (0..200).map(|_| Client::connect(address)).collect();
        let start = Instant::now();
        let ready = Request::get("/readyz").header("Host", "localhost");
        assert_eq!(Client::once(address, &ready).status, 200);
        assert!(start.elapsed() < Duration::from_secs(5), "after {:?}", start.elapsed());
        drop(held);
    }
}

#[test]
fn a_head_on_the_ports_beside_traffic_is_kept_up_to_16_kib() {
    let world = World::ruled(NEVER);
    for address in [world.sidecar.metrics, world.sidecar.admin] {
        let asked = |length: usize| {
            let long =
                Request::get("/livez").header("Host", "localhost").header("X-Long", "x".repeat(length));
            Client::once(address, &long).status
        };
        assert_eq!(asked(12_000), 200);
        assert_eq!(asked(17_000), 431);
    }
}
