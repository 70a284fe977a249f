//! An application that takes a request and says nothing: 504 when the limit is over, if there is one, and nobody else waits.

use std::io::{Read, Write};
use std::net::{TcpListener as StdListener, TcpStream as StdStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response as HttpResponse;

use crate::segments::check_fault_with_cause;
use crate::support::client::{Request, Response};
use crate::support::h2c;
use crate::support::sidecar::{Options, Sidecar};
use crate::support::sink::Sink;
use crate::support::upstream::{Answer, Gate, Upstream};
use crate::support::world::ALWAYS;
use crate::support::{PATIENCE, eventually};

const LIMIT: Duration = Duration::from_secs(1);

/// What an application has seen: target and body of each request, once it had the whole of it.
type Taken = Arc<Mutex<Vec<(String, usize)>>>;

/// An application that never answers what begins with `/silent`, and everything else at once.
struct Mute {
    url: String,
    taken: Taken,
    /// Why streams of HTTP/2 were reset under it.
    resets: Arc<Mutex<Vec<h2::Reason>>>,
    connections: Arc<Mutex<usize>>,
    http1: Option<(Upstream, Release)>,
}

/// Lets go of what a gate holds.
struct Release(Gate);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.open();
    }
}

impl Mute {
    fn http1() -> Mute {
        let (taken, connections) = (Taken::default(), Arc::<Mutex<usize>>::default());
        let gate = Gate::default();
        let (to, held, last) = (Arc::clone(&taken), gate.clone(), Arc::clone(&connections));
        let upstream = Upstream::start(move |seen| {
            to.lock().unwrap().push((seen.target(), seen.body.len()));
            *last.lock().unwrap() = seen.connection + 1;
            if seen.target().starts_with("/silent") { Answer::ok().held_by(&held) } else { Answer::ok() }
        });
        let url = format!("http://{}", upstream.address());
        Mute { url, taken, resets: Arc::default(), connections, http1: Some((upstream, Release(gate))) }
    }

    fn h2c() -> Mute {
        let (taken, resets) = (Taken::default(), Arc::<Mutex<Vec<h2::Reason>>>::default());
        let connections = Arc::<Mutex<usize>>::default();
        let (all_taken, all_resets, opened) =
            (Arc::clone(&taken), Arc::clone(&resets), Arc::clone(&connections));
        let address = h2c::start(
            move |request, respond| take(request, respond, Arc::clone(&all_taken), Arc::clone(&all_resets)),
            move || *opened.lock().unwrap() += 1,
        );
        Mute { url: format!("h2c://{address}"), taken, resets, connections, http1: None }
    }

    /// How many requests for this target came, and with how much of a body.
    fn taken(&self, target: &str) -> Vec<usize> {
        self.taken.lock().unwrap().iter().filter(|(it, _)| it == target).map(|(_, length)| *length).collect()
    }
}

fn before(url: &str, settings: &[&str]) -> (Sidecar, Sink) {
    let sink = Sink::start();
    let options = Options::run().rules(ALWAYS).args(&["--upstream", url, "--sink", &sink.url()]);
    (options.args(settings).start(), sink)
}

async fn take(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    taken: Taken,
    resets: Arc<Mutex<Vec<h2::Reason>>>,
) {
    let target = request.uri().path().to_owned();
    let (mut body, mut length) = (request.into_body(), 0);
    while let Some(data) = body.data().await {
        let Ok(data) = data else { return };
        length += data.len();
        let _ = body.flow_control().release_capacity(data.len());
    }
    taken.lock().unwrap().push((target.clone(), length));
    if !target.starts_with("/silent") {
        let mut stream = respond.send_response(HttpResponse::new(()), false).unwrap();
        let _ = stream.send_data(Bytes::from_static(b"ok"), true);
    } else if let Ok(reason) = std::future::poll_fn(|cx| respond.poll_reset(cx)).await {
        resets.lock().unwrap().push(reason);
    }
}

/// The sidecar's own 504, which names the upstream, the limit and the setting; given within 10 % of the limit, or what
/// a busy machine adds.
#[track_caller]
fn check_504(mute: &Mute, response: &Response, took: Duration) {
    let text = response.text();
    assert_eq!(response.status, 504, "{text}");
    assert_eq!(response.header("collimator-error").as_deref(), Some("upstream-timeout"));
    assert_eq!(
        text,
        format!("upstream {} took too long: no answer within 1s (setting `response_timeout`)\n", mute.url)
    );
    assert!(took >= LIMIT * 9 / 10 && took <= LIMIT * 13 / 10, "the limit of {LIMIT:?} took {took:?}");
    eprintln!("504 after {took:?}");
}

#[track_caller]
fn check_counted(sidecar: &Sidecar, sink: &Sink, n_requests: usize, n_timeouts: usize) {
    let scrape = sidecar.scrape();
    let labels = [("direction", "inbound"), ("reason", "timeout")];
    assert_eq!(scrape.sum("collimator_upstream_errors_total", &labels), n_timeouts as f64);
    assert_eq!(scrape.sum("collimator_upstream_retries_total", &[]), 0.0, "sent again");
    let documents = sink.wait_for(n_requests);
    let faults: Vec<_> = documents.iter().filter(|document| document["fault"] == true).collect();
    assert_eq!(faults.len(), n_timeouts);
    faults.iter().for_each(|document| {
        check_fault_with_cause(document);
        assert_eq!(document["http"]["response"]["status"], 504, "{document}");
    });
}

#[track_caller]
fn check_silence(mute: &Mute) {
    let (sidecar, sink) = before(&mute.url, &["--response-timeout", "1s"]);
    let mut client = sidecar.client();
    // The connection that the silent request finds in the pool: a dead one would be reason to send it again.
    assert_eq!(client.send(&Request::get("/first")).status, 200);
    let start = Instant::now();
    client.say(&Request::get("/silent").to_bytes()).unwrap();
    eventually("the request has arrived", || !mute.taken("/silent").is_empty());
    let mut others = sidecar.client();
    for _ in 0..20 {
        assert_eq!(others.send(&Request::get("/fast")).status, 200);
    }
    assert!(start.elapsed() < LIMIT / 2, "the others took {:?}", start.elapsed());
    let response = client.read("GET").unwrap();
    check_504(mute, &response, start.elapsed());
    assert_eq!(client.send(&Request::get("/after")).status, 200, "the client's connection is good");
    // With a body the time begins when the application has it all.
    let mut bytes = Request::post("/silent/post", "money").to_bytes();
    let rest = bytes.split_off(bytes.len() - 3);
    client.say(&bytes).unwrap();
    std::thread::sleep(LIMIT * 3 / 2);
    let start = Instant::now();
    client.say(&rest).unwrap();
    let response = client.read("POST").unwrap();
    check_504(mute, &response, start.elapsed());
    assert_eq!((mute.taken("/silent"), mute.taken("/silent/post")), (vec![0], vec![5]), "sent once each");
    check_counted(&sidecar, &sink, 24, 2);
}

#[test]
fn a_silent_application_of_http_1_is_a_504_at_the_limit_and_its_connection_is_left() {
    let mute = Mute::http1();
    check_silence(&mute);
    let (upstream, _) = mute.http1.as_ref().unwrap();
    let seen = upstream.seen();
    for silent in seen.iter().filter(|seen| seen.target().starts_with("/silent")) {
        let last = seen.iter().rfind(|seen| seen.connection == silent.connection).unwrap();
        assert_eq!(last.target(), silent.target(), "nothing followed on its connection");
    }
}

#[test]
fn a_silent_application_of_http_2_is_a_504_at_the_limit_and_its_stream_is_reset() {
    let mute = Mute::h2c();
    check_silence(&mute);
    eventually("both streams are reset", || mute.resets.lock().unwrap().len() == 2);
    assert_eq!(*mute.resets.lock().unwrap(), [h2::Reason::CANCEL; 2]);
    assert_eq!(*mute.connections.lock().unwrap(), 1, "the connection serves on");
}

/// An upload that takes three times the limit, with one pause that is longer than it.
#[track_caller]
fn check_slow_upload(mute: &Mute, expects: bool) {
    let (sidecar, sink) = before(&mute.url, &["--response-timeout", "300ms"]);
    let mut client = sidecar.client();
    let mut head = Request::new("POST", "/slow").header("Content-Length", "6");
    if expects {
        head = head.header("Expect", "100-continue");
    }
    client.say(&head.to_bytes()).unwrap();
    for pause in [100, 100, 100, 100, 100, 400] {
        std::thread::sleep(Duration::from_millis(pause));
        client.say(b"x").unwrap();
    }
    let response = client.read("POST").unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(mute.taken("/slow"), [6]);
    check_counted(&sidecar, &sink, 1, 0);
}

#[test]
fn a_slow_upload_is_not_held_against_the_application() {
    check_slow_upload(&Mute::http1(), false);
    check_slow_upload(&Mute::h2c(), false);
}

#[test]
fn the_wait_for_a_100_is_not_held_against_an_application_that_knows_none() {
    check_slow_upload(&Mute::http1(), true);
}

#[test]
fn an_application_that_takes_no_more_of_a_body_is_silent_too() {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sidecar, sink) = before(&url, &["--response-timeout", "1s"]);
    let mut stream = StdStream::connect(sidecar.listen).unwrap();
    stream.write_all(b"POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n").unwrap();
    let (_held, _) = listener.accept().unwrap();
    // As much as the buffers of four sockets take, and then no more.
    let (start, mut last) = (Instant::now(), Instant::now());
    let (chunk, mut sent) = (vec![b'x'; 1 << 16], 0);
    stream.set_nonblocking(true).unwrap();
    while last.elapsed() < LIMIT / 2 {
        match stream.write(&chunk) {
            Ok(n) => (sent, last) = (sent + n, Instant::now()),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    assert!(sent < 100 << 20, "{sent} bytes were taken");
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut answer, mut bytes) = (Vec::new(), [0; 1024]);
    while !answer.ends_with(b"`)\n") {
        let n = stream.read(&mut bytes).unwrap();
        assert!(n > 0, "cut: {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&bytes[..n]);
    }
    let head = String::from_utf8_lossy(&answer);
    assert!(
        head.starts_with("HTTP/1.1 504 ") && head.contains("collimator-error: upstream-timeout"),
        "{head}"
    );
    // What the sidecar could hand on, it handed on between these two.
    assert!(start.elapsed() >= LIMIT * 9 / 10 && last.elapsed() <= LIMIT * 13 / 10, "{:?}", start.elapsed());
    check_counted(&sidecar, &sink, 1, 1);
}

#[test]
fn without_a_limit_a_silent_application_is_waited_for() {
    let mute = Mute::http1();
    let (sidecar, sink) = before(&mute.url, &[]);
    let mut client = sidecar.client();
    client.say(&Request::get("/silent").to_bytes()).unwrap();
    eventually("the request has arrived", || !mute.taken("/silent").is_empty());
    std::thread::sleep(LIMIT * 3 / 2);
    mute.http1.as_ref().unwrap().1.0.open();
    assert_eq!(client.read("GET").unwrap().status, 200);
    check_counted(&sidecar, &sink, 1, 0);
}

#[test]
#[ignore = "waits for half a minute; `.ci/run` asks for it"]
fn who_stops_within_a_body_is_told_whatever_the_application_speaks() {
    for mute in [Mute::http1(), Mute::h2c()] {
        let (sidecar, sink) = before(&mute.url, &[]);
        let mut stream = StdStream::connect(sidecar.listen).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        stream.write_all(b"POST /half HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf").unwrap();
        let mut answer = [0; 512];
        let n = stream.read(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer[..n]);
        assert!(answer.starts_with("HTTP/1.1 408 "), "{}: {answer}", mute.url);
        assert_eq!(sink.wait_for(1)[0]["http"]["response"]["status"], 408);
    }
}
