//! A client's socket: notes when a request begins to arrive, and minds what HTTP/2 clients send beside requests and what
//! they are refused.

use super::answers;
use super::connection::{Arrival, Phase, Progress};
use super::frames::{FrameMeter, RefusedStreams};
use super::heads::{Head, Room};
use super::stream::Stream;
use crate::telemetry::{Refusal, WorkerTally};
use bytes::Bytes;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Said where there is no room for a head.
const NO_ROOM: &str = "too many bytes of request heads";

/// A client's socket under watch.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Stream,
    progress: Progress,
    watch: Watch,
    /// The client was told that nothing more will be said.
    is_shut: bool,
}

#[derive(Debug)]
enum Watch {
    /// HTTP/1: bytes after silence are a request's head. Kept also when there was no room for it: what the connection
    /// took is held until it is closed.
    Heads(Head),
    /// HTTP/2: what is a request is told by the streams; the frames between them are counted.
    Frames(Box<Frames>),
    /// A tunnel: nothing that comes is ours to look at, and no room for heads is taken.
    Nothing,
}

/// The frames of a connection of HTTP/2.
#[derive(Debug)]
struct Frames {
    read: FrameMeter,
    refused: RefusedStreams,
    tally: Arc<WorkerTally>,
}

impl Frames {
    /// Notes bytes that have gone.
    fn written(&mut self, bytes: &[u8]) {
        for _ in 0..self.refused.written(bytes) {
            self.tally.refused(Refusal::Streams);
        }
    }
}

impl Socket {
    pub(super) fn http1(stream: Stream, progress: Progress, head: Head) -> Socket {
        Socket { stream, progress, watch: Watch::Heads(head), is_shut: false }
    }

    pub(super) fn http2(stream: Stream, progress: Progress, tally: Arc<WorkerTally>) -> Socket {
        let frames = Frames { read: FrameMeter::new(), refused: RefusedStreams::new(), tally };
        Socket { stream, progress, watch: Watch::Frames(Box::new(frames)), is_shut: false }
    }

    /// The client is to see that it was cut off.
    pub(super) fn cut(&self) {
        self.stream.reset_at_end();
    }

    /// The next request may begin. If bytes of its head came with the request before it, it has begun; they are taken away if
    /// there is no room for them.
    pub(super) fn begins(&mut self, bytes: &mut Bytes) {
        let Watch::Heads(head) = &mut self.watch else { return };
        // However the last body came to its end: what nobody wanted was passed over.
        self.progress.owe_body(false);
        if bytes.is_empty() {
            self.progress.rest();
            return;
        }
        self.progress.enter(Phase::ReadingHead);
        head.begin();
        if self.grow(bytes.len()).is_err() {
            bytes.clear();
            self.refuse();
        }
    }

    /// So many more bytes of the present head have come.
    fn grow(&mut self, n: usize) -> Result<(), Stop> {
        let Watch::Heads(head) = &mut self.watch else { return Ok(()) };
        match head.grow(n) {
            Room::Enough => Ok(()),
            Room::Scarce => {
                self.progress.finish();
                Ok(())
            }
            Room::None => Err(Stop::NoRoom),
        }
    }

    /// Notes bytes that have come.
    fn note(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        match &mut self.watch {
            // RFC 9112 2.2: some send an empty line after a body. No head begins with it.
            Watch::Heads(_) if bytes == b"\r\n" && self.progress.is_idle() => Ok(()),
            Watch::Heads(head) => {
                match self.progress.arrived() {
                    Arrival::HeadBegins => head.begin(),
                    Arrival::Head => {}
                    Arrival::Body => return Ok(()),
                    Arrival::Tunnel => {
                        self.watch = Watch::Nothing;
                        return Ok(());
                    }
                }
                self.grow(bytes.len())
            }
            Watch::Frames(frames) => frames.read.read(bytes, self.progress.tick()).map_err(|_| {
                frames.tally.refused(Refusal::Flood);
                Stop::Flood
            }),
            Watch::Nothing => Ok(()),
        }
    }

    /// Says that there is no room, and that nothing more will be said.
    fn refuse(&mut self) {
        self.stream.say_last(&answers::overloaded(NO_ROOM));
    }

    /// Whether the client is likely to go on sending after our end.
    fn lingers(&self) -> bool {
        matches!(self.watch, Watch::Heads(_)) && self.progress.owes_body()
    }

    fn is_refused(&self) -> bool {
        matches!(&self.watch, Watch::Heads(head) if head.is_refused())
    }

    /// Reads and forgets until the client ends or the sweep does: closing with bytes unread would reset the connection
    /// before the answer is read.
    fn discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// Why a socket is read no further.
enum Stop {
    NoRoom,
    Flood,
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_refused() {
            return self.discard(cx);
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let came = &buffer.filled()[before..];
        if came.is_empty() {
            return read;
        }
        match self.note(came) {
            Ok(()) => read,
            Err(Stop::NoRoom) => {
                buffer.set_filled(before);
                self.refuse();
                self.discard(cx)
            }
            Err(Stop::Flood) => Poll::Ready(Err(io::Error::other("too many frames that carry nothing"))),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        if let (Watch::Frames(frames), Poll::Ready(Ok(n))) = (&mut this.watch, &written) {
            frames.written(&bytes[..*n]);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Says the end. A client that was answered before it had sent its whole body is then read to its own end, or it would
    /// be reset while it sends, and most never look for an answer after that.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.is_shut = true;
        }
        if !self.lingers() {
            return Poll::Ready(Ok(()));
        }
        self.progress.enter(Phase::Lingering);
        // However it ends, it was answered.
        self.discard(cx).map(|_| Ok(()))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        if let (Watch::Frames(frames), Poll::Ready(Ok(n))) = (&mut this.watch, &written) {
            let mut left = *n;
            for slice in slices {
                let gone = left.min(slice.len());
                frames.written(&slice[..gone]);
                left -= gone;
            }
        }
        written
    }
}
