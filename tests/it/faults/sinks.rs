//! Sinks and logs that are gone, full, or take nothing: traffic never notices, and the accounts still balance.

use std::time::Duration;

use crate::support::client::Request;
use crate::support::load::{Load, check_answered};
use crate::support::scrape::SinkTotals;
use crate::support::sidecar::{Options, Sidecar, log_lines};
use crate::support::upstream::Upstream;
use crate::support::vacant_address;
use crate::support::world::ALWAYS;

/// Sends so many requests, all recorded; none may fail. Gives the sink's totals once the lane has seen to them, or has
/// nothing more to see to.
#[track_caller]
fn send_all(
    sidecar: &Sidecar,
    n_requests: usize,
    sink: &str,
    queued: std::ops::RangeInclusive<f64>,
) -> SinkTotals {
    let load = Load {
        address: sidecar.listen,
        n_clients: 4,
        pause: Duration::ZERO,
        request: &|_, n| Request::get(&format!("/{n}")),
    };
    let (asked, ()) = load.during(|answers| {
        crate::support::eventually("all are sent", || {
            answers.load(std::sync::atomic::Ordering::Relaxed) >= n_requests
        });
    });
    check_answered(&asked, &[200]);
    let scrape = sidecar.scrape_until("the queue rests", |scrape| {
        let totals = scrape.sink(sink);
        totals.offered == asked.len() as f64 && queued.contains(&totals.queued)
    });
    let totals = scrape.sink(sink);
    totals.check();
    totals
}

#[test]
fn of_an_absent_sink_every_segment_is_counted_as_dropped() {
    let upstream = Upstream::plain();
    let options = Options::run().rules(ALWAYS).upstream(upstream.address());
    let sidecar = options.args(&["--sink", &format!("udp://{}", vacant_address())]).start();
    let totals = send_all(&sidecar, 1000, "udp", 0.0..=0.0);
    assert_eq!((totals.emitted, totals.dropped), (0.0, totals.offered), "none was delivered");
}

#[test]
fn a_sink_that_takes_nothing_costs_a_bounded_queue_and_no_request() {
    let upstream = Upstream::plain();
    // A pipe with its reading end open and nobody reading it: it fills, and then every write waits for ever.
    let pipe = "mkfifo full && exec \"$0\" \"$@\" 1<>full";
    let options = Options::run().rules(ALWAYS).upstream(upstream.address()).through(pipe);
    let mut sidecar = options.args(&["--sink", "stdout"]).start();
    let before = sidecar.process().memory();
    let first = send_all(&sidecar, 6_000, "stdout", 1.0..=5_000.0);
    assert!(first.dropped > 0.0 && first.queued > 0.0, "the pipe took everything: {first:?}");
    let full = sidecar.process().memory();
    // What waits in the queue costs something, but only once.
    let second = send_all_again(&sidecar, 3_000, &first);
    let after = sidecar.process().memory();
    assert_eq!(second.emitted, first.emitted, "nobody read");
    assert!(full < before + (24 << 20), "a full queue took {} KiB", (full - before) / 1024);
    assert!(after < full + (2 << 20), "it grew from {} to {} KiB", full / 1024, after / 1024);
    sidecar.stop().check(0);
    eprintln!("a full queue of {} took {} KiB", second.queued, full.saturating_sub(before) / 1024);
}

#[track_caller]
fn send_all_again(sidecar: &Sidecar, n_requests: usize, before: &SinkTotals) -> SinkTotals {
    let mut client = sidecar.client();
    for _ in 0..n_requests {
        assert_eq!(client.send(&Request::get("/")).status, 200);
    }
    let wanted = before.offered + n_requests as f64;
    let scrape = sidecar.scrape_until("all are offered", |scrape| scrape.sink("stdout").offered == wanted);
    let totals = scrape.sink("stdout");
    totals.check();
    totals
}

#[test]
fn a_full_disk_under_log_and_sink_fails_no_request() {
    let upstream = Upstream::plain();
    let full = "exec \"$0\" \"$@\" >/dev/full 2>/dev/full";
    let options = Options::run().rules(ALWAYS).upstream(upstream.address()).through(full);
    let mut sidecar = options.args(&["--sink", "stdout", "--access-log", "all"]).start();
    let totals = send_all(&sidecar, 1_000, "stdout", 0.0..=0.0);
    assert_eq!((totals.emitted, totals.dropped), (0.0, totals.offered), "none was written");
    sidecar.stop().check(0);
}

#[test]
fn a_full_disk_under_the_sink_is_told_once() {
    let upstream = Upstream::plain();
    let options =
        Options::run().rules(ALWAYS).upstream(upstream.address()).through("exec \"$0\" \"$@\" >/dev/full");
    let mut sidecar = options.args(&["--sink", "stdout"]).start();
    send_all(&sidecar, 1_000, "stdout", 0.0..=0.0);
    let exit = sidecar.stop();
    exit.check(0);
    let lines = log_lines(&exit.stderr);
    let told = lines.iter().filter(|line| line.to_string().contains("segments are lost")).count();
    assert_eq!(told, 1, "{}", exit.stderr);
}

#[test]
fn a_log_that_nobody_reads_holds_up_no_request() {
    let upstream = Upstream::plain();
    let pipe = "mkfifo full && exec \"$0\" \"$@\" 2<>full";
    let options = Options::run().rules(ALWAYS).upstream(upstream.address()).through(pipe);
    let sidecar = options.args(&["--sink", "none", "--access-log", "all"]).start();
    // 64 KiB of pipe are some 200 lines; the queue behind it takes 8,192 and is then lossy.
    send_all(&sidecar, 10_000, "none", 0.0..=0.0);
}
