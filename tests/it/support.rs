//! What every test needs: an application, a sink, a sidecar, a client, and a way to wait.

pub(crate) mod certificates;
pub(crate) mod client;
pub(crate) mod h2c;
pub(crate) mod load;
pub(crate) mod process;
pub(crate) mod scrape;
pub(crate) mod secure;
pub(crate) mod sidecar;
pub(crate) mod sink;
pub(crate) mod trace;
pub(crate) mod upstream;
pub(crate) mod world;

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

/// How long an event may take before a test gives up; generous, because the machine is shared and waiting is
/// only paid when something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Polls a condition until it holds or the time is over; says whether it held.
pub(crate) fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Fails the test unless the condition comes true in time.
#[track_caller]
pub(crate) fn eventually(what: &str, condition: impl FnMut() -> bool) {
    assert!(wait_until(PATIENCE, condition), "waited {PATIENCE:?} in vain until {what}");
}

/// An address on which nobody listens.
pub(crate) fn vacant_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A connection of a client that takes little at a time: of what comes, the kernel holds next to nothing.
pub(crate) fn narrow(address: SocketAddr) -> TcpStream {
    let socket = narrow_socket();
    socket.connect(&address.into()).unwrap();
    socket.into()
}

/// A socket before it is one of a client or a listener; what a listener accepts is as narrow.
pub(crate) fn narrow_socket() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket
}

/// Reads up to the end of a head, and no further.
pub(crate) fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// An application written out by hand: what it does on each connection, once a head has come on it.
pub(crate) fn by_hand(serve: impl Fn(&str, TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, serve) = (stream.unwrap(), Arc::clone(&serve));
            std::thread::spawn(move || serve(&read_head(&mut stream), stream));
        }
    });
    address
}

/// The most places that a per-second reservoir may have given in a span of this length: the span touches at
/// most its whole seconds plus one window at either end.
pub(crate) fn most_in(elapsed: Duration, per_second: u64) -> u64 {
    per_second * (elapsed.as_secs() + 2)
}

/// Raises a flag when the test fails, so that threads that wait for it end and the failure is shown.
pub(crate) struct RaiseOnPanic<'a>(pub(crate) &'a AtomicBool);

impl Drop for RaiseOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
