//! Accepts, limits connections, drains on shutdown.
//!
//! ```text
//!   listener ─► accept ─► Carried(hyper connection) ─► request::serve ─► application
//!      │           │           │
//!      │           │           └ state: swept once a second, told to finish or cut
//!      │           └ too many: 503 and close
//!      └ closed after the drain delay
//! ```
//!
//! Workers are threads with a single-threaded runtime each; they share what [`Shared`] holds and nothing else. A
//! worker's connections, pool and dice are its own, so the path of a request takes no lock.

mod access;
mod body;
mod caught;
mod connection;
mod exchange;
mod headers;
mod heads;
mod request;
mod upstream;

use crate::clock::{Clock, Dice};
use crate::config::Target;
use crate::emit::Emitter;
use crate::sampling::RuleSet;
use crate::sampling::trust::Trust;
use crate::segment::Identity;
use crate::telemetry::WorkerTally;
pub use access::AccessLog;
use arc_swap::{ArcSwap, Cache};
use caught::Caught;
use connection::{Carried, ConnectionState, Progress, Socket, Tick};
use headers::Peer;
use heads::Head;
pub use heads::HeadBudget;
use http::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::{SockFilter, SockRef};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use upstream::Pool;

/// The longest request head, in bytes; beyond it the answer is 431.
const MAX_HEAD: usize = 64 * 1024;
/// The most headers a request may have; beyond it the answer is 431.
const MAX_HEADERS: usize = 200;
/// One tick of the sweep.
const TICK: Duration = Duration::from_secs(1);
/// Before accepting again when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    /// Where the application listens.
    pub upstream: Target,
    /// The same as a `Host`.
    pub upstream_authority: HeaderValue,
    /// How long connecting to it may take.
    pub connect_timeout: Duration,
    /// HTTP/1 header names go on as they came.
    pub preserve_header_case: bool,
    /// `X-Amzn-Trace-Id` on every response.
    pub response_header: bool,
    /// Which requests get a line in the log; one for all workers, so that its limit is one too.
    pub access: AccessLog,
    /// How many connections there may be, in all workers together.
    pub max_connections: usize,
    /// How many a worker may be telling at one time that there are too many.
    pub max_refusals: usize,
    /// What heads have taken of the memory that is theirs.
    pub heads: HeadBudget,
    /// Who the sidecar is.
    pub identity: Arc<ArcSwap<Identity>>,
    /// The rules in force.
    pub rules: Arc<ArcSwap<RuleSet>>,
    /// Rules beside them that only count.
    pub candidate: Option<Arc<ArcSwap<RuleSet>>>,
    /// Whose decisions count.
    pub trust: Trust,
    /// Where segments go.
    pub emitter: Emitter,
    /// Connections that are open now.
    pub connections: AtomicUsize,
    /// Answers say `Connection: close`.
    pub draining: AtomicBool,
}

impl Shared {
    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// How far the stop has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Accepting.
    #[default]
    Serving,
    /// No longer accepting; idle connections close, the others finish.
    Finishing,
    /// What is left is cut.
    Cutting,
}

/// What was last swapped in, seen without a lock.
type Latest<T> = Cache<Arc<ArcSwap<T>>, Arc<T>>;

/// One worker's own things.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    tally: Arc<WorkerTally>,
    clock: Clock,
    dice: RefCell<Dice>,
    rules: RefCell<Latest<RuleSet>>,
    candidate: Option<RefCell<Latest<RuleSet>>>,
    identity: RefCell<Latest<Identity>>,
    pool: Pool,
    tick: Arc<AtomicU32>,
    connections: RefCell<HashMap<u64, Arc<ConnectionState>>>,
    next_connection: Cell<u64>,
    turned_away: Cell<usize>,
}

impl Worker {
    fn tick(&self) -> Tick {
        self.tick.load(Ordering::Relaxed)
    }
}

/// Runs one worker until its connections have ended after the stop. Must be called within a local runtime.
pub async fn run(
    shared: Arc<Shared>,
    tally: Arc<WorkerTally>,
    clock: Clock,
    dice: Dice,
    listener: TcpListener,
    mut stage: watch::Receiver<Stage>,
) {
    let pool = Pool::new(shared.upstream.clone(), shared.connect_timeout, shared.preserve_header_case);
    let worker = Rc::new(Worker {
        tally,
        clock,
        dice: RefCell::new(dice),
        rules: RefCell::new(Cache::new(Arc::clone(&shared.rules))),
        candidate: shared.candidate.as_ref().map(|rules| RefCell::new(Cache::new(Arc::clone(rules)))),
        identity: RefCell::new(Cache::new(Arc::clone(&shared.identity))),
        pool,
        tick: Arc::new(AtomicU32::new(0)),
        connections: RefCell::default(),
        next_connection: Cell::new(0),
        turned_away: Cell::new(0),
        shared,
    });
    let sweeper = tokio::task::spawn_local(sweep(Rc::clone(&worker)));
    let server = server(&worker.shared);
    tokio::select! {
        () = accept(&worker, &server, &listener) => {}
        _ = stage.wait_for(|stage| *stage >= Stage::Finishing) => {}
    }
    accept_the_last(&worker, &server, listener);
    worker.connections.borrow().values().for_each(|state| state.finish());
    tokio::select! {
        () = all_ended(&worker) => {}
        _ = stage.wait_for(|stage| *stage >= Stage::Cutting) => {
            worker.connections.borrow().values().for_each(|state| state.cut());
            // One more turn, in which their tasks end and their hops close.
            let _ = timeout(TICK, all_ended(&worker)).await;
        }
    }
    sweeper.abort();
}

async fn all_ended(worker: &Worker) {
    while !worker.connections.borrow().is_empty() {
        sleep(Duration::from_millis(5)).await;
    }
}

/// Moves the tick and keeps the limits that are counted in ticks.
async fn sweep(worker: Rc<Worker>) {
    loop {
        sleep(TICK).await;
        let now = worker.tick.fetch_add(1, Ordering::Relaxed) + 1;
        worker.connections.borrow().values().for_each(|state| state.sweep(now));
        worker.pool.sweep(now);
    }
}

fn server(shared: &Shared) -> http1::Builder {
    let mut server = http1::Builder::new();
    server
        // Ours, by the sweep: see `connection`.
        .header_read_timeout(None)
        .preserve_header_case(shared.preserve_header_case)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD)
        .max_buf_size(MAX_HEAD)
        .writev(false);
    server
}

async fn accept(worker: &Rc<Worker>, server: &http1::Builder, listener: &TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => admit(worker, server, stream, address),
            // Out of descriptors, most likely: those in use go on, and a pause keeps us from spinning.
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Closes a listener without resetting anyone.
///
/// Closing alone would reset every connection that the kernel has completed and nobody has accepted yet. So the
/// socket first gets a filter that lets no packet through: no connection can be completed any more, and what is in the
/// queue is all there will be. A client that was just knocking knocks again and is then refused.
fn accept_the_last(worker: &Rc<Worker>, server: &http1::Builder, listener: TcpListener) {
    /// "Return 0 bytes of the packet", in the classic filter language.
    const DROP_EVERYTHING: SockFilter = SockFilter::new(0x06, 0, 0, 0);
    let _ = SockRef::from(&listener).attach_filter(&[DROP_EVERYTHING]);
    // The runtime may not have heard of what the kernel has; asking the kernel itself leaves no doubt.
    let Ok(listener) = listener.into_std() else { return };
    while let Ok((stream, address)) = listener.accept() {
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            admit(worker, server, stream, address);
        }
    }
}

fn admit(worker: &Rc<Worker>, server: &http1::Builder, stream: TcpStream, address: SocketAddr) {
    if worker.shared.connections.fetch_add(1, Ordering::Relaxed) >= worker.shared.max_connections {
        worker.shared.connections.fetch_sub(1, Ordering::Relaxed);
        turn_away(worker, stream);
        return;
    }
    let _ = stream.set_nodelay(true);
    let number = worker.next_connection.replace(worker.next_connection.get() + 1);
    let state = Arc::new(ConnectionState::new(worker.tick()));
    let progress = Progress::new(Arc::clone(&state), Arc::clone(&worker.tick));
    worker.connections.borrow_mut().insert(number, Arc::clone(&state));
    worker.tally.connections.add(1);
    let registered = Registered { worker: Rc::clone(worker), number };
    let head = Head::new(Arc::clone(&worker.shared), Arc::clone(&worker.tally));
    let socket = TokioIo::new(Socket::new(stream, progress.clone(), head));
    let peer = Rc::new(Peer::new(address.ip(), "http"));
    let serving = Rc::clone(worker);
    let service = service_fn(move |request| {
        let served = request::serve(Rc::clone(&serving), Rc::clone(&peer), progress.clone(), request);
        Caught::new(served, Rc::clone(&serving))
    });
    let carried = Carried::new(server.serve_connection(socket, service), state);
    tokio::task::spawn_local(async move {
        let _registered = registered;
        carried.await;
    });
}

/// Takes a connection off the books when its task ends, however it ends.
struct Registered {
    worker: Rc<Worker>,
    number: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.worker.connections.borrow_mut().remove(&self.number);
        self.worker.tally.connections.sub(1);
        self.worker.shared.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Said where there are too many connections.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncollimator-error: overloaded\r\nretry-after: 1\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 21\r\nconnection: close\r\n\r\ntoo many connections\n";

/// Says that there are too many connections: to a few at a time with patience, to the rest in passing.
fn turn_away(worker: &Rc<Worker>, mut stream: TcpStream) {
    worker.tally.overloaded.add(1);
    if worker.turned_away.get() >= worker.shared.max_refusals {
        // The socket itself is asked: the runtime has not yet heard that it can be written to.
        let _ = SockRef::from(&stream).send(TOO_MANY);
        return;
    }
    worker.turned_away.set(worker.turned_away.get() + 1);
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        let _ = timeout(TICK, async {
            // Closing with bytes unread would reset the connection before the answer is read.
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(TOO_MANY).await;
            let _ = stream.shutdown().await;
            let _ = stream.read(&mut head).await;
        })
        .await;
        worker.turned_away.set(worker.turned_away.get() - 1);
    });
}
