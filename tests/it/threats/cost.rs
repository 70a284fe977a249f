//! A stranger who asks for every trace to be recorded, or puts everything into one.

use std::collections::HashSet;
use std::time::Instant;

use crate::support::client::{Client, Request};
use crate::support::most_in;
use crate::support::sink::Datagram;
use crate::support::trace::{PARENT, ROOT};
use crate::support::world::{ALWAYS, World};

#[test]
fn ten_thousand_demands_of_a_public_client_are_recorded_up_to_the_cap() {
    const REQUESTS: usize = 10_000;
    let mut world = World::start(|options| options);
    let request = Request::get("/")
        .trace(format!("Root={ROOT};Parent={PARENT};Sampled=1"))
        .header("X-Forwarded-For", "198.51.100.7, 8.8.8.8");
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = Client::connect(world.sidecar.listen);
                for _ in 0..REQUESTS / 4 {
                    assert_eq!(client.send(&request).status, 200);
                }
            });
        }
    });
    let elapsed = start.elapsed();
    let scrape = world.scrape();
    let (honoured, refused) =
        (scrape.decisions("inherited_sampled"), scrape.sum("collimator_trust_refused_total", &[]));
    assert!(honoured <= most_in(elapsed, 10) as f64, "{honoured} were honoured in {elapsed:?}");
    assert_eq!(honoured + refused, REQUESTS as f64, "the others are counted as refused");
    assert!(scrape.decisions("reservoir") <= most_in(elapsed, 1) as f64);
    // 5 % of 10,000, and five standard deviations of 22.
    assert!(scrape.decisions("rate") <= 610.0, "{} by a rate of 5 %", scrape.decisions("rate"));
    let recorded = world.stop().len() as f64;
    assert_eq!(recorded, honoured + scrape.decisions("reservoir") + scrape.decisions("rate"));
    eprintln!(
        "{recorded} of {REQUESTS} recorded in {elapsed:?}: {honoured} by demand, {refused} demands refused"
    );
}

#[test]
fn with_trust_none_a_root_used_a_thousand_times_is_a_thousand_traces() {
    let mut world = World::start(|options| options.rules(ALWAYS).args(&["--trust", "none"]));
    world.burst(1_000, &Request::get("/").trace(format!("Root={ROOT};Parent={PARENT};Sampled=1")));
    let documents: Vec<_> = world.stop().iter().map(Datagram::document).collect();
    let traces: HashSet<&str> =
        documents.iter().map(|document| document["trace_id"].as_str().unwrap()).collect();
    assert_eq!((documents.len(), traces.len()), (1_000, 1_000));
    assert!(!traces.contains(ROOT));
    for document in &documents {
        assert_eq!(document.get("parent_id"), None);
        assert!(
            document["annotations"].as_object().unwrap().values().any(|value| value == ROOT),
            "{document}"
        );
    }
}
