//! A connection of HTTP/1 that remembers what it says, so that it can be said again elsewhere.
//!
//! ```text
//!   armed ─► the head's bytes are kept as they go out ─► first byte of an answer: forgotten
//!                                   └ the connection ends before: left to whoever waits for the answer
//! ```
//!
//! A connection may have died in the pool without anybody noticing, and what was written to it is lost. A request that
//! may be sent twice is then sent once more. To keep a copy of each for that would cost more than deciding and tracing it
//! do together; the bytes as they were written cost next to nothing, and are the same to the last letter.

use crate::proxy::stream::Stream;
use http::Method;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// What is kept of a buffer from one request to the next, in bytes; more than nearly every head has.
const KEPT: usize = 4 * 1024;

/// A whole head that was written to a connection and never answered.
#[derive(Debug)]
pub(super) struct Said(Vec<u8>);

impl Said {
    /// The request's method; the answer is read by it.
    pub(super) fn method(&self) -> Option<Method> {
        let end = self.0.iter().position(|&byte| byte == b' ')?;
        Method::from_bytes(&self.0[..end]).ok()
    }
}

/// The end of a connection that whoever sends requests on it holds.
pub(super) struct Memory {
    armed: Arc<AtomicBool>,
    left: oneshot::Receiver<Said>,
}

impl Memory {
    /// The request that is sent next has no body and may be sent twice.
    pub(super) fn arm(&self) {
        self.armed.store(true, Ordering::Relaxed);
    }

    /// Once the connection has ended: the head that it said last, if it was to be kept and nothing came in answer.
    pub(super) async fn said(self) -> Option<Said> {
        self.left.await.ok()
    }
}

/// The bytes of a connection, on their way to and from hyper.
pub(super) struct Wire {
    stream: Stream,
    armed: Arc<AtomicBool>,
    heir: Option<oneshot::Sender<Said>>,
    /// What is written belongs to a head that nobody has answered yet.
    keeps: bool,
    said: Vec<u8>,
    /// How much of that the kernel has taken.
    taken: usize,
    /// Said in place of the first that hyper says, and how much the kernel has taken of it.
    first: Option<(Said, usize)>,
}

impl Wire {
    /// A connection, and what is to be said first on it in place of the first request, if that is one that was lost.
    pub(super) fn new(stream: Stream, first: Option<Said>) -> (Wire, Memory) {
        let (heir, left) = oneshot::channel();
        let armed = Arc::new(AtomicBool::new(false));
        let memory = Memory { armed: Arc::clone(&armed), left };
        let first = first.map(|said| (said, 0));
        (Wire { stream, armed, heir: Some(heir), keeps: false, said: Vec::new(), taken: 0, first }, memory)
    }

    /// Keeps what hyper wants written, which is all that is left of the head.
    fn keep(&mut self, bytes: &[u8]) {
        if self.armed.load(Ordering::Relaxed) {
            self.armed.store(false, Ordering::Relaxed);
            self.keeps = true;
            self.said.clear();
            self.said.shrink_to(KEPT);
            self.taken = 0;
        }
        if self.keeps {
            self.said.truncate(self.taken);
            self.said.extend_from_slice(bytes);
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // hyper hands over a whole head at once; should it ever not, half a request is none.
        if self.keeps
            && self.said.ends_with(b"\r\n\r\n")
            && let Some(heir) = self.heir.take()
        {
            // Nobody waits if the client is gone.
            let _ = heir.send(Said(std::mem::take(&mut self.said)));
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.keeps = false;
        }
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        while let Some((said, taken)) = &mut this.first {
            let left = &said.0[*taken..];
            if left.is_empty() {
                this.first = None;
                return Poll::Ready(Ok(bytes.len()));
            }
            match ready!(Pin::new(&mut this.stream).poll_write(cx, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => *taken += n,
            }
        }
        this.keep(bytes);
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(n)) = written {
            this.taken += n;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    const HEAD: &[u8] = b"GET / HTTP/1.1\r\nX-Odd: 1\r\n\r\n";

    async fn connected(first: Option<Said>) -> (Wire, Memory, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (application, _) = listener.accept().await.unwrap();
        let (wire, memory) = Wire::new(Stream::plain(stream), first);
        (wire, memory, application)
    }

    #[tokio::test]
    async fn a_head_that_nobody_answered_is_left_behind_whole() {
        let (mut wire, memory, _application) = connected(None).await;
        memory.arm();
        // The kernel took seven bytes of what it was offered first.
        wire.keep(HEAD);
        wire.taken = 7;
        wire.keep(&HEAD[7..]);
        drop(wire);
        let said = memory.said().await.unwrap();
        assert_eq!((&said.0[..], said.method()), (HEAD, Some(Method::GET)));
    }

    #[tokio::test]
    async fn only_the_last_request_is_remembered() {
        let (mut wire, memory, _application) = connected(None).await;
        for head in [&b"PUT /a HTTP/1.1\r\n\r\n"[..], HEAD] {
            memory.arm();
            wire.write_all(head).await.unwrap();
        }
        drop(wire);
        assert_eq!(memory.said().await.unwrap().0, HEAD);
    }

    #[tokio::test]
    async fn nothing_is_left_of_what_was_answered_was_not_to_be_kept_or_is_no_head() {
        for (armed, answered, bytes) in [(true, true, HEAD), (false, false, HEAD), (true, false, &HEAD[..9])]
        {
            let (mut wire, memory, mut application) = connected(None).await;
            if armed {
                memory.arm();
            }
            wire.write_all(bytes).await.unwrap();
            if answered {
                application.write_all(b"H").await.unwrap();
                assert_eq!(wire.read(&mut [0]).await.unwrap(), 1);
                // What follows on a connection that was upgraded is kept by nobody.
                wire.write_all(HEAD).await.unwrap();
            }
            drop(wire);
            assert!(memory.said().await.is_none(), "{armed} {answered} {bytes:?}");
        }
    }

    #[tokio::test]
    async fn what_was_lost_takes_the_place_of_what_is_said_first() {
        let (mut wire, _memory, mut application) = connected(Some(Said(HEAD.to_vec()))).await;
        wire.write_all(b"in its place").await.unwrap();
        wire.write_all(b"next").await.unwrap();
        drop(wire);
        let mut heard = Vec::new();
        application.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, [HEAD, b"next"].concat());
    }
}
