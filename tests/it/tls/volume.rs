//! More than a socket takes at once. TLS takes it all the same, and what it holds is still to be sent.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use super::{before, world_before};
use crate::support::certificates::Authority;
use crate::support::client::Request;
use crate::support::secure::{SecureClient, SecureUpstream, accept, trusting};
use crate::support::upstream::{Answer, Upstream};
use crate::support::{PATIENCE, narrow, narrow_socket, read_head};

/// Taken at one time, in bytes, and what lies between two: less than whoever sends has to give.
const PACE: usize = 128 << 10;
const PAUSE: Duration = Duration::from_millis(5);

/// The length of the next answer's body.
fn read_length(stream: &mut impl Read) -> usize {
    let head = read_head(stream).to_ascii_lowercase();
    let (_, length) = head.split_once("content-length: ").expect("an answer begins here");
    length.lines().next().unwrap().parse().unwrap()
}

/// Bytes that are told apart wherever they come from.
fn pattern(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8 ^ seed as u8).collect()
}

#[test]
fn who_takes_little_at_a_time_gets_every_answer_to_its_end() {
    const LENGTHS: [usize; 6] = [2 << 20, 700_001, 130_000, 10, 48 << 20, 300_000];
    let authority = Authority::new("Root");
    let upstream = Upstream::start(|seen| {
        let at: usize = seen.target()[1..].parse().unwrap();
        Answer::with(200, &[], pattern(LENGTHS[at], at))
    });
    let world = world_before(upstream, &authority, &authority.issue(&["localhost"]), &[]);
    let mut client =
        SecureClient::over(narrow(world.sidecar.listen), &trusting(&authority.pem(), None, &[])).unwrap();
    let asked: Vec<u8> =
        (0..LENGTHS.len()).flat_map(|at| Request::get(&format!("/{at}")).to_bytes()).collect();
    client.stream().write_all(&asked).unwrap();
    let before = world.sidecar.process().memory();
    let mut most = 0;
    for (at, length) in LENGTHS.into_iter().enumerate() {
        assert_eq!(read_length(client.stream()), length, "answer {at}");
        let mut body = vec![0; length];
        for piece in body.chunks_mut(PACE) {
            client.stream().read_exact(piece).unwrap();
            thread::sleep(PAUSE);
            most = most.max(world.sidecar.process().memory());
        }
        assert!(body == pattern(length, at), "answer {at}");
    }
    assert!(most < before + (4 << 20), "from {} to {} KiB", before / 1024, most / 1024);
}

#[test]
fn an_application_that_takes_little_at_a_time_gets_every_body_to_its_end() {
    const N_BODIES: usize = 3;
    let authority = Authority::new("Root");
    let pair = authority.issue(&["localhost"]);
    let socket = narrow_socket();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(8).unwrap();
    let listener = TcpListener::from(socket);
    let upstream = SecureUpstream { port: listener.local_addr().unwrap().port() };
    let application = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut stream = accept(stream, &pair);
        for at in 0..N_BODIES {
            let length = read_length(&mut stream);
            let mut body = vec![0; length];
            for piece in body.chunks_mut(PACE) {
                stream.read_exact(piece).unwrap();
                thread::sleep(PAUSE);
            }
            assert!(body == pattern(length, at), "body {at}");
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
    });
    let sidecar = before(&upstream, &authority.pem(), |_| Vec::new());
    let mut client = sidecar.client();
    for at in 0..N_BODIES {
        let body = pattern((N_BODIES - at) << 22, at);
        assert_eq!(client.send(&Request::post("/", &body)).status, 200, "body {at}");
    }
    application.join().unwrap();
}
