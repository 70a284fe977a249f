//! The client side: a pool of connections to the application.
//!
//! ```text
//!   checkout ── pooled and ready ───────────────────────► send ─► answer's head
//!      └─────── none ─► dial (connect timeout at most) ─►  │
//!                                                          └ dead, and the request may be repeated: once more, fresh
//! ```
//!
//! Each worker has its own pool, so taking a connection needs no lock. It is kept for [`IDLE_LIMIT`] after use, below the
//! 5 s after which common application servers close theirs; what still turns out to be dead is told apart by whether the
//! request had been written. A connection of HTTP/1 carries one request at a time, in the task of whoever asks; one of
//! HTTP/2 up to [`MAX_STREAMS`], in a task of its own.

mod answer;
mod dial;
mod names;
mod outbound;
mod sending;
mod turn;

use super::Shared;
use super::connection::{PER_SECOND, Tick};
use super::received::BrokenOff;
use super::stream::Stream;
use crate::config::{Scheme, Target};
use crate::http1::{self, Spelling, client};
use crate::telemetry::{UpstreamError, WorkerTally};
pub(super) use answer::Answer;
use answer::Source;
use dial::{Dialled, Dialler};
use http::header::{CONNECTION, HOST, TRANSFER_ENCODING, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri, Version};
use hyper::client::conn::http2;
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::timeout_at;

pub(super) use dial::Speak;
pub(super) use outbound::{Gate, Outbound, Stall, Upload};
pub(super) use sending::Reply;
use sending::{Again, Boxed, Call, On, Sending, Sent, copy, is_repeatable};
use turn::Silent;

/// How long an unused connection is kept, in ticks.
const IDLE_LIMIT: Tick = 3 * PER_SECOND;
/// How many unused connections a worker keeps.
const MAX_IDLE: usize = 1024;
/// Requests at one time on a connection of HTTP/2; RFC 9113 asks servers to allow as many.
const MAX_STREAMS: usize = 100;

/// A connection on loan.
enum Sender {
    Http1(Connection),
    Http2(http2::SendRequest<Outbound>, Place),
}

/// A connection of HTTP/1.
type Connection = client::Connection<Stream, Outbound>;

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
    idle: RefCell<Vec<(Connection, Tick)>>,
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
    pub(super) fn send(
        self: &Rc<Self>,
        request: Request<Outbound>,
        spelling: Option<Spelling>,
        gate: Option<Gate>,
        speak: Speak,
        now: Tick,
        tally: &Arc<WorkerTally>,
    ) -> impl Future<Output = Reply> + use<> {
        let again = Again { pool: Rc::clone(self), gate, speak, now, tally: Arc::clone(tally), spelling };
        match self.checkout(now, speak) {
            Some(sender) => {
                // Made ready only where a dead connection is to be expected.
                let copied = matches!(sender, Sender::Http2(..)) && is_repeatable(&request);
                let copy = copied.then(|| Box::new(copy(&request)));
                let sent = self.hand(sender, request, again.spelling.as_ref(), copy);
                Sending::Pooled { sent, again: Some(again) }
            }
            None => Sending::fresh(request, again),
        }
    }

    async fn send_fresh(
        self: Rc<Self>,
        request: Request<Outbound>,
        spelling: Option<Spelling>,
        speak: Speak,
        now: Tick,
        tally: Arc<WorkerTally>,
    ) -> Result<Response<Source>, Failed> {
        let sender = self.connect(now, speak, &tally).await?;
        Ok(self.hand(sender, request, spelling.as_ref(), None).await?)
    }

    /// Says on a fresh connection what was said to a dead one.
    async fn repeat(
        self: Rc<Self>,
        call: Call,
        limit: Option<Boxed<Silent>>,
        tally: Arc<WorkerTally>,
    ) -> Result<Response<Source>, Failed> {
        match self.dialler.dial(Speak::Http1, self.dialler.deadline(), &tally).await? {
            Dialled::Http1(connection) => Ok(Sent::again(call.repeat(connection), limit).await?),
            Dialled::Http2(_) => {
                let detail = "it speaks HTTP/2 by now".to_owned();
                Err(Failed { error: UpstreamError::Protocol, detail })
            }
        }
    }

    /// Gives a request to a connection.
    fn hand(
        &self,
        sender: Sender,
        mut request: Request<Outbound>,
        spelling: Option<&Spelling>,
        copy: Option<Box<Request<Outbound>>>,
    ) -> Sent {
        let limit = self.response_timeout.map(|limit| (limit, request.body_mut().timed()));
        let on = match sender {
            Sender::Http1(connection) => {
                self.fit_http1(&mut request);
                On::Http1(connection.send(request, spelling))
            }
            Sender::Http2(mut sender, place) => {
                self.fit_http2(&mut request);
                let sent = sender.try_send_request(request);
                let sent = Box::pin(async { sent.await.map_err(Box::new) });
                On::Http2 { sent, copy, place: Some(place) }
            }
        };
        Sent::new(on, limit)
    }

    /// Takes the connection back of an answer that is complete.
    pub(super) fn give_back(&self, answer: Answer, now: Tick) {
        let mut idle = self.idle.borrow_mut();
        if let Some(connection) = answer.leave()
            && idle.len() < MAX_IDLE
        {
            idle.push((connection, now));
        }
    }

    /// Drops connections that were not used for a while; to be called once a tick.
    pub(super) fn sweep(&self, now: Tick) {
        self.idle
            .borrow_mut()
            .retain(|(connection, since)| now.saturating_sub(*since) < IDLE_LIMIT && connection.is_alive());
        self.multiplexed.borrow_mut().retain(|connection| {
            if connection.taken.get() > 0 {
                connection.used.set(now);
            }
            !connection.sender.is_closed() && now.saturating_sub(connection.used.get()) < IDLE_LIMIT
        });
    }

    /// The connection that was used last, if it is alive; the warmest is the least likely to be dead.
    fn checkout(&self, now: Tick, speak: Speak) -> Option<Sender> {
        let mut idle = self.idle.borrow_mut();
        while let Some((connection, since)) = idle.pop() {
            if now.saturating_sub(since) < IDLE_LIMIT && connection.is_alive() {
                return Some(Sender::Http1(connection));
            }
        }
        drop(idle);
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
        let deadline = self.dialler.deadline();
        let shared = self.dialler.expects_http2() && speak == Speak::Any;
        let mut opening = None;
        if shared {
            // Or each of a crowd would wait for all before it to fail.
            let locked = timeout_at(deadline, self.opening.lock()).await;
            opening = Some(locked.map_err(|_| self.dialler.late())?);
            if let Some(sender) = self.checkout(now, speak) {
                return Ok(sender);
            }
        }
        // By now it may be known that they cannot be shared, and then nobody is to wait for another's.
        let _opening = opening.filter(|_| self.dialler.expects_http2());
        Ok(match self.dialler.dial(speak, deadline, tally).await? {
            Dialled::Http1(connection) => Sender::Http1(connection),
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
        if request.version() == Version::HTTP_2 {
            // It comes back from a connection that did not take it, and its `Host` is where it belongs.
            return;
        }
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

/// What broke off, in the words that matter here.
pub(super) fn classify(error: &BrokenOff) -> Failed {
    let error = match error {
        BrokenOff::Http2(error) => error,
        BrokenOff::Http1(error) => {
            let kind = match error {
                http1::Error::Malformed(_) | http1::Error::TooLarge => UpstreamError::Protocol,
                http1::Error::Incomplete | http1::Error::Io(_) | http1::Error::BrokeOff => {
                    UpstreamError::Reset
                }
            };
            return Failed { error: kind, detail: error.to_string() };
        }
    };
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
