//! An application that dies, comes back, hangs up while idle, or breaks off.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::segments::check_fault_with_cause;
use crate::support::client::{Request, values_of};
use crate::support::load::{Asked, Load, check_answered};
use crate::support::sidecar::{Options, Sidecar};
use crate::support::sink::{Datagram, Sink};
use crate::support::upstream::{Answer, Gate, Seen, Upstream};
use crate::support::world::{ALWAYS, NEVER, World};
use crate::support::{PATIENCE, by_hand, eventually};

/// How often each request arrived, by its target.
type Arrivals = Arc<Mutex<HashMap<String, usize>>>;

/// Every other request a POST, each with a target of its own.
fn numbered(client: usize, n: usize) -> Request {
    let target = format!("/{client}/{n}");
    if n.is_multiple_of(2) { Request::get(&target) } else { Request::post(&format!("/pay{target}"), "money") }
}

#[track_caller]
fn check_no_post_came_twice(arrivals: &Arrivals) {
    let arrivals = arrivals.lock().unwrap();
    let twice: Vec<_> = arrivals.iter().filter(|(target, n)| target.starts_with("/pay") && **n > 1).collect();
    assert!(arrivals.len() > 100 && twice.is_empty(), "of {} requests twice: {twice:?}", arrivals.len());
}

#[test]
fn an_application_killed_and_restarted_under_load_loses_nothing_and_gets_no_post_twice() {
    const AWAY: Duration = Duration::from_secs(1);
    let (sink, arrivals) = (Sink::start(), Arrivals::default());
    let script = |arrivals: &Arrivals| {
        let arrivals = Arc::clone(arrivals);
        move |seen: &Seen| {
            *arrivals.lock().unwrap().entry(seen.target()).or_default() += 1;
            Answer::ok()
        }
    };
    let upstream = Upstream::start(script(&arrivals));
    let address = upstream.address();
    let mut sidecar = Options::run().rules(ALWAYS).upstream(address).args(&["--sink", &sink.url()]).start();
    let load =
        Load { address: sidecar.listen, n_clients: 8, pause: Duration::from_millis(10), request: &numbered };
    let (asked, (_back, returned)) = load.during(|answers| {
        eventually("the load runs", || answers.load(Ordering::Relaxed) > 200);
        drop(upstream);
        std::thread::sleep(AWAY);
        let back = Upstream::start_on(address, script(&arrivals));
        let returned = Instant::now();
        eventually("the load goes on", || returned.elapsed() > Duration::from_millis(1500));
        (back, returned)
    });
    check_answered(&asked, &[200, 502, 503]);
    let slowest = asked.iter().map(|asked| asked.took).max().unwrap();
    assert!(slowest < Duration::from_secs(1), "an answer took {slowest:?}");
    let late: Vec<&Asked> = asked
        .iter()
        .filter(|asked| asked.started > returned + Duration::from_secs(1) && asked.status != Some(200))
        .collect();
    assert!(late.is_empty(), "a second after its return: {late:?}");
    check_no_post_came_twice(&arrivals);

    let failures = asked.iter().filter(|asked| asked.status != Some(200)).count();
    assert!(failures > 20, "only {failures} requests met the fault");
    sidecar.stop().check(0);
    let documents: Vec<_> = sink.settle().iter().map(Datagram::document).collect();
    assert_eq!(documents.len(), asked.len(), "a document for each request");
    let faults: Vec<_> = documents.iter().filter(|document| document["fault"] == true).collect();
    assert_eq!(faults.len(), failures, "a fault for each failure");
    faults.iter().for_each(|document| check_fault_with_cause(document));
    eprintln!("{} requests, {failures} of them 502 while the application was away, 0 lost", asked.len());
}

/// An application that hangs up on idle connections whenever it likes: a random while after an answer, so that its
/// goodbye and the next request cross on the way. The first request of a connection is always answered.
struct Hasty {
    address: SocketAddr,
    arrivals: Arrivals,
    stopping: Arc<AtomicBool>,
}

impl Hasty {
    fn start() -> Hasty {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (arrivals, stopping) = (Arrivals::default(), Arc::new(AtomicBool::new(false)));
        let (to, stop) = (Arc::clone(&arrivals), Arc::clone(&stopping));
        std::thread::spawn(move || {
            let dice = Arc::new(AtomicU64::new(1));
            while let Ok((stream, _)) = listener.accept() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (arrivals, dice) = (Arc::clone(&to), Arc::clone(&dice));
                std::thread::spawn(move || Hasty::serve(stream, &arrivals, &dice));
            }
        });
        Hasty { address, arrivals, stopping }
    }

    fn serve(mut stream: TcpStream, arrivals: &Arrivals, dice: &AtomicU64) {
        let mut bytes = Vec::new();
        stream.set_nodelay(true).unwrap();
        loop {
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk) {
                Ok(n @ 1..) => bytes.extend_from_slice(&chunk[..n]),
                // Its patience is over, or the other side's.
                _ => return,
            }
            let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let length =
                values_of(&bytes[..end], "content-length").first().map_or(0, |value| value.parse().unwrap());
            if bytes.len() < end + 4 + length {
                continue;
            }
            let target = String::from_utf8_lossy(&bytes).split(' ').nth(1).unwrap().to_owned();
            *arrivals.lock().unwrap().entry(target).or_default() += 1;
            bytes.clear();
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                return;
            }
            let draw = dice.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed) >> 33;
            stream.set_read_timeout(Some(Duration::from_micros(100 + draw % 2_000))).unwrap();
        }
    }
}

impl Drop for Hasty {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
    }
}

/// Two seconds of load on a hasty application. Gives what was asked, what arrived, and how often we sent again.
fn with_hasty(request: &(dyn Fn(usize, usize) -> Request + Sync)) -> (Vec<Asked>, Arrivals, f64) {
    let hasty = Hasty::start();
    let sidecar: Sidecar =
        Options::run().rules(NEVER).upstream(hasty.address).args(&["--sink", "none"]).start();
    let load = Load { address: sidecar.listen, n_clients: 8, pause: Duration::from_millis(1), request };
    let start = Instant::now();
    let (asked, ()) =
        load.during(|_| eventually("the load ran", || start.elapsed() > Duration::from_secs(2)));
    let retries = sidecar.scrape().sum("collimator_upstream_retries_total", &[]);
    (asked, Arc::clone(&hasty.arrivals), retries)
}

#[test]
fn idle_connections_closed_at_any_moment_fail_no_idempotent_request() {
    let (asked, _, retries) = with_hasty(&|client, n| Request::get(&format!("/{client}/{n}")));
    check_answered(&asked, &[200]);
    assert!(retries > 0.0, "the race never happened: nothing was tested");
    eprintln!("{} requests, {retries} sent again, 0 lost", asked.len());
}

#[test]
fn idle_connections_closed_at_any_moment_bring_no_post_twice() {
    let (asked, arrivals, _) = with_hasty(&numbered);
    check_answered(&asked, &[200, 502]);
    check_no_post_came_twice(&arrivals);
    let failed = asked.iter().filter(|asked| asked.status == Some(502)).count();
    eprintln!("{} requests, half of them POST, {failed} of these 502", asked.len());
}

/// The application says this much of an answer and then closes without a reset.
#[track_caller]
fn check_closed_early(said: &'static str) {
    let gate = Gate::default();
    let held = gate.clone();
    let world = World::scripted(move |_| Answer::raw(said).then_after(&held, "").then_close());
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
fn an_answer_that_ends_too_early_never_looks_complete() {
    check_closed_early("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    check_closed_early("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    check_closed_early("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf");
    check_closed_early("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n");
}

#[test]
fn an_answer_whose_end_is_its_connections_is_reset_when_it_ends_too_early() {
    // HTTP/1.0 knows no chunks, so to its clients the end of the connection is all the end there is.
    let breaking = by_hand(|_, mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").unwrap();
    });
    let sidecar = Options::run().rules(NEVER).upstream(breaking).args(&["--sink", "none"]).start();
    let mut client = TcpStream::connect(sidecar.listen).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n").unwrap();
    let error = client.read_to_string(&mut String::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_client_that_sends_all_of_its_body_before_it_looks_finds_an_early_answer() {
    // Far more than the kernels on the way hold.
    const BODY: usize = 20 << 20;
    let refusing = by_hand(|_, mut stream| {
        let answer = "HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbig\n";
        stream.write_all(answer.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        // Closing with bytes unread would reset the connection before the answer is read.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    // And one that the sidecar itself refuses.
    for (target, expected) in [("/", "HTTP/1.1 413 "), ("*", "HTTP/1.1 400 ")] {
        let sidecar = Options::run().rules(NEVER).upstream(refusing).args(&["--sink", "none"]).start();
        for _ in 0..5 {
            let mut client = TcpStream::connect(sidecar.listen).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            // Where the application takes it all the same, the connection would go on.
            let head = format!(
                "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {BODY}\r\nConnection: close\r\n\r\n"
            );
            client.write_all(head.as_bytes()).unwrap();
            for _ in 0..BODY / 65_536 {
                client.write_all(&[7; 65_536]).unwrap();
            }
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with(expected), "{answer}");
        }
        eventually("nothing is left open", || sidecar.scrape().sum("collimator_connections", &[]) == 0.0);
        let refused =
            |reason| sidecar.scrape().sum("collimator_connections_refused_total", &[("reason", reason)]);
        assert_eq!(refused("stalled") + refused("slow_head"), 0.0, "it was answered");
    }
}
