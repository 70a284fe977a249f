//! Where documents go: several sinks at once, dead ones, returning ones, and accounts that always balance.

use serde_json::Value;

use crate::support::client::Request;
use crate::support::scrape::{Scrape, SinkTotals};
use crate::support::sidecar::{Exit, Options, Sidecar, log_field, log_lines};
use crate::support::sink::Sink;
use crate::support::upstream::{Answer, Upstream};
use crate::support::world::{ALWAYS, World};
use crate::support::{eventually, vacant_address};

/// Waits until everything offered to this sink has left its queue, and checks the accounts.
#[track_caller]
fn settled(sidecar: &Sidecar, sink: &str, n_offered: f64) -> SinkTotals {
    let scrape = sidecar.scrape_until("the queue is empty", |scrape: &Scrape| {
        let totals = scrape.sink(sink);
        totals.offered >= n_offered && totals.queued == 0.0
    });
    let totals = scrape.sink(sink);
    totals.check();
    assert_eq!(totals.offered, n_offered);
    totals
}

/// The totals that the log names for a sink after the stop.
#[track_caller]
fn last_words(exit: &Exit, sink: &str) -> SinkTotals {
    let lines = log_lines(&exit.stderr);
    let names = |line: &&Value| {
        let name = log_field(line, "sink").and_then(Value::as_str);
        name.is_some_and(|name| name.starts_with(sink)) && log_field(line, "offered").is_some()
    };
    let line = lines.iter().rev().find(names);
    let line = line.unwrap_or_else(|| panic!("no totals of {sink} in\n{}", exit.stderr));
    let number = |key: &str| log_field(line, key).and_then(Value::as_f64).unwrap_or(0.0);
    let totals = SinkTotals {
        offered: number("offered"),
        emitted: number("emitted"),
        dropped: number("dropped"),
        rejected: number("rejected"),
        queued: number("queued"),
    };
    totals.check();
    totals
}

fn ids(documents: &[Value]) -> Vec<&str> {
    documents.iter().map(|document| document["id"].as_str().unwrap()).collect()
}

#[test]
fn several_sinks_get_the_same_documents() {
    let other = Sink::start();
    let mut world = World::start(|options| {
        options.rules(ALWAYS).args(&["--sink", &other.url(), "--sink", "stdout", "--sink", "store"])
    });
    world.burst(30, &Request::get("/"));
    let exit = world.sidecar.stop();
    exit.check(0);
    let first: Vec<Value> = world.sink.settle().iter().map(|datagram| datagram.document()).collect();
    let second: Vec<Value> = other.settle().iter().map(|datagram| datagram.document()).collect();
    let lines = exit.stdout.lines().map(|line| serde_json::from_str(line).expect("a line is a document"));
    let third: Vec<Value> = lines.collect();
    assert_eq!(first.len(), 30);
    assert_eq!(ids(&first), ids(&second));
    assert_eq!(ids(&first), ids(&third));
    for sink in ["udp", "stdout", "store"] {
        assert!(last_words(&exit, sink).emitted >= 30.0, "{}", exit.stderr);
    }
}

#[test]
fn documents_on_stdout_are_lines_while_the_sidecar_runs() {
    let upstream = Upstream::plain();
    let sidecar =
        Options::run().rules(ALWAYS).upstream(upstream.address()).args(&["--sink", "stdout"]).start();
    sidecar.send(&Request::get("/"));
    eventually("a line is printed", || sidecar.printed().ends_with('\n'));
    let document: Value = serde_json::from_str(sidecar.printed().trim_end()).unwrap();
    assert_eq!(document["http"]["response"]["status"], 200);
}

#[test]
fn the_store_takes_every_document_and_stays_bounded() {
    let upstream = Upstream::plain();
    let sidecar =
        Options::run().rules(ALWAYS).upstream(upstream.address()).args(&["--sink", "store"]).start();
    let mut client = sidecar.client();
    for _ in 0..100 {
        assert_eq!(client.send(&Request::get("/")).status, 200);
    }
    let totals = settled(&sidecar, "store", 100.0);
    assert_eq!(totals.emitted, 100.0);
}

#[test]
fn the_store_is_the_sink_when_none_is_named() {
    let upstream = Upstream::plain();
    let sidecar = Options::run().rules(ALWAYS).upstream(upstream.address()).start();
    sidecar.send(&Request::get("/"));
    settled(&sidecar, "store", 1.0);
}

#[test]
fn without_sinks_requests_pass_and_the_accounts_balance() {
    let upstream = Upstream::plain();
    let mut sidecar =
        Options::run().rules(ALWAYS).upstream(upstream.address()).args(&["--sink", "none"]).start();
    for _ in 0..10 {
        assert_eq!(sidecar.send(&Request::get("/")).status, 200);
    }
    let exit = sidecar.stop();
    exit.check(0);
    assert_eq!(exit.stdout, "");
}

#[test]
fn the_daemon_s_variable_adds_its_sink_to_the_store() {
    for form in ["ADDRESS", "tcp:127.0.0.1:9 udp:ADDRESS", "udp:ADDRESS tcp:127.0.0.1:9"] {
        let daemon = Sink::start();
        let upstream = Upstream::plain();
        let address = form.replace("ADDRESS", &daemon.address().to_string());
        let options = Options::run().rules(ALWAYS).env("AWS_XRAY_DAEMON_ADDRESS", &address);
        let sidecar = options.upstream(upstream.address()).start();
        sidecar.send(&Request::get("/"));
        daemon.wait_for(1);
        settled(&sidecar, "store", 1.0);
    }
}

#[test]
fn a_named_sink_overrules_the_daemon_s_variable() {
    let daemon = Sink::start();
    let address = daemon.address().to_string();
    let mut world = World::start(|options| options.rules(ALWAYS).env("AWS_XRAY_DAEMON_ADDRESS", &address));
    world.record(&Request::get("/"));
    world.stop();
    assert!(daemon.settle().is_empty());
}

#[test]
fn a_dead_sink_fails_no_request_and_its_losses_are_counted() {
    let nowhere = vacant_address();
    let upstream = Upstream::plain();
    let options = Options::run().rules(ALWAYS).upstream(upstream.address());
    let mut sidecar = options.args(&["--sink", &format!("udp://{nowhere}"), "--sink", "store"]).start();
    let mut client = sidecar.client();
    for _ in 0..300 {
        assert_eq!(client.send(&Request::get("/")).status, 200);
    }
    let dead = settled(&sidecar, "udp", 300.0);
    assert!(dead.dropped + dead.rejected > 0.0, "a refused datagram is not an emitted one: {dead:?}");
    let alive = settled(&sidecar, "store", 300.0);
    assert_eq!(alive.emitted, 300.0, "one dead sink takes nothing from another");
    let exit = sidecar.stop();
    exit.check(0);
    assert_eq!(last_words(&exit, "udp").offered, 300.0);
    let told = log_lines(&exit.stderr)
        .into_iter()
        .filter(|line| line.to_string().contains("segments are lost"))
        .count();
    assert_eq!(told, 1, "one line about the sink, however many segments: {}", exit.stderr);
}

#[test]
fn a_sink_that_comes_back_is_used_again() {
    let address = vacant_address();
    let upstream = Upstream::plain();
    let options = Options::run().rules(ALWAYS).upstream(upstream.address());
    let sidecar = options.args(&["--sink", &format!("udp://{address}")]).start();
    for _ in 0..20 {
        assert_eq!(sidecar.send(&Request::get("/")).status, 200);
    }
    let sink = Sink::start_on(address);
    eventually("a document arrives", || {
        sidecar.send(&Request::get("/"));
        sink.len() > 0
    });
    sink.documents();
}

#[test]
fn a_sink_whose_name_cannot_be_resolved_stops_nothing() {
    let upstream = Upstream::plain();
    let options = Options::run().rules(ALWAYS).upstream(upstream.address());
    let mut sidecar = options.args(&["--sink", "udp://no-such-host.invalid:2000"]).start();
    for _ in 0..10 {
        assert_eq!(sidecar.send(&Request::get("/")).status, 200);
    }
    let exit = sidecar.stop();
    exit.check(0);
    assert_eq!(last_words(&exit, "udp").offered, 10.0);
}

#[test]
fn the_accounts_balance_at_any_moment_under_load() {
    let world = World::ruled(ALWAYS);
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..4).map(|_| scope.spawn(|| world.burst(300, &Request::get("/")))).collect();
        while !senders.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            world.scrape().sink("udp").check();
        }
    });
    let totals = settled(&world.sidecar, "udp", 1200.0);
    assert_eq!(totals.rejected, 0.0);
}

#[test]
fn every_offered_document_arrives_before_the_sidecar_ends() {
    let mut world = World::ruled(ALWAYS);
    world.burst(200, &Request::get("/"));
    let exit = world.sidecar.stop();
    exit.check(0);
    let totals = last_words(&exit, "udp");
    assert_eq!((totals.offered, totals.queued), (200.0, 0.0));
    assert_eq!(world.sink.settle().len() as f64, totals.emitted);
}

/// A request whose document could outgrow a datagram: answered, and what is sent fits.
#[track_caller]
pub(crate) fn check_oversize_document_fits_or_is_counted() {
    let mut world = World::with(Upstream::start(|_| Answer::ok()), |options| options.rules(ALWAYS));
    // Quotation marks double in JSON: a head under the limit becomes a document over it.
    let large = Request::get(&format!("/{}", "p".repeat(30_000)));
    let large = large.header("User-Agent", "\"".repeat(25_000));
    assert_eq!(world.send(&large).status, 200);
    world.record(&Request::get("/small"));
    settled(&world.sidecar, "udp", 2.0);
    for datagram in world.stop() {
        assert!(datagram.0.len() <= 65_507, "{} bytes", datagram.0.len());
        datagram.document();
    }
}

#[test]
fn a_document_too_large_for_a_datagram_is_trimmed_or_counted() {
    check_oversize_document_fits_or_is_counted();
}
