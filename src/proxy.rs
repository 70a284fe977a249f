//! Accepts, limits connections, drains on shutdown.
//!
//! ```text
//!   listener ─► accept ─► Carried(connection) ─► request::serve ─► application
//!      │           │           │                            └ 101: tunnel
//!      │           │           └ state: swept once a second, told to finish or cut
//!      │           └ too many: 503 and close
//!      └ closed after the drain delay
//! ```
//!
//! Workers are threads with a single-threaded runtime each; they share what [`Shared`] holds and nothing else. A
//! worker's connections, pool and dice are its own, so the path of a request takes no lock.

mod accept;
mod access;
mod answers;
mod body;
mod caller;
mod caught;
mod connection;
mod exchange;
mod frames;
mod headers;
mod heads;
mod present;
mod received;
mod request;
mod served;
mod share;
mod socket;
mod strict;
mod stream;
mod streams;
mod tunnel;
mod upstream;

use crate::clock::{Clock, Dice};
use crate::config::Target;
use crate::emit::Emitter;
use crate::sampling::RuleSet;
use crate::sampling::trust::Trust;
use crate::segment::Identity;
use crate::telemetry::WorkerTally;
use crate::tls;
use accept::Protocols;
pub use access::AccessLog;
use arc_swap::{ArcSwap, Cache};
use connection::{ConnectionState, PER_SECOND, Tick};
pub use heads::HeadBudget;
use http::HeaderValue;
pub use share::{Door, doors, share_out};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;
use streams::Streams;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use upstream::Pool;

/// The longest request head, in bytes; beyond it the answer is 431.
const MAX_HEAD: usize = 64 * 1024;
/// The most headers a request may have; beyond it the answer is 431.
const MAX_HEADERS: usize = 200;
/// One tick of the sweep.
const TICK: Duration = Duration::from_millis(1000 / PER_SECOND as u64);

/// How long the tasks of connections that are cut at the end may take to close their hops.
const LAST_TURN: Duration = Duration::from_secs(1);

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    /// Where the application listens.
    pub upstream: Target,
    /// The same as a `Host`.
    pub upstream_authority: HeaderValue,
    /// How long connecting to it may take.
    pub connect_timeout: Duration,
    /// How long it may be silent before the head of an answer, if there is a limit.
    pub response_timeout: Option<Duration>,
    /// HTTP/1 header names go on as they came.
    pub preserve_header_case: bool,
    /// `X-Amzn-Trace-Id` on every response.
    pub response_header: bool,
    /// Which requests get a line in the log; one for all workers, so that its limit is one too.
    pub access: AccessLog,
    /// How many connections there may be, in all workers together; it may change.
    pub max_connections: AtomicUsize,
    /// How many the system's limit of open files leaves room for.
    pub most_connections: usize,
    /// How many a worker may be telling at one time that there are too many.
    pub max_refusals: usize,
    /// What heads have taken of the memory that is theirs.
    pub heads: HeadBudget,
    /// TLS towards clients, if they are to speak it.
    pub tls: Option<Arc<tls::Inbound>>,
    /// TLS towards the application; there if and only if it is an `https://` one.
    pub upstream_tls: Option<Arc<tls::Outbound>>,
    /// Who the sidecar is.
    pub identity: Arc<ArcSwap<Identity>>,
    /// The rules in force.
    pub rules: Arc<ArcSwap<RuleSet>>,
    /// Rules beside them that only count.
    pub candidate: Option<Arc<ArcSwap<RuleSet>>>,
    /// Whose decisions count.
    pub trust: Trust,
    /// Where segments go.
    pub emitter: Emitter,
    /// Connections that are open now.
    pub connections: AtomicUsize,
    /// What each worker counts, one for each.
    pub tallies: Arc<[Arc<WorkerTally>]>,
    /// Answers say `Connection: close`.
    pub draining: AtomicBool,
}

impl Shared {
    /// Sets the limit of connections, as far as there is room for them.
    pub fn limit_connections(&self, wanted: usize) {
        if wanted > self.most_connections {
            tracing::warn!(
                "the limit of open files leaves room for {} clients and not for {wanted} (setting `limits.connections`): \
                 raise it, traffic is refused beyond that",
                self.most_connections
            );
        }
        self.max_connections.store(wanted.min(self.most_connections), Ordering::Relaxed);
    }

    fn max_connections(&self) -> usize {
        self.max_connections.load(Ordering::Relaxed)
    }

    /// Requests under way in all workers together.
    fn under_way(&self) -> u64 {
        under_way(&self.tallies)
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// Requests under way in these workers together.
fn under_way(tallies: &[Arc<WorkerTally>]) -> u64 {
    tallies.iter().map(|tally| tally.in_flight.get()).sum()
}

/// How far the stop has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Accepting.
    #[default]
    Serving,
    /// No longer accepting; idle connections close, the others finish.
    Finishing,
    /// What is left is cut.
    Cutting,
}

/// What was last swapped in, seen without a lock.
type Latest<T> = Cache<Arc<ArcSwap<T>>, Arc<T>>;

/// One worker's own things.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    tally: Arc<WorkerTally>,
    clock: Clock,
    dice: RefCell<Dice>,
    rules: RefCell<Latest<RuleSet>>,
    candidate: Option<RefCell<Latest<RuleSet>>>,
    identity: RefCell<Latest<Identity>>,
    protocols: Protocols,
    streams: Streams,
    pool: Rc<Pool>,
    tick: Arc<AtomicU32>,
    /// Connections that are this worker's, for whoever shares them out.
    load: Arc<AtomicUsize>,
    connections: RefCell<HashMap<u64, Arc<ConnectionState>>>,
    next_connection: Cell<u64>,
    turned_away: Cell<usize>,
}

impl Worker {
    fn tick(&self) -> Tick {
        self.tick.load(Ordering::Relaxed)
    }
}

/// Runs one worker until its connections have ended after the stop. Must be called within a local runtime.
///
/// # Errors
/// The runtime does not take the listener.
pub async fn run(
    shared: Arc<Shared>,
    tally: Arc<WorkerTally>,
    clock: Clock,
    dice: Dice,
    door: Door,
    mut stage: watch::Receiver<Stage>,
) -> std::io::Result<()> {
    let load = match &door {
        Door::Listener(_) => Arc::default(),
        Door::Handed(_, load) => Arc::clone(load),
    };
    let mut door = accept::Open::try_from(door)?;
    let pool = Rc::new(Pool::new(&shared));
    let streams = Streams::new(&shared);
    let worker = Rc::new(Worker {
        tally,
        clock,
        dice: RefCell::new(dice),
        rules: RefCell::new(Cache::new(Arc::clone(&shared.rules))),
        candidate: shared.candidate.as_ref().map(|rules| RefCell::new(Cache::new(Arc::clone(rules)))),
        identity: RefCell::new(Cache::new(Arc::clone(&shared.identity))),
        protocols: Protocols::new(&shared, clock, &streams),
        streams,
        pool,
        tick: Arc::new(AtomicU32::new(0)),
        load,
        connections: RefCell::default(),
        next_connection: Cell::new(0),
        turned_away: Cell::new(0),
        shared,
    });
    let sweeper = tokio::task::spawn_local(sweep(Rc::clone(&worker)));
    tokio::select! {
        () = accept::accept(&worker, &mut door) => {}
        _ = stage.wait_for(|stage| *stage >= Stage::Finishing) => {}
    }
    accept::accept_the_last(&worker, door).await;
    worker.connections.borrow().values().for_each(|state| state.finish());
    tokio::select! {
        () = all_ended(&worker) => {}
        _ = stage.wait_for(|stage| *stage >= Stage::Cutting) => {
            worker.connections.borrow().values().for_each(|state| state.stop());
            // One more turn, in which their tasks end and their hops close.
            let _ = timeout(LAST_TURN, all_ended(&worker)).await;
        }
    }
    sweeper.abort();
    Ok(())
}

async fn all_ended(worker: &Worker) {
    while !worker.connections.borrow().is_empty() {
        sleep(Duration::from_millis(5)).await;
    }
}

/// Moves the tick and keeps the limits that are counted in ticks.
async fn sweep(worker: Rc<Worker>) {
    let mut ticks = interval(TICK);
    // Time that was slept through is no patience that was shown.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let now = worker.tick.fetch_add(1, Ordering::Relaxed) + 1;
        for refusal in worker.connections.borrow().values().filter_map(|state| state.sweep(now)) {
            worker.tally.refused(refusal);
        }
        worker.pool.sweep(now);
    }
}

/// Runs hyper's tasks on the worker that they belong to.
#[derive(Clone, Copy, Debug)]
struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}
