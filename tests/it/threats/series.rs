//! Metrics that a stranger would like to multiply.

use std::collections::BTreeSet;

use crate::support::client::{Client, Request};
use crate::support::scrape::Scrape;
use crate::support::upstream::{Answer, Upstream};
use crate::support::world::{ALWAYS, World};

fn series(scrape: &Scrape) -> BTreeSet<String> {
    scrape.samples.iter().map(|sample| format!("{}{:?}", sample.name, sample.labels)).collect()
}

#[test]
fn ten_thousand_methods_paths_hosts_and_statuses_add_no_series() {
    // The application answers with whatever status the path asks for, known or not.
    let upstream = Upstream::start(|seen| {
        let status = seen.target().trim_start_matches('/').parse().unwrap_or(200);
        Answer::with(status, &[], "")
    });
    let world = World::with(upstream, |options| options.rules(ALWAYS).args(&["--trust", "none"]));
    let mut client = world.sidecar.client();
    for status in 200..=999 {
        client.try_send(&Request::new("BREW", &format!("/{status}"))).unwrap();
        client.try_send(&Request::get(&format!("/{status}"))).unwrap();
    }
    let memory = world.sidecar.process().memory();
    let before = series(&world.scrape());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let world = &world;
            scope.spawn(move || {
                let mut client = Client::connect(world.sidecar.listen);
                for n in 0..2_500 {
                    let status = 200 + (n + thread) % 800;
                    let request = Request::new(&format!("M{thread}X{n}"), &format!("/{status}"))
                        .header("Host", format!("h{n}.t{thread}.example"))
                        .header("User-Agent", format!("agent-{thread}-{n}"))
                        .header("X-Forwarded-For", format!("8.8.{thread}.{}", n % 256))
                        .trace(format!("Root=1-{n:08x}-{thread:024x};Sampled=1"));
                    if !matches!(status, 204 | 304) {
                        client.send(&request);
                    }
                }
            });
        }
    });
    let after = series(&world.scrape());
    let new: Vec<&String> = after.difference(&before).collect();
    assert!(new.is_empty(), "new series: {new:?}");
    assert!(after.len() <= 1000, "{} series", after.len());
    let grown = world.sidecar.process().memory().saturating_sub(memory);
    assert!(grown < 4 << 20, "{} KiB more", grown / 1024);
    eprintln!("{} series, as before; {} KiB more", after.len(), grown / 1024);
}
