//! A client's socket: notes when a request begins to arrive, and minds what HTTP/2 clients send beside requests.

use super::connection::Progress;
use super::frames::FrameMeter;
use super::stream::Stream;
use crate::telemetry::{Refusal, WorkerTally};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A client's socket under watch.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Stream,
    progress: Progress,
    watch: Watch,
}

#[derive(Debug)]
enum Watch {
    /// HTTP/1: bytes after silence are a request's head.
    Heads,
    /// HTTP/2: what is a request is told by the streams; the frames between them are counted.
    Frames(Box<FrameMeter>, Arc<WorkerTally>),
}

impl Socket {
    pub(super) fn http1(stream: Stream, progress: Progress) -> Socket {
        Socket { stream, progress, watch: Watch::Heads }
    }

    pub(super) fn http2(stream: Stream, progress: Progress, tally: Arc<WorkerTally>) -> Socket {
        Socket { stream, progress, watch: Watch::Frames(Box::new(FrameMeter::new()), tally) }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let came = &buffer.filled()[before..];
        if !came.is_empty() {
            match &mut this.watch {
                Watch::Heads => this.progress.begin(),
                Watch::Frames(meter, tally) => {
                    if meter.read(came, this.progress.tick()).is_err() {
                        tally.refused(Refusal::Flood);
                        return Poll::Ready(Err(io::Error::other("too many frames that carry nothing")));
                    }
                }
            }
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }
}
