//! The X-Ray daemon's datagrams: a header line and one document each.
//!
//! UDP tells little. What it does tell is counted: nobody listening on this host comes back as "connection refused"
//! with the next send, and from another host with a later one. So a document counts as sent when the next one is, or
//! when the socket has nothing to complain of at the end of the batch. Names are resolved off the request path, again every
//! `RESOLVE_AGAIN` and after an error, because a daemon's task may get another address.

use super::counts::Complaints;
use super::{DropReason, Intake};
use crate::config::UdpAddress;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};

/// The line in front of each document, as the daemon wants it.
pub const HEADER: &[u8] = b"{\"format\":\"json\",\"version\":1}\n";
/// What fits into one datagram, header line included.
pub const MAX_DATAGRAM: usize = 65_507;

/// How long an answer of the resolver is used.
const RESOLVE_AGAIN: Duration = Duration::from_secs(30);
/// How long after a failed attempt the next one may be made.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long the resolver may take.
const RESOLVE_LIMIT: Duration = Duration::from_secs(2);
/// How long a full socket buffer is waited for.
const STALL_LIMIT: Duration = Duration::from_millis(100);

pub(super) async fn run(address: UdpAddress, mut intake: Intake) {
    let counts = Arc::clone(&intake.counts);
    let mut batch = Vec::new();
    let mut datagram = HEADER.to_vec();
    let mut line = Line { address, socket: None, used_until: Instant::now(), blocked_until: None };
    let mut complaints = Complaints::default();
    let destination = format!("udp://{}", line.address);
    while intake.next(&mut batch).await {
        line.renew().await;
        // The size of a document that was sent and may still be refused.
        let mut sent = None;
        for (n, segment) in batch.iter().enumerate() {
            datagram.truncate(HEADER.len());
            segment.write_json(&mut datagram);
            let mut outcome = line.send(&datagram).await;
            if outcome == Err(DropReason::Refused) {
                // That was the one before, or one of an earlier batch; this one has not been sent.
                counts.dropped(DropReason::Refused, u64::from(sent.take().is_some()));
                outcome = line.send(&datagram).await;
            }
            if let Some(bytes) = sent.take() {
                counts.emitted(bytes);
            }
            match outcome {
                Ok(()) => sent = Some(datagram.len() - HEADER.len()),
                Err(reason) => counts.dropped(reason, 1),
            }
            if outcome == Err(DropReason::Stalled) && intake.gives_up(&batch[n + 1..]) {
                break;
            }
        }
        match sent {
            Some(_) if line.is_refused() => counts.dropped(DropReason::Refused, 1),
            Some(bytes) => counts.emitted(bytes),
            None => {}
        }
        complaints.look(&counts, &destination);
    }
}

/// A socket and what is known of the way to the daemon.
struct Line {
    address: UdpAddress,
    socket: Option<UdpSocket>,
    /// After this the name is resolved again.
    used_until: Instant,
    /// Before this no new attempt is made.
    blocked_until: Option<Instant>,
}

impl Line {
    /// Resolves the name again if it is time to; a resolver that is down for a while is no reason to give up an address
    /// that worked.
    async fn renew(&mut self) {
        if self.socket.is_some()
            && Instant::now() >= self.used_until
            && let Ok(socket) = self.open().await
        {
            self.socket = Some(socket);
        }
    }

    /// Sends one datagram. A refusal is that of an earlier one if there was one, and then this one was not sent.
    async fn send(&mut self, datagram: &[u8]) -> Result<(), DropReason> {
        if datagram.len() > MAX_DATAGRAM {
            return Err(DropReason::TooLarge);
        }
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => self.open().await?,
        };
        let socket = self.socket.insert(socket);
        let sent = match socket.try_send(datagram) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                match timeout(STALL_LIMIT, socket.send(datagram)).await {
                    Err(_) => return Err(DropReason::Stalled),
                    Ok(sent) => sent,
                }
            }
            sent => sent,
        };
        match sent {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Err(DropReason::Refused),
            Err(error) if is_too_large(&error) => Err(DropReason::TooLarge),
            Err(_) => {
                self.socket = None;
                Err(DropReason::Error)
            }
        }
    }

    /// Whether the last datagram was refused: on the same host that is known as soon as it was sent.
    fn is_refused(&self) -> bool {
        let error = self.socket.as_ref().map(UdpSocket::take_error);
        matches!(error, Some(Ok(Some(error))) if error.kind() == ErrorKind::ConnectionRefused)
    }

    /// A fresh socket, connected, so that refusals are told.
    async fn open(&mut self) -> Result<UdpSocket, DropReason> {
        let now = Instant::now();
        if self.blocked_until.is_some_and(|until| now < until) {
            return Err(DropReason::Unresolved);
        }
        self.blocked_until = Some(now + RETRY_AFTER);
        self.used_until = now + RESOLVE_AGAIN;
        let name = self.address.to_string();
        let addresses = timeout(RESOLVE_LIMIT, tokio::net::lookup_host(name)).await;
        let Ok(Ok(addresses)) = addresses else { return Err(DropReason::Unresolved) };
        for address in addresses {
            let local = match address {
                SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
            };
            let Ok(socket) = UdpSocket::bind(local).await else { continue };
            if socket.connect(address).await.is_ok() {
                self.blocked_until = None;
                return Ok(socket);
            }
        }
        Err(DropReason::Unresolved)
    }
}

/// `EMSGSIZE`: an interface or a kernel takes less than UDP's own limit.
fn is_too_large(error: &std::io::Error) -> bool {
    const EMSGSIZE: i32 = 90;
    error.raw_os_error() == Some(EMSGSIZE)
}
