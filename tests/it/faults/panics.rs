//! A fault of our own: one request panics, and nobody else notices.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::client::Request;
use crate::support::eventually;
use crate::support::load::{Load, check_answered};
use crate::support::sidecar::{log_field, log_lines};
use crate::support::world::{ALWAYS, World};

#[test]
fn a_panic_in_one_request_is_a_500_and_harms_no_other() {
    let mut world = World::start(|options| options.rules(ALWAYS).env("COLLIMATOR_FAULT", "panic-on:/broken"));
    let load = Load {
        address: world.sidecar.listen,
        n_clients: 4,
        pause: Duration::from_millis(1),
        request: &|_, n| Request::get(&format!("/whole/{n}")),
    };
    let (asked, statuses) = load.during(|_| {
        let mut client = world.sidecar.client();
        (0..20)
            .map(|n| match n % 2 {
                0 => client.send(&Request::get("/broken")),
                _ => client.send(&Request::get("/whole")),
            })
            .map(|response| (response.status, response.header("collimator-error")))
            .collect::<Vec<_>>()
    });
    check_answered(&asked, &[200]);
    for pair in statuses.chunks(2) {
        assert_eq!(pair, [(500, Some("internal".to_owned())), (200, None)]);
    }
    let scrape = world.scrape();
    assert_eq!(scrape.value("collimator_panics_total", &[]), Some(10.0));
    assert_eq!(scrape.sum("collimator_requests_in_flight", &[]), 0.0, "the broken ones have ended too");
    let exit = world.sidecar.stop();
    exit.check(0);
    let told =
        log_lines(&exit.stderr).iter().filter(|line| line.to_string().contains("src/fault.rs")).count();
    assert!((1..=10).contains(&told), "{told} lines tell where");
    let documents = world.sink.settle();
    let faults = documents.iter().filter(|datagram| datagram.document()["fault"] == true).count();
    assert_eq!((documents.len(), faults), (asked.len() + 20, 10), "every hop is closed once");
}

#[test]
fn a_flood_of_panics_is_ten_lines_a_second_and_a_count() {
    const PANICS: u64 = 200;
    let mut world = World::start(|options| options.env("COLLIMATOR_FAULT", "panic-on:/broken"));
    let mut client = world.sidecar.client();
    let started = Instant::now();
    for _ in 0..PANICS {
        assert_eq!(client.send(&Request::get("/broken")).status, 500);
    }
    assert_eq!(world.scrape().value("collimator_panics_total", &[]), Some(PANICS as f64));
    // One more, once there are lines again, tells how many had none.
    eventually("a line counts the others", || {
        client.send(&Request::get("/broken"));
        world.sidecar.logged().contains("lines_left_out")
    });
    let seconds = started.elapsed().as_secs() + 2;
    let exit = world.sidecar.stop();
    let lines = log_lines(&exit.stderr);
    let told: Vec<_> = lines.iter().filter(|line| line.to_string().contains("src/fault.rs")).collect();
    let left_out: u64 =
        told.iter().filter_map(|line| log_field(line, "lines_left_out")).filter_map(Value::as_u64).sum();
    assert!(told.len() as u64 <= 10 * seconds, "{} lines in {seconds} s", told.len());
    assert!(told.len() as u64 + left_out > PANICS, "each has a line or is counted: {left_out} left out");
}
