//! Visitors of the shop: a steady mix of requests, whatever the answers take.

use super::client::Client;
use super::services::Dice;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header::USER_AGENT};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// Requests on their way at once; beyond that a visitor goes elsewhere, and is counted.
const MAX_IN_FLIGHT: u64 = 256;

/// Traffic until it is stopped.
pub(super) struct Traffic {
    tallies: Arc<Tallies>,
}

#[derive(Debug, Default)]
struct Tallies {
    ok: AtomicU64,
    error: AtomicU64,
    throttle: AtomicU64,
    fault: AtomicU64,
    unanswered: AtomicU64,
    skipped: AtomicU64,
    in_flight: AtomicU64,
    stopped: AtomicBool,
}

/// How the requests ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) ok: u64,
    pub(super) error: u64,
    pub(super) throttle: u64,
    pub(super) fault: u64,
    pub(super) unanswered: u64,
    pub(super) skipped: u64,
    pub(super) in_flight: u64,
}

impl Counts {
    /// Requests with an answer.
    pub(super) fn answered(self) -> u64 {
        self.ok + self.error + self.throttle + self.fault
    }
}

impl Traffic {
    pub(super) fn start(shop: SocketAddr, per_second: u32) -> Traffic {
        let tallies: Arc<Tallies> = Arc::default();
        let (counting, client, dice) = (tallies.clone(), Arc::new(Client::new(shop)), Dice::new(7));
        let mut ticks = interval(Duration::from_secs(1) / per_second.max(1));
        // A late tick is made up for, so that a busy machine sees as many visitors as an idle one.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        tokio::spawn(async move {
            while !counting.stopped.load(Ordering::Relaxed) {
                ticks.tick().await;
                let (method, path, agent) = visit(&dice);
                if counting.in_flight.load(Ordering::Relaxed) >= MAX_IN_FLIGHT {
                    counting.skipped.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                counting.in_flight.fetch_add(1, Ordering::Relaxed);
                let (counting, client) = (counting.clone(), client.clone());
                tokio::spawn(async move {
                    let headers = HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static(agent))]);
                    let status = client.send(method, &path, headers).await.ok();
                    counting.of(status).fetch_add(1, Ordering::Relaxed);
                    counting.in_flight.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Traffic { tallies }
    }

    pub(super) fn counts(&self) -> Counts {
        let get = |tally: &AtomicU64| tally.load(Ordering::Relaxed);
        let tallies = &self.tallies;
        Counts {
            ok: get(&tallies.ok),
            error: get(&tallies.error),
            throttle: get(&tallies.throttle),
            fault: get(&tallies.fault),
            unanswered: get(&tallies.unanswered),
            skipped: get(&tallies.skipped),
            in_flight: get(&tallies.in_flight),
        }
    }

    /// Sends no more, and waits at most `limit` for the answers that are still out.
    pub(super) async fn stop(&self, limit: Duration) {
        self.tallies.stopped.store(true, Ordering::Relaxed);
        let end = Instant::now() + limit;
        sleep(Duration::from_millis(50)).await;
        while self.counts().in_flight > 0 && Instant::now() < end {
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Tallies {
    fn of(&self, status: Option<StatusCode>) -> &AtomicU64 {
        match status.map(|status| status.as_u16()) {
            None => &self.unanswered,
            Some(429) => &self.throttle,
            Some(400..=499) => &self.error,
            Some(500..) => &self.fault,
            Some(_) => &self.ok,
        }
    }
}

/// What the next visitor wants.
fn visit(dice: &Dice) -> (Method, String, &'static str) {
    const BROWSER: &str = "Mozilla/5.0 (demo)";
    match dice.roll(100) {
        0..42 => (Method::GET, format!("/products/{}", 100 + dice.roll(60)), BROWSER),
        42..60 => (Method::GET, "/".to_owned(), BROWSER),
        60..76 => (Method::POST, "/checkout".to_owned(), BROWSER),
        76..90 => (Method::GET, format!("/search?q=word{}", dice.roll(40)), BROWSER),
        90..97 => (Method::GET, "/healthz".to_owned(), "demo-probe/1"),
        _ => (Method::GET, "/products/lost".to_owned(), BROWSER),
    }
}
