//! One client connection: its state, its socket, and the future that carries it.
//!
//! ```text
//!         bytes            head complete             last byte
//!   Idle ───────► ReadingHead ─────► Application ⇄ Client ───────► Idle
//!     │ 75 s          │ 10 s              │           │ 30 s
//!     └─► close       └─► cut             └ no limit  └─► cut
//! ```
//!
//! The application has no limit: a request may take long and a stream may be silent. The client has one, in both
//! directions: it must go on sending its body and go on taking the answer's.
//!
//! Limits are kept by a sweep once a second instead of by timers: a request costs a few relaxed stores, and no timer is
//! armed or moved on the hot path. hyper's own header timer also runs on idle connections and so cannot tell a slow
//! sender from a quiet one.

use super::heads::{Head, Room};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use hyper::rt::{Read, Write};
use socket2::SockRef;
use std::io::ErrorKind;
use std::net::Shutdown;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Time, in seconds of the worker's sweep; good enough for limits of ten seconds and more.
pub(super) type Tick = u32;

/// How long a request's head may take, in ticks.
const HEAD_LIMIT: Tick = 10;
/// How long a connection may be without a request; application load balancers keep theirs 60 s.
const IDLE_LIMIT: Tick = 75;
/// How long a body may stand still because of the client, in either direction.
const STALL_LIMIT: Tick = 30;

/// Said where there is no room for a head.
const NO_ROOM: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncollimator-error: overloaded\r\nretry-after: 1\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 32\r\nconnection: close\r\n\r\n\
    too many bytes of request heads\n";

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// Between requests.
    Idle,
    /// Bytes of a head have come.
    ReadingHead,
    /// The application has the request, or owes us more of its answer; it may take its time.
    Application,
    /// The client owes us more of its body, or has not yet taken the bytes it was given.
    Client,
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
}

/// Shared by a connection, its requests and the sweep.
#[derive(Debug)]
pub(super) struct ConnectionState {
    phase: AtomicU8,
    since: AtomicU32,
    order: AtomicU8,
    waker: Mutex<Option<Waker>>,
}

impl ConnectionState {
    pub(super) fn new(now: Tick) -> ConnectionState {
        ConnectionState {
            // A connection that never sends a byte is a slow sender, not an idle client.
            phase: AtomicU8::new(Phase::ReadingHead as u8),
            since: AtomicU32::new(now),
            order: AtomicU8::new(Order::Carry as u8),
            waker: Mutex::new(None),
        }
    }

    /// Notes what the connection is doing as of now.
    pub(super) fn enter(&self, phase: Phase, now: Tick) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        self.since.store(now, Ordering::Relaxed);
    }

    fn is_idle(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == Phase::Idle as u8
    }

    fn is_reading_head(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == Phase::ReadingHead as u8
    }

    /// Asks the connection to close once its present request is answered.
    pub(super) fn finish(&self) {
        self.tell(Order::Finish);
    }

    /// Closes the connection now.
    pub(super) fn cut(&self) {
        self.tell(Order::Cut);
    }

    /// Keeps the limits; to be called once a tick.
    pub(super) fn sweep(&self, now: Tick) {
        let age = now.saturating_sub(self.since.load(Ordering::Relaxed));
        let phase = self.phase.load(Ordering::Relaxed);
        // A connection that was asked to close for idleness and does not is one whose client does not read.
        if (phase == Phase::ReadingHead as u8 && age > HEAD_LIMIT)
            || (phase == Phase::Client as u8 && age > STALL_LIMIT)
            || (phase == Phase::Idle as u8 && age > IDLE_LIMIT + HEAD_LIMIT)
        {
            self.cut();
        } else if phase == Phase::Idle as u8 && age > IDLE_LIMIT {
            self.finish();
        }
    }

    fn tell(&self, order: Order) {
        if self.order.fetch_max(order as u8, Ordering::Relaxed) < order as u8 {
            let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// Notes, from wherever a request is, what its connection is doing.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    state: Arc<ConnectionState>,
    tick: Arc<AtomicU32>,
}

impl Progress {
    pub(super) fn new(state: Arc<ConnectionState>, tick: Arc<AtomicU32>) -> Progress {
        Progress { state, tick }
    }

    /// The phase begins, unless it has already.
    pub(super) fn enter(&self, phase: Phase) {
        if self.state.phase.load(Ordering::Relaxed) != phase as u8 {
            self.state.enter(phase, self.tick.load(Ordering::Relaxed));
        }
    }

    /// The client was given bytes to take; its time starts again.
    pub(super) fn moved(&self) {
        self.state.enter(Phase::Client, self.tick.load(Ordering::Relaxed));
    }
}

/// A client's socket that notes when a request begins to arrive.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    progress: Progress,
    head: Head,
    /// There was no room for its head, and it has been told so.
    refused: bool,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, progress: Progress, head: Head) -> Socket {
        Socket { stream, progress, head, refused: false }
    }

    /// Notes `n` bytes that have come. `false` if they are of a head that cannot be carried.
    fn note(&mut self, n: usize) -> bool {
        if self.progress.state.is_idle() {
            self.progress.enter(Phase::ReadingHead);
            self.head.begin();
        }
        if !self.progress.state.is_reading_head() {
            return true;
        }
        match self.head.grow(n) {
            Room::Enough => true,
            Room::Scarce => {
                self.progress.state.finish();
                true
            }
            Room::None => false,
        }
    }

    /// Says that there is no room, and that nothing more will be said.
    fn refuse(&mut self) {
        self.refused = true;
        let socket = SockRef::from(&self.stream);
        let _ = socket.send(NO_ROOM);
        let _ = socket.shutdown(Shutdown::Write);
    }

    /// Reads and forgets until the client ends or the sweep does: closing with bytes unread would reset the connection
    /// before the answer is read.
    fn discard(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let mut bytes = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Err(ErrorKind::ConnectionAborted.into())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.refused {
            return self.discard(cx);
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let n = buffer.filled().len() - before;
        if n > 0 && !self.note(n) {
            buffer.set_filled(before);
            self.refuse();
            return self.discard(cx);
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }
}

/// A protocol's connection that can be asked to finish.
pub(super) trait Finish: Future {
    /// Close once the present request is answered.
    fn finish(self: Pin<&mut Self>);
}

impl<I, B, S> Finish for hyper::server::conn::http1::Connection<I, S>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: Read + Write + Unpin,
    B: hyper::body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Carries a connection until it ends or is told to.
pub(super) struct Carried<C> {
    connection: Pin<Box<C>>,
    state: Arc<ConnectionState>,
    heard: u8,
    registered: bool,
}

impl<C: Finish> Carried<C> {
    pub(super) fn new(connection: C, state: Arc<ConnectionState>) -> Carried<C> {
        Carried { connection: Box::pin(connection), state, heard: Order::Carry as u8, registered: false }
    }
}

impl<C: Finish> Future for Carried<C> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if !this.registered {
            // A task's waker stays good for the task's whole life, so once is enough.
            *this.state.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
            this.registered = true;
        }
        let order = this.state.order.load(Ordering::Relaxed);
        if order != this.heard {
            this.heard = order;
            if order == Order::Cut as u8 {
                return Poll::Ready(());
            }
            this.connection.as_mut().finish();
        }
        this.connection.as_mut().poll(cx).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(phase: Phase, age: Tick, expected: Order) {
        let state = ConnectionState::new(0);
        state.enter(phase, 100);
        state.sweep(100 + age);
        assert_eq!(state.order.load(Ordering::Relaxed), expected as u8, "{phase:?} for {age}");
    }

    #[test]
    fn slow_heads_and_stalled_bodies_are_cut_and_quiet_connections_closed() {
        check(Phase::ReadingHead, 10, Order::Carry);
        check(Phase::ReadingHead, 11, Order::Cut);
        check(Phase::Client, 30, Order::Carry);
        check(Phase::Client, 31, Order::Cut);
        check(Phase::Idle, 75, Order::Carry);
        check(Phase::Idle, 76, Order::Finish);
        check(Phase::Idle, 86, Order::Cut);
        check(Phase::Application, 100_000, Order::Carry);
    }

    #[test]
    fn a_connection_that_never_sends_is_a_slow_sender() {
        let state = ConnectionState::new(5);
        state.sweep(16);
        assert_eq!(state.order.load(Ordering::Relaxed), Order::Cut as u8);
    }

    #[test]
    fn orders_only_grow_stronger() {
        let state = ConnectionState::new(0);
        state.cut();
        state.finish();
        assert_eq!(state.order.load(Ordering::Relaxed), Order::Cut as u8);
    }
}
