//! One client connection: its state, and what its limits are.
//!
//! ```text
//!         bytes            head complete             last byte
//!   Idle ───────► ReadingHead ─────► Application ⇄ Client ───────► Idle
//!     │ 75 s          │ 10 s              │           │ 30 s
//!     └─► close       └─► cut             ├ no limit  └─► cut
//!                                         └─► Tunnel, by a 101
//! ```
//!
//! The application has no limit: a request may take long and a stream may be silent. Whoever wants one for the head of an
//! answer has `upstream::turn`. The client has one, in both directions: it must go on sending its body and go on taking
//! the answer's.
//!
//! Limits are kept by a sweep twice a second instead of by timers, and hold to half a second, never longer than they say: a
//! request costs a few relaxed stores, and no timer is armed or moved on the hot path.
//!
//! Who was answered before its body had come to an end is lingered for, up to 30 s, before its connection is closed.

mod carried;
mod phase;

use crate::telemetry::Refusal;
pub(super) use carried::{Carried, Opening, ToItsEnd};
pub(super) use phase::{Arrival, Phase, Unsaid};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Duration;

/// Time, in half seconds of the worker's sweep.
pub(super) type Tick = u32;

/// So many ticks are a second.
pub(super) const PER_SECOND: Tick = 2;

/// How long a request's head may take, in ticks.
const HEAD_LIMIT: Tick = 10 * PER_SECOND;
/// How long a connection may be without a request; application load balancers keep theirs 60 s.
const IDLE_LIMIT: Tick = 75 * PER_SECOND;
/// How long a client that has its answer may go on sending the body that nobody wants.
const LINGER_LIMIT: Tick = 30 * PER_SECOND;
/// How long a body may stand still because of the client, in either direction.
pub(super) const STALL_LIMIT: Tick = 30 * PER_SECOND;
/// The same as time, for a stream of HTTP/2, which no sweep sees.
pub(super) const STREAM_STALL_LIMIT: Duration = time_of(STALL_LIMIT);

/// As long as so many ticks.
pub(super) const fn time_of(ticks: Tick) -> Duration {
    Duration::from_millis(ticks as u64 * 1000 / PER_SECOND as u64)
}

/// What a connection is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Order {
    Carry,
    /// Close when the present request is answered, at once if there is none.
    Finish,
    /// Close now.
    Cut,
    /// Close now, for no fault of the client's: the sidecar stops.
    Stop,
}

/// Shared by a connection, its requests and the sweep.
#[derive(Debug)]
pub(super) struct ConnectionState {
    phase: AtomicU8,
    /// An [`Unsaid`], or 0. It stays: after a body that broke off nothing comes on a connection of HTTP/1.
    unsaid: AtomicU8,
    /// The present request has a body whose end has not come.
    owes_body: AtomicBool,
    /// Somebody waits for more of that body.
    awaits_body: AtomicBool,
    /// The client was given bytes of an answer and has not been seen to take them all.
    is_given: AtomicBool,
    /// The present request has its answer.
    is_answered: AtomicBool,
    since: AtomicU32,
    order: AtomicU8,
    /// Wakes whoever carries the connection, as of his first turn: a task's waker stays good for the task's whole life.
    carrier: OnceLock<Waker>,
}

impl ConnectionState {
    pub(super) fn new(now: Tick) -> ConnectionState {
        ConnectionState {
            // A connection that never sends a byte is a slow sender, not an idle client.
            phase: AtomicU8::new(Phase::ReadingHead as u8),
            unsaid: AtomicU8::new(0),
            owes_body: AtomicBool::new(false),
            awaits_body: AtomicBool::new(false),
            is_given: AtomicBool::new(false),
            is_answered: AtomicBool::new(false),
            since: AtomicU32::new(now),
            order: AtomicU8::new(Order::Carry as u8),
            carrier: OnceLock::new(),
        }
    }

    /// Notes what the connection is doing as of now.
    pub(super) fn enter(&self, phase: Phase, now: Tick) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        self.since.store(now, Ordering::Relaxed);
    }

    /// Asks the connection to close once its present request is answered.
    pub(super) fn finish(&self) {
        let _ = self.tell(Order::Finish);
    }

    /// Closes the connection now. Returns whether this is news to it.
    pub(super) fn cut(&self) -> bool {
        self.tell(Order::Cut)
    }

    /// As [`ConnectionState::cut`], because the sidecar stops.
    pub(super) fn stop(&self) {
        let _ = self.tell(Order::Stop);
    }

    /// Keeps the limits; to be called once a tick. Tells which one ended the connection, if one did.
    pub(super) fn sweep(&self, now: Tick) -> Option<Refusal> {
        let age = now.saturating_sub(self.since.load(Ordering::Relaxed));
        let phase = self.phase.load(Ordering::Relaxed);
        let refusal = match phase {
            _ if phase == Phase::ReadingHead as u8 && age >= HEAD_LIMIT => Some(Refusal::SlowHead),
            _ if phase == Phase::Client as u8 && age >= STALL_LIMIT => Some(Refusal::Stalled),
            // It was asked to close for idleness and does not: its client does not read.
            _ if phase == Phase::Idle as u8 && age >= IDLE_LIMIT + HEAD_LIMIT => Some(Refusal::Stalled),
            _ => None,
        };
        if let Some(refusal) = refusal {
            if phase == Phase::Client as u8 && self.gives_up_body() {
                return Some(refusal);
            }
            // Who was told and does not take that answer either is refused once.
            let is_told = self.unsaid.load(Ordering::Relaxed) == Unsaid::Stalled as u8;
            return (self.cut() && !is_told).then_some(refusal);
        }
        if phase == Phase::Idle as u8 && age >= IDLE_LIMIT {
            self.finish();
        }
        if phase == Phase::Lingering as u8 && age >= LINGER_LIMIT {
            // It was answered: nothing is refused.
            self.cut();
        }
        None
    }

    /// Nobody waits any more for the body that the present request owes, so that its client can be told. Not if it has its
    /// answer, and not twice.
    fn gives_up_body(&self) -> bool {
        let is_owed = self.owes_body.load(Ordering::Relaxed) && !self.is_answered.load(Ordering::Relaxed);
        let gives_up = is_owed && self.unsaid.load(Ordering::Relaxed) == 0;
        if gives_up {
            self.unsaid.store(Unsaid::Stalled as u8, Ordering::Relaxed);
            self.wake();
        }
        gives_up
    }

    fn tell(&self, order: Order) -> bool {
        let news = self.order.fetch_max(order as u8, Ordering::Relaxed) < order as u8;
        if news {
            self.wake();
        }
        news
    }

    fn wake(&self) {
        if let Some(carrier) = self.carrier.get() {
            carrier.wake_by_ref();
        }
    }
}

/// Notes, from wherever a request is, what its connection is doing.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    state: Arc<ConnectionState>,
    tick: Arc<AtomicU32>,
    /// The place that a request of HTTP/2 takes on its connection.
    stream: Option<Arc<OpenStream>>,
}

impl Progress {
    pub(super) fn new(state: Arc<ConnectionState>, tick: Arc<AtomicU32>) -> Progress {
        Progress { state, tick, stream: None }
    }

    /// The progress of one request among several on this connection.
    ///
    /// Its phases are its own and no sweep sees them: a stream of gRPC may be silent in both directions for hours. The
    /// connection is busy for as long as it has such a request; a client that is gone is found out by pings. A body of
    /// anything else keeps its limit by itself (`upstream::outbound::Stall`), and an answer by its task (`streams`).
    pub(super) fn of_stream(&self, streams: &Arc<AtomicU32>) -> Progress {
        if streams.fetch_add(1, Ordering::Relaxed) == 0 {
            self.state.enter(Phase::Application, self.tick());
        }
        let stream = OpenStream { connection: self.clone(), streams: Arc::clone(streams) };
        Progress {
            state: Arc::new(ConnectionState::new(self.tick())),
            tick: Arc::clone(&self.tick),
            stream: Some(Arc::new(stream)),
        }
    }

    /// Whether this is of one request among several.
    pub(super) fn is_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// The time, in ticks of the sweep.
    pub(super) fn tick(&self) -> Tick {
        self.tick.load(Ordering::Relaxed)
    }

    /// The phase begins, unless it has already.
    pub(super) fn enter(&self, phase: Phase) {
        if self.state.phase.load(Ordering::Relaxed) != phase as u8 {
            self.state.enter(phase, self.tick());
        }
    }

    /// A request is the application's now.
    pub(super) fn begin(&self) {
        self.state.is_answered.store(false, Ordering::Relaxed);
        self.state.awaits_body.store(false, Ordering::Relaxed);
        self.state.is_given.store(false, Ordering::Relaxed);
        self.enter(Phase::Application);
    }

    /// The client was given bytes of the answer to take; its time starts again.
    pub(super) fn gave(&self) {
        self.state.is_given.store(true, Ordering::Relaxed);
        self.moved();
    }

    /// The client has taken all that there is of the answer. It is the application's turn, unless the client owes more of
    /// its body.
    pub(super) fn caught_up(&self) {
        self.state.is_given.store(false, Ordering::Relaxed);
        if !self.state.awaits_body.load(Ordering::Relaxed) {
            self.enter(Phase::Application);
        }
    }

    /// The present request has its answer; of its body something may still come.
    pub(super) fn end(&self) {
        self.state.is_answered.store(true, Ordering::Relaxed);
        self.enter(Phase::Idle);
    }

    /// All has gone and nothing has come: time without a request begins.
    pub(super) fn rest(&self) {
        self.state.enter(Phase::Idle, self.tick());
    }

    /// The body of the present request was asked for more, and was kept waiting or not.
    pub(super) fn uploads(&self, waits: bool, is_end: bool) {
        self.owe_body(!is_end);
        self.state.awaits_body.store(waits, Ordering::Relaxed);
        let is_answered = self.state.is_answered.load(Ordering::Relaxed);
        match (waits, is_answered) {
            (true, _) => self.enter(Phase::Client),
            // It sends, and may all the same take nothing.
            (false, false) if self.is_given() => self.moved(),
            (false, false) => self.enter(Phase::Application),
            (false, true) if is_end => self.enter(Phase::Idle),
            (false, true) => self.moved(),
        }
    }

    /// Nobody waits any more for more of the body.
    pub(super) fn uploads_no_more(&self) {
        self.state.awaits_body.store(false, Ordering::Relaxed);
        if !self.state.is_answered.load(Ordering::Relaxed) && !self.is_given() {
            self.enter(Phase::Application);
        }
    }

    fn is_given(&self) -> bool {
        self.state.is_given.load(Ordering::Relaxed)
    }

    /// Whether nothing is going on. After its answer, a body may still be on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.state.phase.load(Ordering::Relaxed) == Phase::Idle as u8 && !self.owes_body()
    }

    /// Bytes came. If nothing was going on, a head begins.
    pub(super) fn arrived(&self) -> Arrival {
        match self.state.phase.load(Ordering::Relaxed) {
            _ if self.is_idle() => {
                self.state.enter(Phase::ReadingHead, self.tick());
                Arrival::HeadBegins
            }
            phase if phase == Phase::ReadingHead as u8 => Arrival::Head,
            phase if phase == Phase::Tunnel as u8 => Arrival::Tunnel,
            _ => Arrival::Body,
        }
    }

    /// For how long the client of a stream has taken nothing of its answer, nor sent anything, in ticks; nothing if there is
    /// none to take. A stream that has its answer and is still there waits for nothing else.
    pub(super) fn untaken(&self) -> Option<Tick> {
        let takes = self.is_given() || self.state.is_answered.load(Ordering::Relaxed);
        takes.then(|| self.tick().saturating_sub(self.state.since.load(Ordering::Relaxed)))
    }

    /// The client took or sent something; its time starts again.
    fn moved(&self) {
        self.state.enter(Phase::Client, self.tick());
    }

    /// Whether the present request has a body whose end has not come.
    pub(super) fn owe_body(&self, owes: bool) {
        if self.owes_body() != owes {
            self.state.owes_body.store(owes, Ordering::Relaxed);
        }
    }

    /// Whether the client is likely to send more of a body.
    pub(super) fn owes_body(&self) -> bool {
        self.state.owes_body.load(Ordering::Relaxed)
    }

    /// The body of the present request has come to an end that is none. Nobody waits for more of it.
    pub(super) fn break_off(&self, unsaid: Unsaid) {
        self.owe_body(false);
        self.state.unsaid.store(unsaid as u8, Ordering::Relaxed);
    }

    /// How the body of the present request broke off, if it did.
    pub(super) fn unsaid(&self) -> Option<Unsaid> {
        let unsaid = self.state.unsaid.load(Ordering::Relaxed);
        [Unsaid::Gone, Unsaid::Malformed, Unsaid::Stalled].into_iter().find(|one| *one as u8 == unsaid)
    }

    /// Asks the connection to close once its present requests are answered.
    pub(super) fn finish(&self) {
        self.connection().finish();
    }

    /// Whether the connection ends because the sidecar stops.
    pub(super) fn is_stopped(&self) -> bool {
        self.connection().order.load(Ordering::Relaxed) == Order::Stop as u8
    }

    fn connection(&self) -> &ConnectionState {
        match &self.stream {
            Some(stream) => &stream.connection.state,
            None => &self.state,
        }
    }
}

/// One of a connection's streams, until nothing of its request is left.
#[derive(Debug)]
struct OpenStream {
    connection: Progress,
    streams: Arc<AtomicU32>,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        if self.streams.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.connection.state.enter(Phase::Idle, self.connection.tick());
        }
    }
}

#[cfg(test)]
mod tests;
