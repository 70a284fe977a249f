//! Starting, stopping and settings: exit codes, draining, health checks, and which source a value comes from.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::client::{Client, Request};
use crate::support::sidecar::{Options, Sidecar, log_field, log_lines};
use crate::support::upstream::{Answer, Gate, Upstream};
use crate::support::world::{ALWAYS, NEVER, World};
use crate::support::{RaiseOnPanic, wait_until};

/// `run` with these arguments must be refused with this code, and say this.
#[track_caller]
fn check_refused(options: Options, code: i32, says: &str) {
    let exit = options.output();
    exit.check(code);
    assert!(exit.stderr.contains(says), "no {says:?} in\n{}", exit.stderr);
}

fn aimless() -> Options {
    Options::run().args(&["--upstream", "http://127.0.0.1:9"])
}

#[test]
fn a_drained_stop_is_exit_zero() {
    let mut world = World::ruled(NEVER);
    world.forward(&Request::get("/"));
    world.sidecar.stop().check(0);
}

#[test]
fn an_interrupt_drains_too() {
    let mut world = World::ruled(NEVER);
    world.sidecar.signal("INT");
    world.sidecar.wait().check(0);
}

#[test]
fn bad_usage_and_bad_settings_are_exit_two() {
    check_refused(Options::run(), 2, "upstream");
    check_refused(aimless().arg("--no-such-flag"), 2, "--no-such-flag");
    check_refused(Options::bare(&["no-such-command"]), 2, "no-such-command");
    check_refused(Options::run().args(&["--upstream", "gopher://x"]), 2, "gopher");
    check_refused(aimless().args(&["--sink", "pigeon://x"]), 2, "pigeon");
    check_refused(aimless().args(&["--trust", "everyone"]), 2, "everyone");
    check_refused(aimless().args(&["--drain-timeout", "soon"]), 2, "soon");
    check_refused(aimless().args(&["--config", "no-such-file.yaml"]), 2, "no-such-file.yaml");
    check_refused(aimless().args(&["--rules", "no-such-rules.yaml"]), 2, "no-such-rules.yaml");
    check_refused(aimless().env("COLLIMATOR_WORKERS", "many"), 2, "COLLIMATOR_WORKERS");
}

#[test]
fn a_taken_port_is_exit_one() {
    let taken = Upstream::plain();
    let address = taken.address().to_string();
    let ports = ["--admin", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--upstream", "http://127.0.0.1:9"];
    let options = Options::bare(&["run", "--listen", &address]).args(&ports);
    check_refused(options, 1, &address);
}

#[test]
fn help_and_version_are_exit_zero() {
    for arguments in [["--help"], ["--version"]] {
        let exit = Options::bare(&arguments).output();
        exit.check(0);
        assert!(exit.stdout.contains("collimator"), "{}", exit.stdout);
    }
}

#[test]
fn the_log_is_json_lines_and_begins_with_what_was_bound() {
    let mut world = World::ruled(NEVER);
    let bound = [world.sidecar.listen, world.sidecar.admin, world.sidecar.metrics];
    let exit = world.sidecar.stop();
    let lines = log_lines(&exit.stderr);
    let says =
        |line: &&Value| ["listen", "admin", "metrics"].iter().all(|key| log_field(line, key).is_some());
    let start = lines.iter().find(says).unwrap_or_else(|| panic!("no start line in\n{}", exit.stderr));
    for (key, address) in ["listen", "admin", "metrics"].iter().zip(bound) {
        assert_eq!(log_field(start, key).unwrap(), &Value::from(address.to_string()));
    }
    for key in ["upstream", "sinks"] {
        assert!(log_field(start, key).is_some(), "no {key} in {start}");
    }
    let has_rules = lines.iter().any(|line| log_field(line, "hash").is_some());
    assert!(has_rules, "no rules line in\n{}", exit.stderr);
}

#[test]
fn a_start_without_application_and_sink_listens_and_is_ready() {
    let sidecar = aimless().args(&["--sink", "udp://127.0.0.1:9"]).start();
    assert_eq!(sidecar.side("GET", "/livez").status, 200);
    assert_eq!(sidecar.side("GET", "/readyz").status, 200);
}

/// What one client of the drain test saw.
#[derive(Default)]
struct Tally {
    answered: AtomicUsize,
    failed: AtomicUsize,
    told_to_close: AtomicUsize,
}

/// Keeps sending on one connection, opens another when told `Connection: close`, and stops when it is told so
/// after new connections are no longer wanted. That is what a load balancer does with a target it deregisters.
fn send_until_told(sidecar: &Sidecar, no_more: &AtomicBool, tally: &Tally, give_up: &AtomicBool) {
    let request = Request::get("/");
    'connections: while !no_more.load(Ordering::Relaxed) {
        let Ok(mut client) = Client::try_connect(sidecar.listen) else { return };
        while !give_up.load(Ordering::Relaxed) {
            match client.try_send(&request) {
                Ok(response) if response.status == 200 => {
                    tally.answered.fetch_add(1, Ordering::Relaxed);
                    if response.closes() {
                        tally.told_to_close.fetch_add(1, Ordering::Relaxed);
                        continue 'connections;
                    }
                }
                _ => {
                    tally.failed.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
            // A pace, so that 64 clients on two cores load the sidecar and not only the scheduler.
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[test]
fn a_stop_under_load_fails_no_request() {
    const CLIENTS: usize = 64;
    let mut world =
        World::start(|options| options.rules(ALWAYS).args(&["--drain-delay", "2s", "--workers", "2"]));
    let (no_more, give_up, tally) = (AtomicBool::new(false), AtomicBool::new(false), Tally::default());
    std::thread::scope(|scope| {
        let _raise = (RaiseOnPanic(&no_more), RaiseOnPanic(&give_up));
        for _ in 0..CLIENTS {
            scope.spawn(|| send_until_told(&world.sidecar, &no_more, &tally, &give_up));
        }
        let loaded = wait_until(Duration::from_secs(30), || {
            tally.answered.load(Ordering::Relaxed) > 4 * CLIENTS || tally.failed.load(Ordering::Relaxed) > 0
        });
        assert!(loaded, "the load did not come up");
        world.sidecar.terminate();
        world.sidecar.wait_for_readyz(503);
        // The drain delay is for this: who watches `/readyz` stops opening connections well before its end.
        no_more.store(true, Ordering::Relaxed);
    });
    let exit = world.sidecar.wait();
    exit.check(0);
    assert_eq!(tally.failed.load(Ordering::Relaxed), 0, "of {:?} answered", tally.answered);
    assert!(tally.told_to_close.load(Ordering::Relaxed) >= CLIENTS, "each connection was ended with notice");
}

#[test]
fn while_draining_readyz_fails_and_new_requests_are_served_with_notice() {
    let world = World::start(|options| options.rules(NEVER).args(&["--drain-delay", "10s"]));
    world.sidecar.wait_for_readyz(200);
    world.sidecar.terminate();
    world.sidecar.wait_for_readyz(503);
    assert_eq!(world.sidecar.side("GET", "/ready").status, 503);
    assert_eq!(world.sidecar.side("GET", "/livez").status, 200, "draining is not dying");
    let response = world.send(&Request::get("/"));
    assert_eq!(response.status, 200);
    assert!(response.closes(), "{}", String::from_utf8_lossy(&response.head));
    assert_eq!(world.scrape().value("collimator_draining", &[]), Some(1.0));
}

#[test]
fn an_idle_connection_gets_its_next_answer_during_the_drain_delay() {
    let world = World::start(|options| options.rules(NEVER).args(&["--drain-delay", "10s"]));
    let mut client = world.sidecar.client();
    assert!(!client.send(&Request::get("/")).closes());
    world.sidecar.terminate();
    world.sidecar.wait_for_readyz(503);
    let last = client.send(&Request::get("/"));
    assert_eq!(last.status, 200);
    assert!(last.closes(), "{}", String::from_utf8_lossy(&last.head));
    assert!(client.ends_silently());
}

#[test]
fn a_request_under_way_is_finished_and_recorded_before_the_end() {
    let gate = Gate::default();
    let held = gate.clone();
    let mut world = World::scripted(move |_| Answer::ok().held_by(&held));
    let mut client = world.sidecar.client();
    client.say(&Request::get("/").to_bytes()).unwrap();
    world.upstream.wait_for(1);
    world.sidecar.terminate();
    let refused = wait_until(Duration::from_secs(10), || Client::try_connect(world.sidecar.listen).is_err());
    assert!(refused, "after the drain delay nobody new is let in");
    assert!(!world.sidecar.has_ended());
    gate.open();
    assert_eq!(client.read("GET").unwrap().status, 200);
    world.sidecar.wait().check(0);
    assert_eq!(world.sink.settle().len(), 1);
}

/// A world in which one request never ends, told to stop.
fn stuck(drain_timeout: &str) -> (World, Client, Gate) {
    let gate = Gate::default();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Answer::ok().held_by(&held));
    let world =
        World::with(upstream, |options| options.rules(ALWAYS).args(&["--drain-timeout", drain_timeout]));
    let mut client = world.sidecar.client();
    client.say(&Request::get("/").to_bytes()).unwrap();
    world.upstream.wait_for(1);
    world.sidecar.terminate();
    (world, client, gate)
}

#[test]
fn the_drain_ends_at_its_timeout() {
    let start = Instant::now();
    let (mut world, _client, _gate) = stuck("500ms");
    world.sidecar.wait();
    assert!(start.elapsed() < Duration::from_secs(10));
    let documents = world.sink.settle();
    assert_eq!(documents.len(), 1, "the request that was cut off is recorded");
    let document = documents[0].document();
    assert_eq!((document["fault"].as_bool(), document.get("annotations")), (Some(true), None), "{document}");
    let exception = &document["cause"]["exceptions"][0];
    assert_eq!(exception["type"], "shutdown", "it was not the client that left: {document}");
}

#[test]
fn a_client_that_has_not_said_anything_does_not_hold_up_the_end() {
    let mut world = World::start(|options| options.rules(NEVER));
    let _silent = world.sidecar.client();
    assert_eq!(world.sidecar.client().send(&Request::get("/")).status, 200);
    let start = Instant::now();
    world.sidecar.terminate();
    world.sidecar.wait().check(0);
    assert!(start.elapsed() < Duration::from_secs(8), "took {:?}", start.elapsed());
}

#[test]
fn a_second_terminate_hurries() {
    let start = Instant::now();
    let (mut world, _client, _gate) = stuck("25s");
    let refused = wait_until(Duration::from_secs(10), || Client::try_connect(world.sidecar.listen).is_err());
    assert!(refused && !world.sidecar.has_ended());
    world.sidecar.terminate();
    world.sidecar.wait();
    assert!(start.elapsed() < Duration::from_secs(15), "took {:?}", start.elapsed());
}

#[test]
fn a_post_to_drain_makes_unready_and_a_post_to_shutdown_ends() {
    let mut world = World::start(|options| options.rules(NEVER));
    assert!(world.sidecar.admin("POST", "/drain").status < 300);
    world.sidecar.wait_for_readyz(503);
    assert!(world.sidecar.admin("POST", "/shutdown").status < 300);
    world.sidecar.wait().check(0);
}

/// What `collimator healthcheck` says about a metrics address.
fn healthcheck(address: &str) -> Option<i32> {
    let by_flag = Options::bare(&["healthcheck", "--metrics", address]).output().code;
    let by_variable = Options::bare(&["healthcheck"]).env("COLLIMATOR_METRICS", address).output().code;
    let file = format!("metrics: {address}\n");
    let by_file =
        Options::bare(&["healthcheck"]).file("all.yaml", &file).env("COLLIMATOR_CONFIG", "all.yaml");
    assert_eq!((by_flag, by_variable), (by_variable, by_file.output().code));
    by_flag
}

#[test]
fn healthcheck_is_zero_when_ready_and_one_when_not() {
    let world = World::start(|options| options.rules(NEVER).args(&["--drain-delay", "30s"]));
    let address = world.sidecar.metrics.to_string();
    assert_eq!(healthcheck(&address), Some(0));
    assert_eq!(healthcheck(&format!("0.0.0.0:{}", world.sidecar.metrics.port())), Some(0), "as `run` binds");
    world.sidecar.terminate();
    world.sidecar.wait_for_readyz(503);
    assert_eq!(healthcheck(&address), Some(1));
    assert_eq!(healthcheck(&crate::support::vacant_address().to_string()), Some(1));
}

/// The value and source of a setting as the running sidecar tells them.
#[track_caller]
fn setting(sidecar: &Sidecar, key: &str) -> (Value, String) {
    let config = sidecar.admin("GET", "/config").json();
    let settings = config["settings"].as_array().unwrap_or_else(|| panic!("no settings in {config}"));
    let setting = settings.iter().find(|setting| setting["key"] == key);
    let setting = setting.unwrap_or_else(|| panic!("no {key} in {config}"));
    (setting["value"].clone(), setting["source"].as_str().unwrap_or_default().to_owned())
}

/// Starts with these sources of the service's name; this value must win, named by this source.
#[track_caller]
fn check_name_from(configure: impl FnOnce(Options) -> Options, value: &str, source: &str) {
    let sidecar = configure(aimless().args(&["--sink", "none"])).start();
    let (found, from) = setting(&sidecar, "service.name");
    assert_eq!(found, value);
    assert!(from.contains(source), "from {from:?}, expected {source:?}");
}

#[test]
fn a_setting_comes_from_flag_then_own_variable_then_known_variables_then_file() {
    let file = |options: Options| {
        options.file("collimator.yaml", "service:\n  name: by-file\n").args(&["--config", "collimator.yaml"])
    };
    let last = |options: Options| file(options).env("XRAY_SEGMENT_NAME", "by-mesh");
    let third = |options: Options| last(options).env("OTEL_SERVICE_NAME", "by-otel");
    let second = |options: Options| third(options).env("AWS_XRAY_TRACING_NAME", "by-xray");
    let first = |options: Options| second(options).env("COLLIMATOR_SERVICE_NAME", "by-own");
    check_name_from(file, "by-file", "collimator.yaml");
    check_name_from(last, "by-mesh", "XRAY_SEGMENT_NAME");
    check_name_from(third, "by-otel", "OTEL_SERVICE_NAME");
    check_name_from(second, "by-xray", "AWS_XRAY_TRACING_NAME");
    check_name_from(first, "by-own", "COLLIMATOR_SERVICE_NAME");
    check_name_from(
        |options| first(options).args(&["--service-name", "by-flag"]),
        "by-flag",
        "--service-name",
    );
}

#[test]
fn a_setting_nobody_gave_is_the_default() {
    let sidecar = aimless().start();
    let (value, source) = setting(&sidecar, "trust");
    assert_eq!(value, "internal");
    assert!(source.contains("default"), "{source}");
}

#[test]
fn a_file_alone_is_enough() {
    let upstream = Upstream::plain();
    let text = format!(
        "upstream: http://{}\nservice:\n  name: filed\ntrust: none\nsinks: [store]\n",
        upstream.address()
    );
    let sidecar = Options::run().file("collimator.yaml", text).args(&["--config", "collimator.yaml"]).start();
    assert_eq!(sidecar.send(&Request::get("/")).status, 200);
    let (value, source) = setting(&sidecar, "trust");
    assert_eq!(value, "none");
    assert!(source.contains("collimator.yaml"), "{source}");
}

#[test]
fn an_unknown_key_is_refused_with_its_place() {
    let with = |text: &str| aimless().file("collimator.yaml", text).args(&["--config", "collimator.yaml"]);
    check_refused(with("trust: all\nupstraem: http://127.0.0.1:9\n"), 2, "collimator.yaml:2:1");
    check_refused(with("service:\n  nmae: x\n"), 2, "collimator.yaml:2:3");
    check_refused(with("workers: many\n"), 2, "collimator.yaml:1:10");
}
