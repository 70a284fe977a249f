//! Takes the sidecars' datagrams as the X-Ray daemon would: a header line, then one document.

use super::{DemoError, World};
use crate::store::Inserted;
use socket2::{Domain, Protocol, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep};

/// The largest datagram there is.
const MAX_DATAGRAM: usize = 65_536;
/// Asked of the kernel, so that a pause of this process loses nothing; it may give less.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;
/// So long without a datagram means that none is on its way.
const QUIET: Duration = Duration::from_millis(300);

/// Receives until the process ends.
pub(super) struct Receiver {
    /// Where the sidecars send.
    pub(super) address: SocketAddr,
    counts: Arc<(AtomicU64, AtomicU64)>,
}

/// Datagrams so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Received {
    pub(super) datagrams: u64,
    pub(super) refused: u64,
}

pub(super) async fn start(world: Arc<World>) -> Result<Receiver, DemoError> {
    let io = |error| DemoError::Io("listen for segments", error);
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).map_err(io)?;
    // Less than asked for is no reason to stop.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.set_nonblocking(true).map_err(io)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).map_err(io)?;
    let socket = UdpSocket::from_std(socket.into()).map_err(io)?;
    let address = socket.local_addr().map_err(io)?;
    let counts = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
    let counting = counts.clone();
    tokio::spawn(async move {
        let mut datagram = vec![0; MAX_DATAGRAM];
        loop {
            // An error here is the kernel's word on an earlier answer; a receiver sends none, so it passes.
            let Ok(length) = socket.recv(&mut datagram).await else { continue };
            counting.0.fetch_add(1, Ordering::Relaxed);
            let stored = document(&datagram[..length]).map(|json| world.store.insert(json));
            if stored.is_none_or(|inserted| matches!(inserted, Inserted::Refused(_))) {
                counting.1.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    Ok(Receiver { address, counts })
}

impl Receiver {
    pub(super) fn counts(&self) -> Received {
        let (datagrams, refused) =
            (self.counts.0.load(Ordering::Relaxed), self.counts.1.load(Ordering::Relaxed));
        Received { datagrams, refused }
    }

    /// Waits until no more comes, at most `limit`.
    pub(super) async fn settle(&self, limit: Duration) {
        let end = Instant::now() + limit;
        let mut before = u64::MAX;
        while before != self.counts().datagrams && Instant::now() < end {
            before = self.counts().datagrams;
            sleep(QUIET).await;
        }
    }
}

/// The document of a datagram; `None` without the daemon's header line.
fn document(datagram: &[u8]) -> Option<&[u8]> {
    let end = datagram.iter().position(|byte| *byte == b'\n')?;
    let header: serde_json::Value = serde_json::from_slice(&datagram[..end]).ok()?;
    let is_json = header.get("format")?.as_str()?.eq_ignore_ascii_case("json");
    (is_json && header.get("version")?.as_u64()? == 1).then_some(&datagram[end + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_daemon_takes_is_taken() {
        assert_eq!(document(b"{\"format\":\"json\",\"version\":1}\n{}"), Some(&b"{}"[..]));
        assert_eq!(document(b"{\"format\": \"JSON\", \"version\": 1}\r\n{}"), Some(&b"{}"[..]));
        assert_eq!(document(b"{\"format\":\"json\",\"version\":2}\n{}"), None);
        assert_eq!(document(b"{\"format\":\"json\",\"version\":1}"), None);
        assert_eq!(document(b"{}"), None);
    }
}
