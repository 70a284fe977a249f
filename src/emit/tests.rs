//! Lanes against real sockets, in real time but with nothing slept on.

use super::*;
use crate::config::UdpAddress;
use crate::moment::Moment;
use crate::sampling::Verdict;
use crate::segment::{Client, Hop, Identity, Outcome, RequestFacts};
use crate::store::Limits;
use crate::trace::{SegmentId, TraceId};
use counts::Snapshot;
use std::net::UdpSocket;

fn segment(n: u64) -> Segment {
    let hop = Hop {
        trace: TraceId::new(1, [7; 12]),
        id: SegmentId::new(n),
        parent: None,
        application: SegmentId::new(n + 1),
        opened: Moment::new(1, 1),
        verdict: Verdict::Rate,
        rule: None,
        disowned: None,
        standby: None,
    };
    let client = Client { address: "127.0.0.1".parse().unwrap(), forwarded: false };
    let facts =
        RequestFacts { scheme: "http", host: "h", path: "/", method: "GET", user_agent: None, client };
    hop.close(&Arc::new(Identity::default()), &facts, Outcome::default())
}

fn udp(address: std::net::SocketAddr) -> Destination {
    Destination::Udp(UdpAddress { host: address.ip().to_string(), port: address.port() })
}

fn store() -> Arc<Store> {
    Arc::new(Store::new(Limits::default()))
}

fn totals(emitter: &Emitter) -> Vec<Snapshot> {
    emitter.counts().map(|counts| counts.snapshot()).collect()
}

#[track_caller]
fn balanced(snapshot: &Snapshot) {
    let Snapshot { offered, emitted, dropped, rejected, queued, .. } = *snapshot;
    assert_eq!(offered, emitted + dropped + rejected + queued, "{snapshot:?}");
}

async fn flush(lanes: Lanes) {
    lanes.flush(Instant::now() + Duration::from_secs(5)).await;
}

#[tokio::test]
async fn every_sink_gets_every_segment_and_the_accounts_balance() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = udp(socket.local_addr().unwrap());
    let store = store();
    let (emitter, lanes) = Emitter::start(&[address, Destination::Store, Destination::None], &store);
    for n in 1..=20 {
        emitter.offer(segment(n));
    }
    totals(&emitter).iter().for_each(balanced);
    flush(lanes).await;
    for snapshot in totals(&emitter) {
        balanced(&snapshot);
        assert_eq!((snapshot.offered, snapshot.emitted), (20, 20));
    }
    let mut datagram = [0; 65_536];
    let n = socket.recv(&mut datagram).unwrap();
    assert!(datagram[..n].starts_with(b"{\"format\":\"json\",\"version\":1}\n{\"id\":\"0000000000000001\""));
    assert_eq!(store.stats().traces, 1);
}

#[tokio::test]
async fn a_daemon_that_is_not_there_is_counted_and_holds_up_nobody() {
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (emitter, lanes) = Emitter::start(&[udp(free)], &store());
    for n in 1..=10 {
        emitter.offer(segment(n));
    }
    flush(lanes).await;
    let counts = emitter.counts().next().unwrap();
    balanced(&counts.snapshot());
    assert_eq!((counts.snapshot().emitted, counts.dropped_for(DropReason::Refused)), (0, 10));
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_counted() {
    let address = UdpAddress { host: "no-such-host.invalid".to_owned(), port: 2000 };
    let (emitter, lanes) = Emitter::start(&[Destination::Udp(address)], &store());
    emitter.offer(segment(1));
    flush(lanes).await;
    assert_eq!(emitter.counts().next().unwrap().dropped_for(DropReason::Unresolved), 1);
}

#[tokio::test]
async fn a_full_queue_drops_the_oldest_and_says_so() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (emitter, lanes) = Emitter::start(&[udp(socket.local_addr().unwrap())], &store());
    // The lane cannot run before this task waits, so the queue fills.
    let last = QUEUE_CAPACITY as u64 + 7;
    for n in 1..=last {
        emitter.offer(segment(n));
    }
    let counts = Arc::clone(emitter.counts().next().unwrap());
    assert_eq!(counts.dropped_for(DropReason::QueueFull), 7);
    balanced(&counts.snapshot());
    let reader = std::thread::spawn(move || {
        let mut datagram = [0; 65_536];
        let n = socket.recv(&mut datagram).unwrap();
        (String::from_utf8(datagram[..n].to_vec()).unwrap(), socket)
    });
    flush(lanes).await;
    let (first, _socket) = reader.join().unwrap();
    assert_eq!(counts.snapshot().emitted, QUEUE_CAPACITY as u64);
    assert!(first.contains("{\"id\":\"0000000000000008\""), "the first seven are gone");
}

#[tokio::test]
async fn what_is_offered_after_the_stop_is_dropped_and_counted() {
    let (emitter, lanes) = Emitter::start(&[Destination::None, Destination::None], &store());
    flush(lanes).await;
    emitter.offer(segment(1));
    for counts in emitter.counts() {
        assert_eq!(counts.dropped_for(DropReason::Stopped), 1);
        balanced(&counts.snapshot());
    }
    let names: Vec<&str> = emitter.counts().map(|counts| counts.name()).collect();
    assert_eq!(names, ["none", "none-2"]);
}
