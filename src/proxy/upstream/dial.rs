//! Opens a connection to the application and learns what is spoken on it.

use super::names::Names;
use super::outbound::Outbound;
use super::{Failed, MAX_STREAMS, classify};
use crate::config::{Scheme, Target};
use crate::http1::client;
use crate::proxy::received::BrokenOff;
use crate::proxy::stream::Stream;
use crate::proxy::{LocalExecutor, Shared};
use crate::telemetry::{Handshake, TlsSide, UpstreamError, WorkerTally};
use crate::tls::Outbound as Tls;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::Cell;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Between two attempts to reach an application that is not up yet.
const STARTUP_PAUSE: Duration = Duration::from_millis(20);
/// The most an application's head may hold; far more than an answer has, far less than would hurt.
const MAX_HEADER_LIST: u32 = 256 * 1024;
/// What the application may send ahead on one stream, in bytes, and on the connection: answers that nobody takes must leave
/// room for all the others.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = MAX_STREAMS as u32 * STREAM_WINDOW;
/// What is kept of a request's body that the application does not take, per stream.
const SEND_BUFFER: usize = 64 * 1024;

/// A fresh connection, by what is spoken on it.
pub(super) enum Dialled {
    Http1(client::Connection<Stream, Outbound>),
    Http2(http2::SendRequest<Outbound>),
}

/// Which protocols will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Speak {
    /// Whatever the target's scheme leads to.
    Any,
    /// HTTP/1.1: upgrades exist nowhere else.
    Http1,
}

/// Opens connections to one target.
pub(super) struct Dialler {
    pub(super) target: Target,
    names: Names,
    connect_timeout: Duration,
    tls: Option<Arc<Tls>>,
    http2: http2::Builder<LocalExecutor>,
    /// The application has accepted a connection at least once.
    seen: Cell<bool>,
    /// What it chose last, where it has the choice.
    chose_http2: Cell<bool>,
}

impl Dialler {
    pub(super) fn new(shared: &Shared) -> Dialler {
        let mut http2 = http2::Builder::new(LocalExecutor);
        http2
            .timer(TokioTimer::new())
            .max_header_list_size(MAX_HEADER_LIST)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER);
        Dialler {
            names: Names::new(&shared.upstream.host, shared.upstream.port),
            target: shared.upstream.clone(),
            connect_timeout: shared.connect_timeout,
            tls: shared.upstream_tls.clone(),
            http2,
            seen: Cell::new(false),
            chose_http2: Cell::new(true),
        }
    }

    /// A connection will most likely be one of HTTP/2.
    pub(super) fn expects_http2(&self) -> bool {
        match self.target.scheme {
            Scheme::Http => false,
            Scheme::H2c => true,
            Scheme::Https => self.chose_http2.get(),
        }
    }

    /// Until when a request that comes now waits for a connection.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.connect_timeout
    }

    /// There is none by then.
    pub(super) fn late(&self) -> Failed {
        let detail = format!("no connection within {:?} (setting `connect_timeout`)", self.connect_timeout);
        Failed { error: UpstreamError::Timeout, detail }
    }

    /// Connects and agrees on a protocol. A connection of HTTP/2 is carried by a task that is left behind.
    pub(super) async fn dial(
        &self,
        speak: Speak,
        deadline: Instant,
        tally: &WorkerTally,
    ) -> Result<Dialled, Failed> {
        let stream = self.connect(deadline).await?;
        self.seen.set(true);
        let _ = stream.set_nodelay(true);
        match self.target.scheme {
            Scheme::Http => Ok(Dialled::Http1(client::Connection::new(Stream::plain(stream)))),
            Scheme::H2c if speak == Speak::Http1 => {
                let detail = "an upgrade needs HTTP/1.1".to_owned();
                Err(Failed { error: UpstreamError::Protocol, detail })
            }
            Scheme::H2c => self.speak_http2(Stream::plain(stream)).await,
            Scheme::Https => {
                let stream = self.shake_hands(stream, speak, deadline, tally).await?;
                let chose_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                if speak == Speak::Any {
                    self.chose_http2.set(chose_http2);
                }
                let stream = Stream::tls(stream);
                if chose_http2 {
                    self.speak_http2(stream).await
                } else {
                    Ok(Dialled::Http1(client::Connection::new(stream)))
                }
            }
        }
    }

    async fn shake_hands(
        &self,
        stream: TcpStream,
        speak: Speak,
        deadline: Instant,
        tally: &WorkerTally,
    ) -> Result<TlsStream<TcpStream>, Failed> {
        let Some(tls) = &self.tls else {
            let detail = "no TLS is configured".to_owned();
            return Err(Failed { error: UpstreamError::Tls, detail });
        };
        let mut config = tls.config();
        if speak == Speak::Http1 {
            let mut http1 = rustls::ClientConfig::clone(&config);
            http1.alpn_protocols = vec![b"http/1.1".to_vec()];
            config = Arc::new(http1);
        }
        let handshake = TlsConnector::from(config).connect(tls.server_name(), stream);
        let (counted, result) = match timeout_at(deadline, handshake).await {
            Ok(Ok(stream)) => (Handshake::Done, Ok(stream)),
            Ok(Err(error)) => {
                let failed = Failed { error: UpstreamError::Tls, detail: error.to_string() };
                (Handshake::Failed, Err(failed))
            }
            Err(_) => {
                let detail =
                    format!("no TLS handshake within {:?} (setting `connect_timeout`)", self.connect_timeout);
                (Handshake::TimedOut, Err(Failed { error: UpstreamError::Timeout, detail }))
            }
        };
        tally.handshake(TlsSide::Upstream, counted);
        result
    }

    async fn speak_http2(&self, stream: Stream) -> Result<Dialled, Failed> {
        let handshake = self.http2.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| classify(&BrokenOff::Http2(error)))?;
        tokio::task::spawn_local(async move {
            let _ = connection.await;
        });
        Ok(Dialled::Http2(sender))
    }

    /// Connects within the limit. An application that was never reached may still be starting: it is waited for.
    async fn connect(&self, deadline: Instant) -> Result<TcpStream, Failed> {
        loop {
            let connecting = async { TcpStream::connect(&*self.names.look_up().await?).await };
            let error = match timeout_at(deadline, connecting).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => error,
                Err(_) => return Err(self.late()),
            };
            let starting = error.kind() == ErrorKind::ConnectionRefused && !self.seen.get();
            if !starting || Instant::now() + STARTUP_PAUSE >= deadline {
                let kind = match error.kind() {
                    ErrorKind::ConnectionRefused => UpstreamError::Refused,
                    ErrorKind::TimedOut => UpstreamError::Timeout,
                    ErrorKind::ConnectionReset => UpstreamError::Reset,
                    _ => UpstreamError::Unreachable,
                };
                return Err(Failed { error: kind, detail: error.to_string() });
            }
            sleep(STARTUP_PAUSE).await;
        }
    }
}
