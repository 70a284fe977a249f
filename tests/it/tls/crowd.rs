//! Many requests at once to an application behind TLS that takes its time.

use std::io::Write;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use super::before;
use crate::support::certificates::Authority;
use crate::support::client::Request;
use crate::support::read_head;
use crate::support::secure::{SecureUpstream, accept};

#[test]
fn nobody_waits_for_the_handshake_of_another_where_connections_are_not_shared() {
    const N_CLIENTS: usize = 30;
    const HANDSHAKE: Duration = Duration::from_millis(200);
    let authority = Authority::new("Root");
    let pair = authority.issue(&["localhost"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = SecureUpstream { port: listener.local_addr().unwrap().port() };
    // It speaks no HTTP/2, which is known after the first handshake.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, pair) = (stream.unwrap(), pair.clone());
            thread::spawn(move || {
                thread::sleep(HANDSHAKE);
                let mut stream = accept(stream, &pair);
                read_head(&mut stream);
                thread::sleep(HANDSHAKE);
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .unwrap();
            });
        }
    });
    let sidecar = before(&upstream, &authority.pem(), |_| Vec::new());
    let mut clients: Vec<_> = (0..N_CLIENTS).map(|_| sidecar.client()).collect();
    for client in &mut clients {
        client.say(&Request::get("/").to_bytes()).unwrap();
    }
    for (n, mut client) in clients.into_iter().enumerate() {
        assert_eq!(client.read("GET").unwrap().status, 200, "client {n}");
    }
}
