//! From a knock at the door to a protocol.
//!
//! ```text
//!   accept, or handed over by `share` ─► too many? 503 ─► [TLS] ─► HTTP/1, ours, or HTTP/2, hyper's ─► carried
//!                                        ALPN, or the preface
//! ```

use super::answers;
use super::body::Watched;
use super::caught::Caught;
use super::connection::{Carried, ConnectionState, Opening, Phase, Progress};
use super::headers::Peer;
use super::heads::Head;
use super::received::{BrokenOff, Received, http2_cause};
use super::share::{Door, Knock};
use super::socket::Socket;
use super::stream::Stream;
use super::streams::Streams;
use super::{MAX_HEAD, Shared, Worker, request};
use crate::clock::Clock;
use crate::http1;
use crate::http1::server;
use crate::telemetry::{Handshake, Refusal, TlsSide};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{SockFilter, SockRef};
use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// What waits in the kernel until it can be sent to a client, in bytes. With megabytes of it, a client that takes little at a
/// time but never stops would seem to stand still.
const UNSENT: u32 = 128 * 1024;
/// Before accepting again when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Before looking again at a client that has sent less than it takes to tell its protocol.
const SNIFF_PAUSE: Duration = Duration::from_millis(10);

/// Requests at one time on one connection of HTTP/2.
const MAX_STREAMS: u32 = 100;
/// What a client may send ahead on one stream, and on the connection, in bytes.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What is kept of an answer that the client does not take, per stream.
const SEND_BUFFER: usize = 64 * 1024;
/// Resets of requests that nobody has looked at yet.
const MAX_PENDING_RESETS: usize = 50;
/// Between two pings to a client that has requests open, and how long it may take to answer one.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How long is taken for who is told that there is no room.
const FAREWELL: Duration = Duration::from_secs(1);
/// What HTTP/2 says in place of a 503: no settings, and no stream is looked at, for calm's sake.
const GOAWAY: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0b";
/// Said where there are too many connections.
const TOO_MANY: &str = "too many connections";

/// Both protocols, with the limits of design.
pub(super) struct Protocols {
    http1: server::Options<Socket, Watched>,
    http2: http2::Builder<Streams>,
}

impl Protocols {
    pub(super) fn new(shared: &Shared, clock: Clock, streams: &Streams) -> Protocols {
        let preserve_header_case = shared.preserve_header_case;
        let http1 = server::Options {
            preserve_header_case,
            clock,
            refusal: answers::illegible,
            begins: Socket::begins,
            cut: Socket::cut,
        };
        let mut http2 = http2::Builder::new(streams.clone());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(MAX_HEAD as u32)
            .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        Protocols { http1, http2 }
    }
}

/// Accepts, or takes what it is handed, for as long as it is polled.
pub(super) async fn accept(worker: &Rc<Worker>, door: &mut Open) {
    loop {
        match door {
            Open::Listener(listener) => {
                let (stream, address) = next(listener).await;
                admit(worker, stream, address);
            }
            Open::Handed(knocks, load) => match knocks.recv().await {
                Some(knock) => take_in(worker, knock, Some(load)),
                // Whoever accepts has ended; the stage that follows is what this waits for.
                None => return std::future::pending().await,
            },
        }
    }
}

/// Waits for the next client.
pub(super) async fn next(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // Out of descriptors, most likely: those in use go on, and a pause keeps us from spinning.
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Takes those that were let in before the door was closed.
pub(super) async fn accept_the_last(worker: &Rc<Worker>, door: Open) {
    match door {
        Open::Listener(listener) => {
            // The runtime may not have heard of what the kernel has; asking the kernel itself leaves no doubt.
            let Ok(listener) = listener.into_std() else { return };
            take_the_last(listener).for_each(|knock| take_in(worker, knock, None));
        }
        Open::Handed(mut knocks, load) => {
            while let Some(knock) = knocks.recv().await {
                take_in(worker, knock, Some(&load));
            }
        }
    }
}

/// A worker's door, open on its own runtime.
pub(super) enum Open {
    Listener(TcpListener),
    Handed(mpsc::Receiver<Knock>, Arc<AtomicUsize>),
}

impl TryFrom<Door> for Open {
    type Error = io::Error;

    fn try_from(door: Door) -> io::Result<Open> {
        Ok(match door {
            Door::Listener(listener) => Open::Listener(TcpListener::from_std(listener)?),
            Door::Handed(knocks, load) => Open::Handed(knocks, load),
        })
    }
}

/// Closes a listener without resetting anyone.
///
/// Closing alone would reset every connection that the kernel has completed and nobody has accepted yet. So the
/// socket first gets a filter that lets no packet through: no connection can be completed any more, and what is in the
/// queue is all there will be. A client that was just knocking knocks again and is then refused.
pub(super) fn take_the_last(listener: std::net::TcpListener) -> impl Iterator<Item = Knock> {
    /// "Return 0 bytes of the packet", in the classic filter language.
    const DROP_EVERYTHING: SockFilter = SockFilter::new(0x06, 0, 0, 0);
    let _ = SockRef::from(&listener).attach_filter(&[DROP_EVERYTHING]);
    std::iter::from_fn(move || listener.accept().ok())
}

fn take_in(worker: &Rc<Worker>, (stream, address): Knock, waited: Option<&AtomicUsize>) {
    if stream.set_nonblocking(true).is_ok()
        && let Ok(stream) = TcpStream::from_std(stream)
    {
        admit(worker, stream, address);
    }
    if let Some(load) = waited {
        // From here on it counts as one that the worker has.
        load.fetch_sub(1, Ordering::Relaxed);
    }
}

fn admit(worker: &Rc<Worker>, stream: TcpStream, address: SocketAddr) {
    let state = Arc::new(ConnectionState::new(worker.tick()));
    let registered = Registered::new(worker, &state);
    // Itself included.
    if worker.shared.connections.load(Ordering::Relaxed) > worker.shared.max_connections() {
        turn_away(worker, stream);
        return;
    }
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT);
    tokio::task::spawn_local(carry(registered, state, stream, address));
}

/// Agrees on a protocol and carries the connection to its end.
async fn carry(registered: Registered, state: Arc<ConnectionState>, stream: TcpStream, address: SocketAddr) {
    let worker = Rc::clone(&registered.worker);
    // Before the end, the kernel itself is asked: the runtime cannot have heard yet of what came with the client.
    let is_here = worker.shared.is_draining()
        && SockRef::from(&stream).peek(&mut [MaybeUninit::uninit(); 1]).is_ok_and(|n| n > 0);
    let has_come = Rc::new(Cell::new(is_here));
    let future = Box::pin(open(Rc::clone(&worker), stream, Rc::clone(&has_come)));
    let opening = Opening { future, has_come, finishes: false };
    let (stream, protocol) = match Carried::new(opening, Arc::clone(&state)).await {
        Some(Ok(opened)) => opened,
        Some(Err(_)) => return,
        None => {
            if worker.shared.tls.is_some() {
                worker.tally.handshake(TlsSide::Inbound, Handshake::TimedOut);
            }
            return;
        }
    };
    // The handshake had its time; the head has its own.
    state.enter(Phase::ReadingHead, worker.tick());
    let peer = Rc::new(Peer::new(address.ip(), stream.scheme()));
    let progress = Progress::new(Arc::clone(&state), Arc::clone(&worker.tick));
    let ended = match protocol {
        Protocol::Http1 => {
            let head = Head::new(Arc::clone(&worker.shared), Arc::clone(&worker.tally));
            let socket = Socket::http1(stream, progress.clone(), head);
            let serving = Rc::clone(&worker);
            let service = move |request: Request<server::Body<Socket>>| {
                let request = request.map(Received::Http1);
                let serve = || request::serve(&serving, &peer, progress.clone(), request);
                Caught::new(serve, Rc::clone(&serving))
            };
            let connection = server::Connection::new(socket, worker.protocols.http1, service);
            Carried::new(connection, state).await.map(|ended| ended.map_err(BrokenOff::Http1))
        }
        Protocol::Http2 => {
            // A client may connect long before it has a request.
            state.enter(Phase::Idle, worker.tick());
            let socket = Socket::http2(stream, progress.clone(), Arc::clone(&worker.tally));
            let serving = Rc::clone(&worker);
            let streams = Arc::new(AtomicU32::new(0));
            let service = service_fn(move |request: Request<Incoming>| {
                let request = request.map(Received::Http2);
                let progress = progress.of_stream(&streams);
                let serve = || request::serve(&serving, &peer, progress, request);
                Caught::new(serve, Rc::clone(&serving))
            });
            let connection = worker.protocols.http2.serve_connection(TokioIo::new(socket), service);
            Carried::new(connection, state).await.map(|ended| ended.map_err(BrokenOff::Http2))
        }
    };
    if let Some(Err(error)) = ended {
        count(&worker, &error);
    }
}

/// Counts a connection that was given up.
fn count(worker: &Worker, error: &BrokenOff) {
    match error {
        BrokenOff::Http1(http1::Error::TooLarge) => worker.tally.refused(Refusal::HeadSize),
        BrokenOff::Http1(http1::Error::Malformed(_)) => worker.tally.refused(Refusal::Malformed),
        BrokenOff::Http1(_) => {}
        BrokenOff::Http2(error) => {
            let Some(error) = http2_cause(error).filter(|error| error.is_library()) else { return };
            match error.reason() {
                Some(h2::Reason::ENHANCE_YOUR_CALM) => worker.tally.refused(Refusal::Flood),
                Some(_) => worker.tally.refused(Refusal::Malformed),
                None => {}
            }
        }
    }
}

enum Protocol {
    Http1,
    Http2,
}

async fn open(
    worker: Rc<Worker>,
    stream: TcpStream,
    has_come: Rc<Cell<bool>>,
) -> io::Result<(Stream, Protocol)> {
    let Some(tls) = &worker.shared.tls else {
        let protocol = sniff(&stream, &has_come).await?;
        return Ok((Stream::plain(stream), protocol));
    };
    stream.peek(&mut [0; 1]).await?;
    has_come.set(true);
    let accepted = TlsAcceptor::from(tls.config()).accept(stream).await;
    let result = if accepted.is_ok() { Handshake::Done } else { Handshake::Failed };
    worker.tally.handshake(TlsSide::Inbound, result);
    let stream = accepted?;
    let protocol = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Protocol::Http2,
        _ => Protocol::Http1,
    };
    Ok((Stream::tls(stream), protocol))
}

/// Tells the protocol by the first bytes, and leaves them where they are.
async fn sniff(stream: &TcpStream, has_come: &Cell<bool>) -> io::Result<Protocol> {
    // No method of HTTP/1 begins like this: the preface was chosen so.
    const PREFACE: &[u8; 4] = b"PRI ";
    let mut first = [0; PREFACE.len()];
    loop {
        let n = stream.peek(&mut first).await?;
        has_come.set(true);
        if n == 0 || first[..n] != PREFACE[..n] {
            return Ok(Protocol::Http1);
        }
        if n == PREFACE.len() {
            return Ok(Protocol::Http2);
        }
        // The socket is readable already, so there is nothing to wait for but time; the limit for heads ends it.
        sleep(SNIFF_PAUSE).await;
    }
}

/// A connection on the books, off them when its task ends, however it ends.
pub(super) struct Registered {
    pub(super) worker: Rc<Worker>,
    number: u64,
}

impl Registered {
    pub(super) fn new(worker: &Rc<Worker>, state: &Arc<ConnectionState>) -> Registered {
        let number = worker.next_connection.replace(worker.next_connection.get() + 1);
        worker.connections.borrow_mut().insert(number, Arc::clone(state));
        worker.tally.connections.add(1);
        worker.shared.connections.fetch_add(1, Ordering::Relaxed);
        worker.load.fetch_add(1, Ordering::Relaxed);
        Registered { worker: Rc::clone(worker), number }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.worker.connections.borrow_mut().remove(&self.number);
        self.worker.tally.connections.sub(1);
        self.worker.shared.connections.fetch_sub(1, Ordering::Relaxed);
        self.worker.load.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Says that there are too many connections: to a few at a time with patience, to the rest in passing, unless TLS is
/// spoken, which takes patience.
fn turn_away(worker: &Rc<Worker>, stream: TcpStream) {
    worker.tally.refused(Refusal::Connections);
    if worker.turned_away.get() >= worker.shared.max_refusals {
        if worker.shared.tls.is_none() {
            // The socket itself is asked: the runtime has not yet heard that it can be written to.
            let _ = SockRef::from(&stream).send(&answers::overloaded(TOO_MANY));
        }
        return;
    }
    worker.turned_away.set(worker.turned_away.get() + 1);
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        let _ = timeout(FAREWELL, async {
            let Ok((mut stream, protocol)) = open(Rc::clone(&worker), stream, Rc::default()).await else {
                return;
            };
            let farewell = match protocol {
                Protocol::Http1 => answers::overloaded(TOO_MANY),
                Protocol::Http2 => GOAWAY.to_vec(),
            };
            // Closing with bytes unread would reset the connection before the answer is read.
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(&farewell).await;
            let _ = stream.shutdown().await;
            while stream.read(&mut head).await.is_ok_and(|n| n > 0) {}
        })
        .await;
        worker.turned_away.set(worker.turned_away.get() - 1);
    });
}
