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
    with_path(n, "/")
}

fn with_path(n: u64, path: &str) -> Segment {
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
    let facts = RequestFacts { scheme: "http", host: "h", path, method: "GET", user_agent: None, client };
    hop.close(&Arc::new(Identity::default()), &facts, Outcome::default())
}

fn udp(address: std::net::SocketAddr) -> Destination {
    Destination::Udp(UdpAddress { host: address.ip().to_string(), port: address.port() })
}

fn store() -> Arc<Store> {
    Arc::new(Store::new(Limits::default()))
}

fn totals(emitter: &Emitter) -> Vec<Snapshot> {
    emitter.counts().iter().map(|counts| counts.snapshot()).collect()
}

#[track_caller]
fn balanced(snapshot: &Snapshot) {
    let Snapshot { offered, emitted, dropped, rejected, queued, .. } = *snapshot;
    assert_eq!(offered, emitted + dropped + rejected + queued, "{snapshot:?}");
}

async fn flush(emitter: &Emitter) {
    emitter.flush(Instant::now() + Duration::from_secs(5)).await;
}

#[tokio::test]
async fn every_sink_gets_every_segment_and_the_accounts_balance() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = udp(socket.local_addr().unwrap());
    let store = store();
    let emitter = Emitter::start(&[address, Destination::Store, Destination::None], &store);
    for n in 1..=20 {
        emitter.offer(segment(n));
    }
    totals(&emitter).iter().for_each(balanced);
    flush(&emitter).await;
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
    let emitter = Emitter::start(&[udp(free)], &store());
    for n in 1..=10 {
        emitter.offer(segment(n));
    }
    flush(&emitter).await;
    let [counts] = &emitter.counts()[..] else { panic!("one sink") };
    balanced(&counts.snapshot());
    assert_eq!((counts.snapshot().emitted, counts.dropped_for(DropReason::Refused)), (0, 10));
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_counted() {
    let address = UdpAddress { host: "no-such-host.invalid".to_owned(), port: 2000 };
    let emitter = Emitter::start(&[Destination::Udp(address)], &store());
    emitter.offer(segment(1));
    flush(&emitter).await;
    assert_eq!(emitter.counts()[0].dropped_for(DropReason::Unresolved), 1);
}

#[tokio::test]
async fn a_full_queue_drops_the_oldest_and_says_so() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let emitter = Emitter::start(&[udp(socket.local_addr().unwrap())], &store());
    // The lane cannot run before this task waits, so the queue fills.
    let last = QUEUE_CAPACITY as u64 + 7;
    for n in 1..=last {
        emitter.offer(segment(n));
    }
    let counts = Arc::clone(&emitter.counts()[0]);
    assert_eq!(counts.dropped_for(DropReason::QueueFull), 7);
    balanced(&counts.snapshot());
    let reader = std::thread::spawn(move || {
        let mut datagram = [0; 65_536];
        let n = socket.recv(&mut datagram).unwrap();
        (String::from_utf8(datagram[..n].to_vec()).unwrap(), socket)
    });
    flush(&emitter).await;
    let (first, _socket) = reader.join().unwrap();
    assert_eq!(counts.snapshot().emitted, QUEUE_CAPACITY as u64);
    assert!(first.contains("{\"id\":\"0000000000000008\""), "the first seven are gone");
}

#[tokio::test]
async fn what_is_offered_after_the_stop_is_dropped_and_counted() {
    let addresses = ["127.0.0.1:1", "127.0.0.1:2"].map(|address| udp(address.parse().unwrap()));
    let emitter = Emitter::start(&addresses, &store());
    flush(&emitter).await;
    emitter.offer(segment(1));
    for counts in emitter.counts() {
        assert_eq!(counts.dropped_for(DropReason::Stopped), 1);
        balanced(&counts.snapshot());
    }
    let names: Vec<String> = emitter.counts().iter().map(|counts| counts.name().to_owned()).collect();
    assert_eq!(names, ["udp", "udp-2"]);
}

#[tokio::test]
async fn a_queue_is_bounded_in_bytes_too() {
    let queue = Queue::new(100, 3 * segment(1).footprint());
    let pushed: Vec<Pushed> = (1..=5).map(|n| queue.push(Arc::new(segment(n)))).collect();
    assert_eq!(
        pushed,
        [Pushed::Waits, Pushed::Waits, Pushed::Waits, Pushed::InPlaceOf(1), Pushed::InPlaceOf(1)]
    );
    // One that takes the place of several.
    let large = with_path(6, &"x".repeat(2 * segment(1).footprint()));
    assert!(large.footprint() > 2 * segment(1).footprint());
    assert_eq!(queue.push(Arc::new(large)), Pushed::InPlaceOf(3));
    let mut batch = Vec::new();
    queue.take(&mut batch, 100);
    assert_eq!(batch.len(), 1, "the newest stays");
    // What was taken counts no more.
    assert_eq!(queue.push(Arc::new(segment(7))), Pushed::Waits);
}

#[tokio::test]
async fn destinations_change_and_nothing_offered_is_lost() {
    let sockets = [(); 3].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let [a, b, c] = [0, 1, 2].map(|n: usize| udp(sockets[n].local_addr().unwrap()));
    let emitter = Emitter::start(&[a.clone(), b.clone()], &store());
    (1..=5).for_each(|n| emitter.offer(segment(n)));
    // `a` goes, `b` stays, `c` comes and takes the name that is free.
    emitter.replace(&[c, b.clone()]);
    (6..=8).for_each(|n| emitter.offer(segment(n)));
    // And back: the name goes on counting.
    emitter.replace(&[a, b]);
    emitter.offer(segment(9));
    flush(&emitter).await;
    for (socket, expected) in sockets.iter().zip([vec![1, 2, 3, 4, 5, 9], (1..=9).collect(), vec![6, 7, 8]]) {
        socket.set_nonblocking(true).unwrap();
        let mut ids = Vec::new();
        let mut datagram = [0; 65_536];
        while let Ok(n) = socket.recv(&mut datagram) {
            let text = String::from_utf8_lossy(&datagram[..n]).into_owned();
            let id = text.split("{\"id\":\"").nth(1).unwrap()[..16].to_owned();
            ids.push(u64::from_str_radix(&id, 16).unwrap());
        }
        ids.sort_unstable();
        assert_eq!(ids, expected);
    }
    let names: Vec<String> = emitter.counts().iter().map(|counts| counts.name().to_owned()).collect();
    assert_eq!(names, ["udp", "udp-2"], "no name is used up");
    for snapshot in totals(&emitter) {
        balanced(&snapshot);
        assert_eq!((snapshot.offered, snapshot.emitted), (9, 9));
    }
}

#[tokio::test]
async fn a_sink_that_is_no_longer_wanted_ends() {
    let emitter = Emitter::start(&[Destination::Store], &store());
    emitter.offer(segment(1));
    emitter.replace(&[Destination::None]);
    while emitter
        .running()
        .iter()
        .any(|running| running.lane.destination == Destination::Store && !running.task.is_finished())
    {
        tokio::task::yield_now().await;
    }
    emitter.replace(&[Destination::None]);
    assert_eq!(emitter.running().len(), 1);
    assert_eq!(totals(&emitter)[0].emitted, 1);
}

#[tokio::test]
async fn a_lane_whose_time_is_over_drops_and_counts_what_it_has() {
    let (_stop, stopped) = watch::channel(Some(Instant::now()));
    let queue = Arc::new(Queue::new(10, usize::MAX));
    (1..=3).for_each(|n| assert_eq!(queue.push(Arc::new(segment(n))), Pushed::Waits));
    let counts = Arc::new(SinkCounts::new("udp".to_owned(), 10));
    let mut intake = Intake { queue, counts: Arc::clone(&counts), stopped, began: false };
    assert!(!intake.next(&mut Vec::new()).await);
    assert_eq!(counts.dropped_for(DropReason::Stopped), 3);
    assert_eq!(intake.queue.push(Arc::new(segment(4))), Pushed::Closed);
}
