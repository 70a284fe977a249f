//! A fault of our own: one request panics, and nobody else notices.

use std::time::Duration;

use crate::support::client::Request;
use crate::support::load::{Load, check_answered};
use crate::support::sidecar::log_lines;
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
