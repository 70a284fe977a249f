//! The X-Ray daemon's datagrams: a header line and one document each.
//!
//! UDP tells little. What it does tell is counted: nobody listening on this host comes back as "connection refused"
//! at once, and from another host with a later send. Names are resolved off the request path, again every
//! `RESOLVE_AGAIN` and after an error, because a daemon's task may get another address.

use super::counts::Complaints;
use super::{DropReason, Intake, SinkCounts};
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

pub(super) async fn run(address: UdpAddress, mut intake: Intake, counts: Arc<SinkCounts>) {
    let mut batch = Vec::new();
    let mut first = true;
    let mut datagram = HEADER.to_vec();
    let mut line = Line { address, socket: None, used_until: Instant::now(), blocked_until: None };
    let mut complaints = Complaints::default();
    let destination = format!("udp://{}", line.address);
    while intake.next(&mut batch, first).await {
        first = false;
        for segment in &batch {
            datagram.truncate(HEADER.len());
            segment.write_json(&mut datagram);
            match line.send(&datagram).await {
                Ok(()) => counts.emitted(datagram.len() - HEADER.len()),
                Err(reason) => counts.dropped(reason, 1),
            }
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
    async fn send(&mut self, datagram: &[u8]) -> Result<(), DropReason> {
        if datagram.len() > MAX_DATAGRAM {
            return Err(DropReason::TooLarge);
        }
        let socket = match self.socket.take() {
            Some(socket) if Instant::now() < self.used_until => socket,
            stale => match self.open().await {
                Ok(socket) => socket,
                // A resolver that is down for a while is no reason to give up an address that worked.
                Err(reason) => stale.ok_or(reason)?,
            },
        };
        let socket = self.socket.insert(socket);
        // A refusal that was told since the last send concerns an earlier datagram, most likely one to a daemon that
        // is coming back just now; it was counted then or is counted with the next.
        let sent = match timeout(STALL_LIMIT, socket.send(datagram)).await {
            Err(_) => return Err(DropReason::Stalled),
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                return Err(DropReason::Refused);
            }
            Ok(sent) => sent,
        };
        match (sent, socket.take_error()) {
            // On the same host the refusal is there as soon as the datagram was sent.
            (Ok(_), Ok(Some(error))) if error.kind() == ErrorKind::ConnectionRefused => {
                Err(DropReason::Refused)
            }
            (Ok(_), _) => Ok(()),
            (Err(error), _) if is_too_large(&error) => Err(DropReason::TooLarge),
            (Err(_), _) => {
                self.socket = None;
                Err(DropReason::Error)
            }
        }
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
