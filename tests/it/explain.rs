//! Asking a running sidecar which rule would decide.

use crate::support::client::{Client, Request, Response};
use crate::support::sidecar::Options;
use crate::support::world::World;

const RULES: &str = "rules_version: 1\nrules:\n  \
    - { name: carts, priority: 1, service_name: shop, url_path: /cart/*, reservoir: 1, rate: 0 }\n";

fn world() -> World {
    World::start(|options| options.rules(RULES).args(&["--service-name", "shop"]))
}

fn ask(world: &World, body: &str, accept: &str) -> Response {
    let mut request = Request::post("/explain", body).header("Host", world.sidecar.admin.to_string());
    if !accept.is_empty() {
        request = request.header("Accept", accept);
    }
    Client::once(world.sidecar.admin, &request)
}

#[test]
fn a_running_sidecar_explains_in_the_same_words_and_tells_its_level() {
    let world = world();
    let address = format!("http://{}", world.sidecar.admin);
    let exit = Options::bare(&["explain", "GET", "/cart/1", "--live", &address]).output();
    exit.check(0);
    let decision = "  decision   carts → first 1 a second, none of the rest          rules.yaml:3:5\n";
    assert!(exit.stdout.contains(decision), "{}", exit.stdout);
    assert!(exit.stdout.contains("service shop (type"), "{}", exit.stdout);
    assert!(exit.stdout.ends_with("  reservoir  0 of 1 taken now\n"), "{}", exit.stdout);
    let exit = Options::bare(&["explain", "GET", "/cart/1", "--live", "http://127.0.0.1:9"]).output();
    exit.check(1);
    assert!(exit.stderr.contains("hint: give its admin port"), "{}", exit.stderr);
}

#[test]
fn explaining_takes_no_place_and_counts_nothing() {
    let world = world();
    let body = r#"{"method": "GET", "url": "/cart/1"}"#;
    let answer = ask(&world, body, "").json();
    assert_eq!((&answer["rule"], &answer["decision"]), (&"carts".into(), &"reservoir".into()));
    assert_eq!(answer["reservoir_now"], serde_json::json!({ "taken": 0, "places": 1 }));
    for _ in 0..20 {
        assert_eq!(ask(&world, body, "text/plain").status, 200);
    }
    assert_eq!(world.scrape().sum("collimator_sampling_decisions_total", &[]), 0.0);
    let inherited = r#"{"method": "GET", "url": "/cart/1", "headers": {}, "trace": "Sampled=1"}"#;
    assert_eq!(ask(&world, inherited, "").json()["decision"], "inherited");
}

#[test]
fn what_is_no_request_is_refused() {
    let world = world();
    for body in
        ["", "{}", "[1]", r#"{"method": "GET", "url": "cart"}"#, r#"{"method": "GET", "url": "/", "x": 1}"#]
    {
        let answer = ask(&world, body, "");
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.text().contains("hint: "), "{}", answer.text());
    }
    assert_eq!(ask(&world, &"x".repeat(65 * 1024), "").status, 413);
    assert_eq!(world.sidecar.admin("GET", "/explain").status, 405);
    let foreign = Request::post("/explain", "{}")
        .header("Host", world.sidecar.admin.to_string())
        .header("Origin", "http://elsewhere.example");
    assert_eq!(Client::once(world.sidecar.admin, &foreign).status, 403);
}

#[test]
fn the_settings_file_says_which_rules_explain() {
    let settings = "rules: rules.yaml\nservice: { name: shop }\n";
    let options = Options::bare(&["explain", "GET", "http://a/cart/1"])
        .file("rules.yaml", RULES)
        .file("all.yaml", settings)
        .env("COLLIMATOR_CONFIG", "all.yaml");
    let exit = options.output();
    exit.check(0);
    assert!(exit.stdout.contains("carts → first 1 a second"), "{}", exit.stdout);
    assert!(exit.stdout.contains("service shop"), "{}", exit.stdout);
}

#[test]
fn the_status_of_rules_tells_counts_and_what_never_matched() {
    let world = world();
    world.burst(3, &Request::get("/cart/1"));
    let address = format!("http://{}", world.sidecar.admin);
    let exit = Options::bare(&["rules", "status", "--live", &address]).output();
    exit.check(0);
    let carts = exit.stdout.lines().find(|line| line.contains("carts")).unwrap_or_default();
    assert_eq!(carts.split_whitespace().nth(4), Some("3"), "{}", exit.stdout);
    assert!(exit.stdout.contains("\nnever matched: Default\n"), "{}", exit.stdout);
    let exit = Options::bare(&["rules", "status", "--live", &address, "--format", "json"]).output();
    exit.check(0);
    let told: serde_json::Value = serde_json::from_str(&exit.stdout).unwrap();
    assert_eq!(told["never_matched"], serde_json::json!(["Default"]));
    let exit = Options::bare(&["rules", "status", "--live", "http://127.0.0.1:9"]).output();
    exit.check(1);
    assert!(exit.stderr.contains("hint: give its admin port"), "{}", exit.stderr);
}
