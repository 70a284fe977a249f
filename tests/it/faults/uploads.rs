//! Answers that come while the request's body is still on its way.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::support::client::{Client, Request};
use crate::support::sidecar::{Options, Sidecar};
use crate::support::world::NEVER;
use crate::support::{PATIENCE, by_hand, eventually, read_head};

/// Far more than the kernels on the way hold.
const BODY: usize = 20 << 20;
const PIECE: &[u8] = &[7; 65_536];

fn sidecar(upstream: std::net::SocketAddr) -> Sidecar {
    Options::run().rules(NEVER).upstream(upstream).args(&["--sink", "none"]).start()
}

fn connect(sidecar: &Sidecar) -> TcpStream {
    let client = TcpStream::connect(sidecar.listen).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    client
}

/// Reads so many bytes of a body.
fn read_body(stream: &mut TcpStream) -> usize {
    let copied = std::io::copy(&mut stream.take(BODY as u64), &mut std::io::sink());
    copied.unwrap_or_default() as usize
}

fn post(target: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {BODY}\r\n\r\n")
}

#[test]
fn a_body_goes_on_after_an_answer_that_is_complete_and_the_connection_after_both() {
    let (sender, bodies) = mpsc::channel();
    let app = by_hand(move |_, mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        let _ = sender.send(read_body(&mut stream));
    });
    let sidecar = sidecar(app);
    let mut client = connect(&sidecar);
    for n in 0..3 {
        client.write_all(post(&format!("/{n}")).as_bytes()).unwrap();
        let head = read_head(&mut client);
        assert!(head.starts_with("HTTP/1.1 200 ") && !head.contains("connection: close"), "{head}");
        let mut answer = [0; 2];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"ok");
        // The whole answer is here, and nothing of the body has been sent.
        for _ in 0..BODY / PIECE.len() {
            client.write_all(PIECE).unwrap();
        }
        assert_eq!(bodies.recv_timeout(PATIENCE), Ok(BODY), "request {n}");
    }
    eventually("nothing is left of them", || {
        sidecar.scrape().sum("collimator_requests_in_flight", &[]) == 0.0
    });
}

/// An application that answers with as much as it is sent, at the same time. The second counts what it was sent.
fn talking_both_ways() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let read = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&read);
    let app = by_hand(move |_, mut stream| {
        let mut answering = stream.try_clone().unwrap();
        let answer = std::thread::spawn(move || {
            write!(answering, "HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n").unwrap();
            for _ in 0..BODY / PIECE.len() {
                answering.write_all(PIECE).unwrap();
            }
        });
        let mut bytes = vec![0; PIECE.len()];
        while seen.load(Ordering::Relaxed) < BODY {
            seen.fetch_add(stream.read(&mut bytes).unwrap(), Ordering::Relaxed);
        }
        answer.join().unwrap();
    });
    (app, read)
}

fn send(client: &mut TcpStream, n: usize) {
    for _ in 0..n / PIECE.len() {
        client.write_all(PIECE).unwrap();
    }
}

#[test]
fn a_body_goes_on_while_its_sender_does_not_look_at_the_answer() {
    let (app, read) = talking_both_ways();
    let sidecar = sidecar(app);
    let mut client = connect(&sidecar);
    client.write_all(post("/").as_bytes()).unwrap();
    send(&mut client, BODY);
    eventually("the application has it all", || read.load(Ordering::Relaxed) == BODY);
    let head = read_head(&mut client);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(read_body(&mut client), BODY);
}

#[test]
fn an_answer_that_had_to_wait_goes_on_while_the_body_is_still_on_its_way() {
    let (app, read) = talking_both_ways();
    let sidecar = sidecar(app);
    let mut client = connect(&sidecar);
    client.write_all(post("/").as_bytes()).unwrap();
    send(&mut client, BODY / 2);
    eventually("the application has half of it", || read.load(Ordering::Relaxed) == BODY / 2);
    // By now the answer waits for its reader, and the body for its sender.
    read_head(&mut client);
    assert_eq!(read_body(&mut client), BODY);
    send(&mut client, BODY / 2);
    eventually("the application has it all", || read.load(Ordering::Relaxed) == BODY);
}

/// An application that begins to answer at once, and answers with what it is sent; and how many requests it had.
fn echo() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&asked);
    let app = by_hand(move |head, mut stream| {
        let mut head = head.to_lowercase();
        loop {
            let length = head.split("content-length: ").nth(1).unwrap();
            let mut left: usize = length.lines().next().unwrap().parse().unwrap();
            seen.fetch_add(1, Ordering::Relaxed);
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
            let mut bytes = [0; 4096];
            while left > 0 {
                let room = left.min(bytes.len());
                let n = stream.read(&mut bytes[..room]).unwrap();
                if n == 0 {
                    return;
                }
                left -= n;
                let chunk = [format!("{n:x}\r\n").as_bytes(), &bytes[..n], b"\r\n"].concat();
                stream.write_all(&chunk).unwrap();
            }
            stream.write_all(b"0\r\n\r\n").unwrap();
            if !matches!(stream.peek(&mut bytes), Ok(1..)) {
                return;
            }
            head = read_head(&mut stream).to_lowercase();
        }
    });
    (app, asked)
}

#[test]
fn answers_that_begin_early_stay_with_their_requests() {
    const CLIENTS: usize = 8;
    const EACH: usize = 60;
    let (app, asked) = echo();
    let sidecar = sidecar(app);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let mut stream = Client::connect(sidecar.listen);
            scope.spawn(move || {
                for n in 0..EACH {
                    // Some go with their head, some after it, some in pieces that are not copied.
                    let length = [3, 900, 9_000, 70_000, 300_000][(client + n) % 5];
                    let body = format!("<{client}-{n}>").repeat(length / 5 + 1);
                    let head =
                        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
                    let (first, rest) = body.split_at(if n % 2 == 0 { 0 } else { body.len() / 3 });
                    stream.say(&[head.as_bytes(), first.as_bytes()].concat()).unwrap();
                    std::thread::sleep(std::time::Duration::from_millis(n as u64 % 3));
                    stream.say(rest.as_bytes()).unwrap();
                    let answer = stream.read("POST").unwrap();
                    assert_eq!(answer.status, 200);
                    assert!(answer.body == body.as_bytes(), "the answer to {client}-{n} is another's");
                }
            });
        }
    });
    assert_eq!(asked.load(Ordering::Relaxed), CLIENTS * EACH, "each is asked once");
}

#[test]
fn a_body_that_turns_out_to_be_none_ends_the_answer_that_has_begun() {
    let (sender, ended) = mpsc::channel();
    let app = by_hand(move |_, mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf").unwrap();
        let _ = sender.send(read_body(&mut stream));
    });
    let sidecar = sidecar(app);
    let mut client = connect(&sidecar);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.write_all(head.as_bytes()).unwrap();
    read_head(&mut client);
    client.write_all(b"4\r\nhalf\r\nno number\r\n").unwrap();
    // Nobody waits for the other half of either.
    assert!(ended.recv_timeout(PATIENCE).unwrap() < 20);
    assert_eq!(read_body(&mut client), 4);
    eventually("nothing is left of it", || sidecar.scrape().sum("collimator_connections", &[]) == 0.0);
}

#[test]
fn a_client_that_leaves_takes_its_body_with_it() {
    let (sender, ended) = mpsc::channel();
    let app = by_hand(move |_, mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        let _ = sender.send(read_body(&mut stream));
    });
    let sidecar = sidecar(app);
    let mut client = connect(&sidecar);
    client.write_all(post("/").as_bytes()).unwrap();
    read_head(&mut client);
    client.write_all(PIECE).unwrap();
    drop(client);
    // Half a body, and the end of its connection.
    assert!(ended.recv_timeout(PATIENCE).unwrap() <= PIECE.len());
    eventually("nothing is left of it", || sidecar.scrape().sum("collimator_connections", &[]) == 0.0);
}

/// Answers without reading the body, and closes.
fn turning_away() -> std::net::SocketAddr {
    by_hand(|head, mut stream| {
        let is_body = head.starts_with("POST");
        let keeps = if is_body { "close" } else { "keep-alive" };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: {keeps}\r\n\r\n");
        let _ = stream.write_all(answer.as_bytes());
    })
}

#[test]
#[ignore = "waits for more than half a minute; `.ci/run` asks for it"]
fn a_connection_may_be_idle_for_a_minute_whatever_came_before() {
    const LENGTH: usize = 200_000;
    let sidecar = sidecar(turning_away());
    let mut passed_over = connect(&sidecar);
    let said = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n");
    passed_over.write_all(&[said.as_bytes(), &PIECE.repeat(4)[..LENGTH]].concat()).unwrap();
    let mut empty_line = connect(&sidecar);
    empty_line.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    // As old clients do: right behind the body.
    let mut with_the_body = connect(&sidecar);
    with_the_body.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi\r\n").unwrap();
    for client in [&mut passed_over, &mut empty_line, &mut with_the_body] {
        let head = read_head(client);
        assert!(head.starts_with("HTTP/1.1 200 ") && !head.contains("connection: close"), "{head}");
    }
    empty_line.write_all(b"\r\n").unwrap();
    std::thread::sleep(Duration::from_secs(40));
    for client in [&mut passed_over, &mut empty_line, &mut with_the_body] {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let head = read_head(client);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    }
    assert_eq!(sidecar.scrape().sum("collimator_connections_refused_total", &[]), 0.0);
}

#[test]
fn an_answer_of_two_framings_goes_on_with_one_and_its_connection_is_not_used_again() {
    let app = by_hand(|head, mut stream| {
        let framing = if head.starts_with("GET /0 ") {
            "Content-Length: 5\r\nTransfer-Encoding: chunked"
        } else {
            "Transfer-Encoding: chunked\r\nContent-Length: 5"
        };
        write!(stream, "HTTP/1.1 200 OK\r\n{framing}\r\n\r\n2\r\nok\r\n0\r\n\r\n").unwrap();
        // It stays open: whoever asks next asks on another.
        let _ = stream.read(&mut [0; 1]);
    });
    let sidecar = sidecar(app);
    let mut client = Client::connect(sidecar.listen);
    for n in 0..4 {
        let answer = client.send(&Request::get(&format!("/{}", n % 2)));
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
        assert_eq!((answer.header("content-length"), answer.values("transfer-encoding").len()), (None, 1));
    }
}
