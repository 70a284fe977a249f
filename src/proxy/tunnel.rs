//! Upgraded connections: after a 101 that was asked for, bytes go both ways until both sides have ended.
//!
//! Only tokens that this hop does not have to understand are handed on. `h2c` is none of them: it asks the next hop to
//! speak HTTP/2 with the client, past this one. RFC 9110 7.8 lets a server ignore an upgrade, and so it is left out.

use super::Worker;
use super::accept::Registered;
use super::connection::{Carried, ConnectionState, Phase, ToItsEnd};
use super::received::Received;
use super::socket::Socket;
use super::stream::Stream;
use crate::http1::Upgraded;
use crate::telemetry::WorkerTally;
use http::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use http::{Request, Version};
use http_body::Body;
use pin_project_lite::pin_project;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};
use tokio::sync::oneshot;

/// What one direction of a tunnel may hold, in bytes; a side that does not read stops the other at that.
const BUFFER: usize = 16 * 1024;

/// An upgrade that the application is asked for.
pub(super) struct Asked {
    client: oneshot::Receiver<Upgraded<Socket>>,
    protocols: HeaderValue,
}

impl Asked {
    /// Takes the wish out of a request, if it is one that can be granted.
    pub(super) fn of(request: &Request<Received>) -> Option<Asked> {
        let asks = request.version() == Version::HTTP_11
            // Bytes of a body and bytes of the new protocol would have to be told apart by both sides.
            && request.body().is_end_stream()
            && tokens(request.headers(), &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
        if !asks {
            return None;
        }
        let protocols: Vec<&str> = tokens(request.headers(), &UPGRADE)
            .filter(|token| !token.eq_ignore_ascii_case("h2c") && !token.eq_ignore_ascii_case("h2"))
            .collect();
        let protocols =
            HeaderValue::from_str(&protocols.join(", ")).ok().filter(|value| !value.is_empty())?;
        let Received::Http1(body) = request.body() else { return None };
        Some(Asked { client: body.upgrade(), protocols })
    }

    /// Puts the wish into the request that the application gets.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        headers.append(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, self.protocols.clone());
    }

    /// Whether the application switched to something that was asked for.
    pub(super) fn is_granted_by(&self, headers: &HeaderMap) -> bool {
        let asked = self.protocols.to_str().unwrap_or_default();
        let mut chosen = tokens(headers, &UPGRADE).peekable();
        chosen.peek().is_some()
            && chosen.all(|chosen| asked.split(", ").any(|asked| asked.eq_ignore_ascii_case(chosen)))
    }

    /// Carries bytes both ways from the moment the client has its 101.
    pub(super) fn open(self, worker: &Rc<Worker>, mut application: Upgraded<Stream>) {
        let state = Arc::new(ConnectionState::new(worker.tick()));
        // Without limits: neither side has to say anything, for as long as it likes.
        state.enter(Phase::Application, worker.tick());
        let registered = Registered::new(worker, &state);
        let tally = Arc::clone(&worker.tally);
        tokio::task::spawn_local(async move {
            let _registered = registered;
            let carried = ToItsEnd(Box::pin(async move {
                // It is gone if the client did not wait for its 101.
                let Ok(client) = self.client.await else { return };
                let mut client = Counted { stream: client, tally: Arc::clone(&tally) };
                let _open = Open::new(tally);
                // However it ended, both connections end with it; there is nobody to tell.
                let _ = copy_bidirectional_with_sizes(&mut client, &mut application, BUFFER, BUFFER).await;
            }));
            Carried::new(carried, state).await;
        });
    }
}

/// The elements of a list header.
fn tokens<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

/// One open tunnel, in the gauge.
struct Open(Arc<WorkerTally>);

impl Open {
    fn new(tally: Arc<WorkerTally>) -> Open {
        tally.tunnels.add(1);
        Open(tally)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.tunnels.sub(1);
    }
}

pin_project! {
    /// The client's side of a tunnel, which counts.
    struct Counted {
        #[pin]
        stream: Upgraded<Socket>,
        tally: Arc<WorkerTally>,
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.project();
        let before = buffer.filled().len();
        let read = ready!(this.stream.poll_read(cx, buffer));
        this.tally.tunnel_bytes_in.add((buffer.filled().len() - before) as u64);
        Poll::Ready(read)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.project();
        let written = ready!(this.stream.poll_write(cx, bytes));
        if let Ok(n) = written {
            this.tally.tunnel_bytes_out.add(n as u64);
        }
        Poll::Ready(written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().stream.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().stream.poll_shutdown(cx)
    }
}
