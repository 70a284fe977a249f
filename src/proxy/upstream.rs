//! The client side: a pool of connections to the application.
//!
//! ```text
//!   checkout ── pooled and ready ───────────────────────► send ─► answer's head
//!      └─────── none ─► dial (connect timeout at most) ─►  │
//!                                                          └ dead, and the request may be repeated: once more, fresh
//! ```
//!
//! Each worker has its own pool, so taking a connection needs no lock. A connection runs in a task of its own. It is
//! kept for [`IDLE_LIMIT`] after use, below the 5 s after which common application servers close theirs; what still
//! turns out to be dead is told apart by whether the request had been written. A connection of HTTP/1 carries one request
//! at a time, one of HTTP/2 up to [`MAX_STREAMS`].

mod dial;
mod outbound;
mod sending;
mod turn;
mod wire;

use super::Shared;
use super::connection::Tick;
use crate::config::{Scheme, Target};
use crate::telemetry::{UpstreamError, WorkerTally};
use bytes::Bytes;
use dial::{Dialled, Dialler, Http1};
use http::header::{CONNECTION, HOST, TRANSFER_ENCODING, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri, Version};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::timeout;
use wire::Memory;

pub(super) use dial::Speak;
pub(super) use outbound::{Gate, Outbound, Stall, Upload};
pub(super) use sending::Reply;
use sending::{Again, Answered, Repeat, Rest, Sending, Sent};
use turn::Silent;

/// How long an unused connection is kept, in ticks of a second.
const IDLE_LIMIT: Tick = 3;
/// How many unused connections a worker keeps.
const MAX_IDLE: usize = 1024;
/// How long a connection that failed may take to close before what it said last is given up.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Requests at one time on a connection of HTTP/2; RFC 9113 asks servers to allow as many.
const MAX_STREAMS: usize = 100;

/// A connection on loan.
enum Sender {
    Http1(Http1),
    Http2(http2::SendRequest<Outbound>, Place),
}

/// A piece of an answer's body.
pub(super) type Piece = Result<Frame<Bytes>, hyper::Error>;

/// A connection in use, until the answer is complete: one of HTTP/1 goes back into the pool then, of one of HTTP/2 a
/// place becomes free.
pub(super) struct Lease {
    held: Held,
    _gate: Option<EndOfAnswer>,
}

enum Held {
    Http1(Http1),
    Http2 { _place: Place },
}

impl Lease {
    /// Takes the next piece of the answer's body.
    pub(super) fn take(&self, body: &mut Incoming, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        match &self.held {
            Held::Http1(http1) => http1.bell.take(body, cx),
            Held::Http2 { .. } => Pin::new(body).poll_frame(cx),
        }
    }

    fn new(response: Response<Incoming>, held: Held, gate: Option<Gate>) -> (Response<Incoming>, Lease) {
        let gate = gate.map(|gate| {
            gate.answered();
            EndOfAnswer(gate)
        });
        (response, Lease { held, _gate: gate })
    }
}

/// Tells a body that nobody asked for that nobody will.
struct EndOfAnswer(Gate);

impl Drop for EndOfAnswer {
    fn drop(&mut self) {
        self.0.over();
    }
}

/// One place on a connection of HTTP/2.
struct Place(Rc<Cell<usize>>);

impl Place {
    fn take(taken: &Rc<Cell<usize>>) -> Place {
        taken.set(taken.get() + 1);
        Place(Rc::clone(taken))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// A connection of HTTP/2, used by many.
struct Multiplexed {
    sender: http2::SendRequest<Outbound>,
    taken: Rc<Cell<usize>>,
    used: Cell<Tick>,
}

/// What went wrong, in words for the log and the segment.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: UpstreamError,
    pub(super) detail: String,
}

/// One worker's connections to the application.
pub(super) struct Pool {
    dialler: Dialler,
    /// How long the application may be silent before the head of an answer.
    response_timeout: Option<Duration>,
    /// What the target is called in `Host` and `:authority` where the client named none.
    authority: HeaderValue,
    /// The most recently used last, with the tick of its return.
    idle: RefCell<Vec<(Http1, Tick)>>,
    multiplexed: RefCell<Vec<Multiplexed>>,
    /// Held while a connection is opened that others may share, so that a crowd opens one and not many.
    opening: Mutex<()>,
}

impl Pool {
    pub(super) fn new(shared: &Shared) -> Pool {
        Pool {
            dialler: Dialler::new(shared),
            response_timeout: shared.response_timeout,
            authority: shared.upstream_authority.clone(),
            idle: RefCell::default(),
            multiplexed: RefCell::default(),
            opening: Mutex::default(),
        }
    }

    /// Where the connections go.
    pub(super) fn target(&self) -> &Target {
        &self.dialler.target
    }

    /// Whether the application can be asked to change the protocol: HTTP/2 knows no such thing.
    pub(super) fn can_upgrade(&self) -> bool {
        self.dialler.target.scheme != Scheme::H2c
    }

    /// Sends one request; the future waits for the answer's head.
    ///
    /// On a pooled connection the request is gone when this returns, so that the future, which lives as long as the
    /// application takes, holds no more than it must.
    pub(super) fn send(
        self: &Rc<Self>,
        request: Request<Outbound>,
        gate: Option<Gate>,
        speak: Speak,
        now: Tick,
        tally: &Arc<WorkerTally>,
    ) -> impl Future<Output = Reply> + use<> {
        let again = Again { pool: Rc::clone(self), gate, speak, now, tally: Arc::clone(tally) };
        match self.checkout(now, speak) {
            Some(sender) => {
                // Made ready only where a dead connection is to be expected.
                let repeat = Repeat::of(&request, &sender);
                let (sent, held) = self.hand(sender, request);
                Sending::Pooled { sent, rest: Some(Rest { held, repeat, again }) }
            }
            None => Sending::fresh(request, again),
        }
    }

    async fn send_fresh(
        self: Rc<Self>,
        request: Request<Outbound>,
        speak: Speak,
        now: Tick,
        tally: Arc<WorkerTally>,
    ) -> Result<(Response<Incoming>, Held), Failed> {
        let sender = self.connect(now, speak, &tally).await?;
        self.hand_for_good(sender, request).await
    }

    /// Sends a request again that was written to a connection of HTTP/1 which had died, as its memory has it; if it has
    /// nothing, what failed has failed.
    async fn send_again(
        self: Rc<Self>,
        memory: Memory,
        failed: Failed,
        tally: Arc<WorkerTally>,
    ) -> Result<(Response<Incoming>, Held), Failed> {
        // The connection has failed and is about to end, but closing it may take a word from the other side.
        let said = timeout(LAST_WORDS, memory.said()).await.ok().flatten();
        let Some((method, said)) = said.and_then(|said| Some((said.method()?, said))) else {
            return Err(failed);
        };
        tally.retries.add(1);
        let Dialled::Http1(http1) = self.dialler.dial(Speak::Http1, Some(said), &tally).await? else {
            return Err(failed);
        };
        let mut request = Request::new(Outbound::Empty);
        *request.method_mut() = method;
        self.hand_for_good(Sender::Http1(http1), request).await
    }

    /// Gives a request to a fresh connection, and waits for the answer's head.
    async fn hand_for_good(
        &self,
        sender: Sender,
        request: Request<Outbound>,
    ) -> Result<(Response<Incoming>, Held), Failed> {
        let (sent, held) = self.hand(sender, request);
        match sent.await {
            Ok(Ok(response)) => Ok((response, held)),
            Err(silent) => Err(silent.into()),
            Ok(Err(failed)) => Err(classify(&failed.into_error())),
        }
    }

    /// Gives a request to a connection.
    fn hand(
        &self,
        sender: Sender,
        mut request: Request<Outbound>,
    ) -> (impl Future<Output = Result<Answered, Silent>> + use<>, Held) {
        let limit = self.response_timeout.map(|limit| (limit, request.body_mut().timed()));
        let (sent, held) = match sender {
            Sender::Http1(mut http1) => {
                self.fit_http1(&mut request);
                (Sent::Http1 { sent: http1.sender.try_send_request(request) }, Held::Http1(http1))
            }
            Sender::Http2(mut sender, place) => {
                self.fit_http2(&mut request);
                (Sent::Http2 { sent: sender.try_send_request(request) }, Held::Http2 { _place: place })
            }
        };
        match limit {
            Some((limit, turn)) => (sent.limited(limit, turn), held),
            None => (sent, held),
        }
    }

    /// Takes a connection back whose answer is complete.
    pub(super) fn give_back(&self, lease: Lease, now: Tick) {
        let mut idle = self.idle.borrow_mut();
        if let Held::Http1(http1) = lease.held
            && !http1.sender.is_closed()
            && idle.len() < MAX_IDLE
        {
            idle.push((http1, now));
        }
    }

    /// Drops connections that were not used for a while; to be called once a tick.
    pub(super) fn sweep(&self, now: Tick) {
        self.idle
            .borrow_mut()
            .retain(|(http1, since)| !http1.sender.is_closed() && now.saturating_sub(*since) <= IDLE_LIMIT);
        self.multiplexed.borrow_mut().retain(|connection| {
            if connection.taken.get() > 0 {
                connection.used.set(now);
            }
            !connection.sender.is_closed() && now.saturating_sub(connection.used.get()) <= IDLE_LIMIT
        });
    }

    /// The connection that was used last, if it is ready; the warmest is the least likely to be dead.
    fn checkout(&self, now: Tick, speak: Speak) -> Option<Sender> {
        let mut idle = self.idle.borrow_mut();
        while let Some(position) =
            idle.iter().rposition(|(http1, _)| http1.sender.is_ready() || http1.sender.is_closed())
        {
            let (http1, since) = idle.remove(position);
            if http1.sender.is_ready() && now.saturating_sub(since) <= IDLE_LIMIT {
                return Some(Sender::Http1(http1));
            }
        }
        if speak == Speak::Http1 {
            return None;
        }
        let mut multiplexed = self.multiplexed.borrow_mut();
        multiplexed.retain(|connection| !connection.sender.is_closed());
        let connection = multiplexed.iter().find(|connection| connection.taken.get() < MAX_STREAMS)?;
        connection.used.set(now);
        Some(Sender::Http2(connection.sender.clone(), Place::take(&connection.taken)))
    }

    async fn connect(&self, now: Tick, speak: Speak, tally: &WorkerTally) -> Result<Sender, Failed> {
        let shared = self.dialler.expects_http2() && speak == Speak::Any;
        let _opening = if shared { Some(self.opening.lock().await) } else { None };
        if shared && let Some(sender) = self.checkout(now, speak) {
            return Ok(sender);
        }
        Ok(match self.dialler.dial(speak, None, tally).await? {
            Dialled::Http1(http1) => Sender::Http1(http1),
            Dialled::Http2(sender) => {
                let taken = Rc::new(Cell::new(0));
                let place = Place::take(&taken);
                let multiplexed = Multiplexed { sender: sender.clone(), taken, used: Cell::new(now) };
                self.multiplexed.borrow_mut().push(multiplexed);
                Sender::Http2(sender, place)
            }
        })
    }

    /// A request as HTTP/1.1 has it: the authority stands in `Host` alone.
    fn fit_http1(&self, request: &mut Request<Outbound>) {
        if request.version() == Version::HTTP_11 {
            return;
        }
        *request.version_mut() = Version::HTTP_11;
        if let Some(authority) = request.uri().authority() {
            if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
                request.headers_mut().insert(HOST, host);
            }
            let path = request.uri().path_and_query().cloned();
            *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
        }
    }

    /// A request as HTTP/2 has it: `Host` becomes `:authority`, and nothing speaks of the connection.
    fn fit_http2(&self, request: &mut Request<Outbound>) {
        *request.version_mut() = Version::HTTP_2;
        let host = request.headers_mut().remove(HOST).filter(|host| !host.is_empty());
        let host = host.unwrap_or_else(|| self.authority.clone());
        let path = request.uri().path_and_query().cloned();
        let scheme = if self.dialler.target.scheme == Scheme::Https { "https" } else { "http" };
        let uri = Uri::builder().scheme(scheme).authority(host.as_bytes());
        // `Host` was checked on arrival, so this cannot fail; if it did, the request would go without.
        if let Ok(uri) = uri.path_and_query(path.unwrap_or(PathAndQuery::from_static("/"))).build() {
            *request.uri_mut() = uri;
        }
        for name in [CONNECTION, UPGRADE, TRANSFER_ENCODING] {
            request.headers_mut().remove(name);
        }
    }
}

impl From<Silent> for Failed {
    fn from(Silent(limit): Silent) -> Failed {
        let detail = format!("no answer within {limit:?} (setting `response_timeout`)");
        Failed { error: UpstreamError::Timeout, detail }
    }
}

/// hyper's error, in the words that matter here.
pub(super) fn classify(error: &hyper::Error) -> Failed {
    let mut detail = error.to_string();
    let mut source = error.source();
    let mut reset = error.is_incomplete_message() || error.is_canceled() || error.is_closed();
    let mut protocol = error.is_parse();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            reset |= matches!(
                io.kind(),
                ErrorKind::ConnectionReset
                    | ErrorKind::BrokenPipe
                    | ErrorKind::UnexpectedEof
                    | ErrorKind::ConnectionAborted
            );
        }
        if let Some(http2) = cause.downcast_ref::<h2::Error>() {
            // What we could not read, not what the application gave up on.
            protocol |= http2.is_library() || http2.reason() == Some(h2::Reason::HTTP_1_1_REQUIRED);
        }
        detail = format!("{detail}: {cause}");
        source = cause.source();
    }
    let kind = if protocol && !reset { UpstreamError::Protocol } else { UpstreamError::Reset };
    Failed { error: kind, detail }
}
