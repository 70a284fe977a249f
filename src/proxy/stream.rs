//! A byte stream to a client or to the application, with TLS or without.

use pin_project_lite::pin_project;
use socket2::SockRef;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pin_project! {
    /// One type for both, so that the HTTP code exists once.
    #[project = Projected]
    #[derive(Debug)]
    pub(super) enum Stream {
        Plain { #[pin] stream: TcpStream },
        // Boxed: a plain stream, the usual one, should not take a TLS session's room.
        Tls { stream: Pin<Box<tokio_rustls::TlsStream<TcpStream>>> },
    }
}

impl Stream {
    pub(super) fn plain(stream: TcpStream) -> Stream {
        Stream::Plain { stream }
    }

    pub(super) fn tls(stream: impl Into<tokio_rustls::TlsStream<TcpStream>>) -> Stream {
        Stream::Tls { stream: Box::pin(stream.into()) }
    }

    /// Says a few bytes past everybody who writes, and that they are the last. With TLS, only the latter.
    pub(super) fn say_last(&self, bytes: &[u8]) {
        let socket = match self {
            Stream::Plain { stream } => {
                // The socket itself is asked: the runtime may not know yet that it can be written to.
                let socket = SockRef::from(stream);
                let _ = socket.send(bytes);
                socket
            }
            Stream::Tls { stream } => SockRef::from(stream.get_ref().0),
        };
        let _ = socket.shutdown(Shutdown::Write);
    }

    /// Closing resets the connection instead of ending it in peace.
    pub(super) fn reset_at_end(&self) {
        let socket = match self {
            Stream::Plain { stream } => SockRef::from(stream),
            Stream::Tls { stream } => SockRef::from(stream.get_ref().0),
        };
        let _ = socket.set_linger(Some(Duration::ZERO));
    }

    /// As in a URL.
    pub(super) fn scheme(&self) -> &'static str {
        match self {
            Stream::Plain { .. } => "http",
            Stream::Tls { .. } => "https",
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.project() {
            Projected::Plain { stream } => stream.poll_read(cx, buffer),
            Projected::Tls { stream } => stream.as_mut().poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.project() {
            Projected::Plain { stream } => stream.poll_write(cx, bytes),
            Projected::Tls { stream } => stream.as_mut().poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.project() {
            Projected::Plain { stream } => stream.poll_flush(cx),
            Projected::Tls { stream } => stream.as_mut().poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.project() {
            Projected::Plain { stream } => stream.poll_shutdown(cx),
            Projected::Tls { stream } => stream.as_mut().poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain { stream } => stream.is_write_vectored(),
            Stream::Tls { stream } => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.project() {
            Projected::Plain { stream } => stream.poll_write_vectored(cx, slices),
            Projected::Tls { stream } => stream.as_mut().poll_write_vectored(cx, slices),
        }
    }
}
