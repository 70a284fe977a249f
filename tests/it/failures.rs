//! When something fails: what the client gets, what the segment says, and what is never sent twice.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::segments::{application_part, check_fault_with_cause};
use crate::support::client::{Request, Response};
use crate::support::sidecar::{Options, Sidecar};
use crate::support::sink::Sink;
use crate::support::upstream::{Answer, Gate, Upstream};
use crate::support::world::{ALWAYS, World};
use crate::support::{eventually, vacant_address};

/// The sidecar's own answer: this status, this reason in `collimator-error`, one line of text naming the upstream.
#[track_caller]
fn check_own_answer(response: &Response, status: u16, reason: &str, upstream: SocketAddr) {
    let text = response.text();
    assert_eq!(response.status, status, "{text}");
    assert_eq!(response.header("collimator-error").as_deref(), Some(reason), "{text}");
    assert_eq!(text.trim_end().lines().count(), 1, "one line: {text:?}");
    assert!(text.contains(&upstream.to_string()), "names the upstream: {text}");
}

/// A sidecar before an address where no scripted application listens.
fn before(upstream: SocketAddr, connect_timeout: &str) -> (Sidecar, Sink) {
    let sink = Sink::start();
    let options = Options::run().rules(ALWAYS).upstream(upstream);
    let sidecar = options.args(&["--sink", &sink.url(), "--connect-timeout", connect_timeout]).start();
    (sidecar, sink)
}

/// The first request of a connection is answered; every later one meets this instead.
fn dying_after_the_first(then: Answer) -> World {
    World::scripted(move |seen| if seen.turn == 0 { Answer::ok() } else { then.clone() })
}

/// A dead upstream's request: answered 502, a fault with a cause, and no status where nobody answered.
#[track_caller]
pub(crate) fn check_refused_connection() {
    let nowhere = vacant_address();
    let (sidecar, sink) = before(nowhere, "200ms");
    let response = sidecar.send(&Request::get("/"));
    check_own_answer(&response, 502, "upstream-refused", nowhere);
    let document = sink.wait_for(1).swap_remove(0);
    check_fault_with_cause(&document);
    let part = application_part(&document);
    assert_eq!(part["fault"], true, "{document}");
    assert_eq!(part["http"]["response"].get("status"), None, "nobody gave a status: {document}");
    let errors = sidecar.scrape().sum("collimator_upstream_errors_total", &[("direction", "inbound")]);
    assert!(errors >= 1.0, "counted {errors} errors");
}

#[test]
fn a_refused_connection_is_a_502_that_says_so() {
    check_refused_connection();
}

#[test]
fn a_reset_before_the_answer_to_a_post_is_a_502_and_sent_once() {
    let world = World::scripted(|_| Answer::reset_at_once());
    let response = world.send(&Request::post("/pay", "money"));
    check_own_answer(&response, 502, "upstream-reset", world.upstream.address());
    check_fault_with_cause(&world.sink.wait_for(1)[0]);
    assert_eq!(world.upstream.n_seen(), 1);
}

#[test]
fn a_close_before_the_answer_is_a_502_and_a_fault() {
    let world = World::scripted(|_| Answer::close_at_once());
    let response = world.send(&Request::post("/pay", "money"));
    check_own_answer(&response, 502, "upstream-reset", world.upstream.address());
    check_fault_with_cause(&world.sink.wait_for(1)[0]);
}

#[test]
fn half_a_head_is_a_502_and_a_fault() {
    let world = World::scripted(|_| Answer::raw("HTTP/1.1 200 OK\r\nContent-Le").then_close());
    assert_eq!(world.send(&Request::post("/", "x")).status, 502);
    check_fault_with_cause(&world.sink.wait_for(1)[0]);
}

#[test]
fn an_answer_that_is_no_http_is_a_502_and_a_fault() {
    let world = World::scripted(|_| Answer::raw("SSH-2.0-OpenSSH_9.6\r\n\r\n").then_close());
    assert_eq!(world.send(&Request::get("/")).status, 502);
    check_fault_with_cause(&world.sink.wait_for(1)[0]);
}

#[test]
fn a_switch_of_protocols_that_nobody_asked_for_is_a_502() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let world = World::scripted(move |_| Answer::raw(switch));
    let response = world.send(&Request::get("/"));
    assert_eq!(
        (response.status, response.header("collimator-error").as_deref()),
        (502, Some("upstream-protocol"))
    );
    check_fault_with_cause(&world.sink.wait_for(1)[0]);
}

/// The application says this much of an answer and then resets: the client must see a broken connection.
#[track_caller]
fn check_broken_off(said: &'static str) {
    let gate = Gate::default();
    let held = gate.clone();
    let world = World::scripted(move |_| Answer::raw(said).then_after(&held, "").then_reset());
    let mut client = world.sidecar.client();
    client.say(&Request::get("/").to_bytes()).unwrap();
    let (status, head) = client.read_head().unwrap();
    assert_eq!(status, 200);
    gate.open();
    let body = client.read_body("GET", status, &head);
    assert!(body.is_err(), "after {said:?} this looked complete: {body:?}");
    check_fault_with_cause(&world.sink.wait_for(1)[0]);
}

#[test]
fn an_answer_that_is_reset_never_looks_complete() {
    check_broken_off("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    check_broken_off("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    check_broken_off("HTTP/1.1 200 OK\r\n\r\nhalf");
}

/// A listener whose queue of connections is full: the kernel lets further ones wait. The streams fill it.
fn full_listener() -> Option<(TcpListener, Vec<TcpStream>)> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(1).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    let mut streams = Vec::new();
    while streams.len() < 64 {
        match TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            Ok(stream) => streams.push(stream),
            Err(_) => return Some((listener, streams)),
        }
    }
    None
}

#[test]
fn a_connection_that_takes_too_long_is_a_504() {
    let Some((listener, _streams)) = full_listener() else {
        eprintln!("this kernel's listen queue cannot be filled; nothing was tested");
        return;
    };
    let upstream = listener.local_addr().unwrap();
    let (sidecar, sink) = before(upstream, "300ms");
    let start = Instant::now();
    let response = sidecar.send(&Request::get("/"));
    check_own_answer(&response, 504, "upstream-timeout", upstream);
    assert!(start.elapsed() >= Duration::from_millis(250), "only {:?} were waited", start.elapsed());
    check_fault_with_cause(&sink.wait_for(1)[0]);
}

#[test]
fn a_crowd_waits_no_longer_for_a_connection_than_one_does() {
    const N_CLIENTS: u32 = 40;
    const LIMIT: Duration = Duration::from_millis(300);
    let Some((listener, _streams)) = full_listener() else {
        eprintln!("this kernel's listen queue cannot be filled; nothing was tested");
        return;
    };
    let upstream = listener.local_addr().unwrap();
    let target = format!("h2c://{upstream}");
    let options =
        Options::run().args(&["--sink", "none", "--upstream", &target, "--connect-timeout", "300ms"]);
    let sidecar = options.start();
    let start = Instant::now();
    let mut clients: Vec<_> = (0..N_CLIENTS).map(|_| sidecar.client()).collect();
    for client in &mut clients {
        client.say(&Request::get("/").to_bytes()).unwrap();
    }
    for mut client in clients {
        check_own_answer(&client.read("GET").unwrap(), 504, "upstream-timeout", upstream);
    }
    let took = start.elapsed();
    assert!(took < LIMIT * N_CLIENTS / 4, "they waited for one another: {took:?}");
}

#[test]
fn a_request_waits_for_an_application_that_comes_up_in_time() {
    let address = vacant_address();
    let (sidecar, sink) = before(address, "10s");
    let mut client = sidecar.client();
    client.say(&Request::get("/early").to_bytes()).unwrap();
    sidecar.scrape_until("the request is under way", |scrape| {
        scrape.sum("collimator_requests_in_flight", &[("direction", "inbound")]) >= 1.0
    });
    let upstream = Upstream::start_on(address, |_| Answer::ok());
    assert_eq!(client.read("GET").unwrap().status, 200);
    assert_eq!(upstream.last().target(), "/early");
    assert_ne!(sink.wait_for(1)[0]["fault"], true);
}

#[test]
fn an_application_that_went_away_is_a_502_at_once_and_a_200_when_it_is_back() {
    let sink = Sink::start();
    let upstream = Upstream::plain();
    let address = upstream.address();
    let options = Options::run().rules(ALWAYS).upstream(address);
    let sidecar = options.args(&["--sink", &sink.url(), "--connect-timeout", "10s"]).start();
    assert_eq!(sidecar.send(&Request::get("/")).status, 200);
    drop(upstream);
    let start = Instant::now();
    assert_eq!(sidecar.send(&Request::post("/", "x")).status, 502);
    assert!(start.elapsed() < Duration::from_secs(5), "a known application is not waited for");
    let _back = Upstream::start_on(address, |_| Answer::ok());
    eventually("the application is reached again", || sidecar.send(&Request::get("/")).status == 200);
}

#[test]
fn a_get_that_meets_a_dead_pooled_connection_is_sent_once_more() {
    for then in [Answer::close_at_once(), Answer::reset_at_once()] {
        let world = dying_after_the_first(then);
        let mut client = world.sidecar.client();
        assert_eq!(client.send(&Request::get("/first")).status, 200);
        assert_eq!(client.send(&Request::get("/second")).status, 200);
        let targets: Vec<String> = world.upstream.seen().iter().map(|seen| seen.target()).collect();
        assert_eq!(targets, ["/first", "/second", "/second"]);
        assert_eq!(world.upstream.last().turn, 0, "the second try has a connection of its own");
        assert_eq!(world.scrape().sum("collimator_upstream_retries_total", &[("direction", "inbound")]), 1.0);
        assert!(world.sink.wait_for(2).iter().all(|document| document.get("fault").is_none()));
    }
}

#[test]
fn what_is_sent_once_more_is_the_same_to_the_letter() {
    let heavy = "v".repeat(60_000);
    let requests = [
        Request::get("/q?a=b").header("X-Odd-CASE", "1").header("x-odd-case", "2").header("Accept", "*/*"),
        Request::new("HEAD", "/head").header("X-Mine", ""),
        Request::get("/heavy").header("X-Heavy", &heavy),
    ];
    for request in requests {
        let world = dying_after_the_first(Answer::reset_at_once());
        let mut client = world.sidecar.client();
        assert_eq!(client.send(&Request::get("/first")).status, 200);
        assert_eq!(client.send(&request).status, 200);
        let seen = world.upstream.seen();
        let [_, lost, again] = &seen[..] else { panic!("{} requests", seen.len()) };
        assert_eq!(String::from_utf8_lossy(&lost.head), String::from_utf8_lossy(&again.head));
        assert_eq!(client.send(&Request::get("/next")).status, 200, "and the connection goes on");
    }
}

#[test]
fn an_answer_that_has_begun_is_not_asked_for_again() {
    for begun in ["HTTP/1.1 200 OK\r\nContent-", "nonsense\r\n\r\n"] {
        let world = dying_after_the_first(Answer::raw(begun).then_close());
        let mut client = world.sidecar.client();
        assert_eq!(client.send(&Request::get("/first")).status, 200);
        assert_eq!(client.send(&Request::get("/second")).status, 502);
        assert_eq!(world.upstream.n_seen(), 2, "{begun:?}");
    }
}

#[test]
fn a_get_is_sent_again_only_once() {
    let world = World::scripted(|seen| match (seen.connection, seen.turn) {
        (0, 0) => Answer::ok(),
        _ => Answer::close_at_once(),
    });
    let mut client = world.sidecar.client();
    assert_eq!(client.send(&Request::get("/first")).status, 200);
    assert_eq!(client.send(&Request::get("/second")).status, 502);
    assert_eq!(world.upstream.n_seen(), 3);
}

#[test]
fn a_get_that_dies_on_a_fresh_connection_is_not_sent_again() {
    let world = World::scripted(|_| Answer::close_at_once());
    assert_eq!(world.send(&Request::get("/")).status, 502);
    assert_eq!(world.upstream.n_seen(), 1);
}

#[test]
fn what_is_not_idempotent_or_has_a_body_is_never_sent_twice() {
    let requests = [
        Request::post("/pay", "money"),
        Request::post("/pay", ""),
        Request::new("PATCH", "/pay"),
        Request::new("POST", "/pay").header("Content-Length", "0"),
    ];
    for request in requests {
        let world = dying_after_the_first(Answer::close_at_once());
        let mut client = world.sidecar.client();
        assert_eq!(client.send(&Request::get("/first")).status, 200);
        assert_eq!(client.send(&request).status, 502, "{request:?}");
        assert_eq!(world.upstream.n_seen(), 2, "{request:?} was sent twice");
    }
}

#[test]
fn a_get_survives_a_keep_alive_connection_that_was_closed_while_idle() {
    let world = World::scripted(|_| Answer::ok().then_close());
    let mut client = world.sidecar.client();
    for _ in 0..20 {
        assert_eq!(client.send(&Request::get("/")).status, 200);
    }
}

#[test]
fn a_failure_of_one_request_leaves_its_connection_to_the_client_usable() {
    let world = World::scripted(|seen| match seen.target().as_str() {
        "/bad" => Answer::close_at_once(),
        _ => Answer::ok(),
    });
    let mut client = world.sidecar.client();
    for _ in 0..3 {
        assert_eq!(client.send(&Request::get("/bad")).status, 502);
        assert_eq!(client.send(&Request::get("/good")).status, 200);
    }
}

#[test]
fn a_silent_application_holds_up_no_other_request() {
    let gate = Gate::default();
    let held = gate.clone();
    let world = World::scripted(move |seen| match seen.target().as_str() {
        "/slow" => Answer::ok().held_by(&held),
        _ => Answer::ok(),
    });
    let mut slow = world.sidecar.client();
    slow.say(&Request::get("/slow").to_bytes()).unwrap();
    world.upstream.wait_for(1);
    world.burst(20, &Request::get("/fast"));
    gate.open();
    assert_eq!(slow.read("GET").unwrap().status, 200);
}

#[test]
fn a_client_that_leaves_lets_go_of_the_application() {
    let gate = Gate::default();
    let held = gate.clone();
    let world = World::scripted(move |_| Answer::ok().held_by(&held));
    let mut client = world.sidecar.client();
    client.say(&Request::get("/").to_bytes()).unwrap();
    world.upstream.wait_for(1);
    drop(client);
    world.sidecar.scrape_until("nothing is in flight", |scrape| {
        scrape.sum("collimator_requests_in_flight", &[("direction", "inbound")]) == 0.0
    });
    gate.open();
}
