//! Builds every part from `Settings`, and stops them in reverse. The only module that knows all.
//!
//! ```text
//!   start   rules ─► ports ─► sinks ─► workers ─► admin ─► "listening"
//!   stop    not ready, `Connection: close` ── drain delay ──► no new connections ── drain timeout ──► cut
//!           ─► sinks flushed ─► totals
//! ```
//!
//! Nothing on the network is asked before the ports are open: names of daemons are resolved and the place is looked up
//! afterwards, in the background.

use crate::admin::{self, Port};
use crate::clock::{Clock, Dice};
use crate::config::{LiveRules, Origin, Problems, RulesFallback, RulesSource, Settings, Signs};
use crate::control::{self, Control, WhichRules, log_reload, log_tls_reload};
use crate::descriptors;
use crate::emit::Emitter;
use crate::exposition::Counted;
use crate::logging::Logging;
use crate::proxy::{self, AccessLog, Door, HeadBudget, Shared, Stage};
use crate::sampling::trust::Trust;
use crate::segment::{Identity, SegmentName};
use crate::store::{Limits, Store};
use crate::telemetry::{TlsSide, WorkerTally};
use crate::tls;
use crate::whereabouts;
use arc_swap::ArcSwap;
use http::HeaderValue;
use socket2::{Domain, Protocol, Socket, Type};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;
/// Between two looks at the rules, and at the files of TLS; a change is in force within twice that.
const FILES_POLL: Duration = Duration::from_secs(1);
/// What the sinks get to send what they have, after the last request.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);
/// How long workers may take to end once their connections are cut.
const LAST_WORK: Duration = Duration::from_secs(3);
/// Between two looks at whether they have.
const ENDED_POLL: Duration = Duration::from_millis(5);

/// Why the sidecar cannot run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The rules are wrong.
    #[error("{0}")]
    Rules(Problems),
    /// The files of TLS are wrong.
    #[error("{0}")]
    Tls(Problems),
    /// A port cannot be had.
    #[error("cannot listen on `{address}` (setting `{setting}`): {error}")]
    Bind {
        /// The setting's key.
        setting: &'static str,
        /// What was asked for.
        address: SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
    /// The operating system withholds something else.
    #[error("cannot {what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        error: std::io::Error,
    },
}

/// Runs the sidecar until it is told to stop and has drained. Settings are read again from `origin`, if there is one.
pub async fn run(
    settings: Settings,
    origin: Option<Origin>,
    logging: Option<Arc<Logging>>,
) -> Result<(), StartError> {
    let clock = Clock::start();
    let system = |what| move |error| StartError::System { what, error };
    let mut signals = Signals::new().map_err(system("wait for signals"))?;
    let rules = match settings.rules_fallback.value {
        RulesFallback::Off => {
            LiveRules::start(settings.rules_source(), clock.now()).map_err(StartError::Rules)?
        }
        RulesFallback::Default => {
            let (rules, problems) = LiveRules::start_anyway(settings.rules_source(), clock.now());
            if let Some(problems) = problems {
                tracing::error!(
                    problem = problems.first_line(),
                    "the rules are wrong; the built-in ones are in force and traffic is not affected (setting `rules_fallback`): mend the file, it is read again by itself"
                );
            }
            rules
        }
    };
    let candidate = settings.candidate.value.clone().map(RulesSource::Path);
    let candidate = candidate.map(|source| LiveRules::start(source, clock.now())).transpose();
    let candidate = candidate.map_err(StartError::Rules)?;
    let tls = tls::Sides::start(&settings, clock.now()).map_err(StartError::Tls)?;
    tls.warnings.iter().for_each(|warning| tracing::warn!("{}", warning.one_line()));

    // Ports first, so that whoever asks early waits in the queue and not at a closed door.
    let n_workers = settings.workers.value.get();
    let failed = |setting, address| move |error| StartError::Bind { setting, address, error };
    let listener = bind(settings.listen.value).map_err(failed("listen", settings.listen.value))?;
    let bind_one =
        |setting, address| bind(address).and_then(TcpListener::from_std).map_err(failed(setting, address));
    let admin_listener = bind_one("admin", settings.admin.value)?;
    let metrics_listener = bind_one("metrics", settings.metrics.value)?;
    let local = |listener: &TcpListener| listener.local_addr().map_err(system("read a socket's address"));
    let listen = listener.local_addr().map_err(system("read a socket's address"))?;
    let (admin_address, metrics_address) = (local(&admin_listener)?, local(&metrics_listener)?);

    let store = Arc::new(Store::new(Limits::default()));
    let emitter = Emitter::start(&settings.sinks.value, &store);
    let upstream = settings.upstream.value.clone();
    let identity =
        Identity { name: SegmentName::repair(&settings.service_name.value), ..Identity::default() };
    let share = descriptors::claim(n_workers);
    let tallies: Arc<[Arc<WorkerTally>]> = (0..n_workers).map(|_| Arc::default()).collect();
    let shared = Arc::new(Shared {
        upstream_authority: HeaderValue::try_from(upstream.authority())
            .unwrap_or(HeaderValue::from_static("localhost")),
        upstream,
        connect_timeout: settings.connect_timeout.value,
        response_timeout: settings.response_timeout.value,
        preserve_header_case: settings.preserve_header_case(),
        response_header: settings.response_header.value,
        access: AccessLog::new(settings.access_log.value),
        max_connections: AtomicUsize::new(0),
        most_connections: share.clients,
        max_refusals: share.refusals,
        heads: HeadBudget::default(),
        tls: tls.inbound,
        upstream_tls: tls.outbound,
        identity: Arc::new(ArcSwap::from_pointee(identity)),
        rules: rules.shared(),
        candidate: candidate.as_ref().map(|candidate| candidate.shared()),
        trust: Trust::new(settings.trust.value.clone()),
        emitter,
        connections: AtomicUsize::new(0),
        tallies: Arc::clone(&tallies),
        draining: AtomicBool::new(false),
    });

    shared.limit_connections(settings.max_connections.value);

    let (stage, staged) = watch::channel(Stage::Serving);
    let mut workers = Vec::with_capacity(n_workers);
    let doors = if n_workers == 1 {
        vec![Door::Listener(listener)]
    } else {
        let (hands, doors) = proxy::doors(n_workers);
        tokio::spawn(proxy::share_out(listener, hands, staged.clone()));
        doors
    };
    for (number, (door, tally)) in doors.into_iter().zip(&*tallies).enumerate() {
        let dice = Dice::from_system().map_err(system("get randomness"))?;
        let (shared, tally, staged) = (Arc::clone(&shared), Arc::clone(tally), staged.clone());
        let worker = std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || work(shared, tally, clock, dice, door, staged))
            .map_err(system("start a worker"))?;
        workers.push(worker);
    }

    let counted = Arc::new(Counted {
        shared: Arc::clone(&shared),
        rules: Arc::clone(&rules),
        candidate: candidate.clone(),
    });
    let stop = Arc::new(Notify::new());
    let control = Arc::new(Control::new(control::Parts {
        counted,
        clock,
        store,
        logging,
        settings: settings.clone(),
        origin,
        listen: listen.to_string(),
        stop: Arc::clone(&stop),
    }));
    tokio::spawn(admin::serve(admin_listener, Port::Admin, Arc::clone(&control)));
    tokio::spawn(admin::serve(metrics_listener, Port::Metrics, Arc::clone(&control)));
    tokio::spawn(watch_rules(Arc::clone(&rules), WhichRules::InForce, clock));
    if let Some(candidate) = &candidate {
        tokio::spawn(watch_rules(Arc::clone(candidate), WhichRules::Candidate, clock));
    }
    tokio::spawn(watch_tls(Arc::clone(&shared), clock));
    tokio::spawn(find_place(settings.signs.clone(), Arc::clone(&shared), settings.name_is_guessed()));

    announce(&settings, &rules, listen, admin_address, metrics_address);
    announce_tls(&shared);
    if let Some(candidate) = &candidate {
        announce_rules(candidate, "candidate rules only count what they would decide");
    }
    if let Some(path) = &settings.port_file.value {
        write_ports(path, listen, admin_address, metrics_address).map_err(system("write the port file"))?;
    }

    signals.until_stop(&stop, &control).await;
    drain(&control, &stage, workers, &mut signals).await;
    flush(&shared.emitter).await;
    Ok(())
}

/// One worker's thread.
fn work(
    shared: Arc<Shared>,
    tally: Arc<WorkerTally>,
    clock: Clock,
    dice: Dice,
    door: Door,
    staged: watch::Receiver<Stage>,
) {
    let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "a worker cannot start; the others go on");
            return;
        }
    };
    if let Err(error) = runtime.block_on(proxy::run(shared, tally, clock, dice, door, staged)) {
        tracing::error!(%error, "a worker cannot listen; the others go on");
    }
    // A name that is still being looked up is nothing to wait for.
    runtime.shutdown_background();
}

fn bind(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

async fn watch_rules(rules: Arc<LiveRules>, which: WhichRules, clock: Clock) {
    loop {
        sleep(FILES_POLL).await;
        let (rules, now) = (Arc::clone(&rules), clock.now());
        if let Ok(outcome) = tokio::task::spawn_blocking(move || rules.poll(now)).await {
            log_reload(which, &outcome);
        }
    }
}

async fn watch_tls(shared: Arc<Shared>, clock: Clock) {
    let (inbound, outbound) = (shared.tls.clone(), shared.upstream_tls.clone());
    while inbound.is_some() || outbound.is_some() {
        sleep(FILES_POLL).await;
        let (inbound, outbound, now) = (inbound.clone(), outbound.clone(), clock.now());
        let poll = move || (inbound.map(|side| side.poll(now)), outbound.map(|side| side.poll(now)));
        let Ok((inbound, outbound)) = tokio::task::spawn_blocking(poll).await else { continue };
        inbound.iter().for_each(|outcome| log_tls_reload(TlsSide::Inbound, outcome));
        outbound.iter().for_each(|outcome| log_tls_reload(TlsSide::Upstream, outcome));
    }
}

async fn find_place(signs: Signs, shared: Arc<Shared>, name_is_guessed: bool) {
    let identity = shared.identity.load_full();
    if let Some(found) = whereabouts::look(&signs, &identity, name_is_guessed).await {
        shared.identity.store(Arc::new(found));
    }
}

fn announce(
    settings: &Settings,
    rules: &LiveRules,
    listen: SocketAddr,
    admin: SocketAddr,
    metrics: SocketAddr,
) {
    let sinks: Vec<String> = settings.sinks.value.iter().map(ToString::to_string).collect();
    tracing::info!(
        listen = %listen,
        upstream = %settings.upstream.value,
        sinks = sinks.join(","),
        admin = %admin,
        metrics = %metrics,
        service = settings.service_name.value,
        workers = settings.workers.value.get(),
        version = env!("CARGO_PKG_VERSION"),
        "listening"
    );
    announce_rules(rules, "rules in force");
}

fn announce_tls(shared: &Shared) {
    let standings = [
        ("inbound", shared.tls.as_ref().map(|side| side.standing())),
        ("upstream", shared.upstream_tls.as_ref().map(|side| side.standing())),
    ];
    for (side, standing) in standings {
        if let Some(certificate) = standing.iter().flat_map(|standing| &standing.certificates).next() {
            let (certificate, valid_until) = (certificate.shown(), &certificate.not_after.text);
            tracing::info!(side, certificate, valid_until, "TLS certificate in force");
        }
    }
}

fn announce_rules(rules: &LiveRules, message: &'static str) {
    let current = rules.current();
    let default = current.default_rule();
    tracing::info!(
        source = rules.source(),
        files = rules.files(),
        rules = current.len(),
        default = format!("{}/s + {} %", default.reservoir.get(), default.rate.get() * 100.0),
        hash = rules.hash(),
        message
    );
}

/// For whoever started us on port 0: written beside and renamed, so that it is never seen half.
fn write_ports(
    path: &std::path::Path,
    listen: SocketAddr,
    admin: SocketAddr,
    metrics: SocketAddr,
) -> std::io::Result<()> {
    let ports = serde_json::json!({
        "listen": listen.to_string(), "admin": admin.to_string(), "metrics": metrics.to_string()
    });
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    std::fs::write(&beside, format!("{ports}\n"))?;
    std::fs::rename(&beside, path)
}

/// `SIGTERM`, `SIGINT` and `SIGHUP`.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// A signal that asks to stop.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Reloads on each `SIGHUP` until a signal or the admin port asks to stop.
    async fn until_stop(&mut self, stop: &Notify, control: &Control) {
        let reloading = async {
            while self.hang_up.recv().await.is_some() {
                control.reload().await;
            }
            std::future::pending().await
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = stop.notified() => {}
            // Files may lie on something that does not answer, and a stop does not wait for that.
            () = reloading => {}
        }
    }
}

/// The stop, up to the last request. Each further signal ends the present wait.
async fn drain(
    control: &Control,
    stage: &watch::Sender<Stage>,
    workers: Vec<JoinHandle<()>>,
    signals: &mut Signals,
) {
    let settings = control.settings();
    tracing::info!(delay = ?settings.drain_delay.value, "draining: answers say `Connection: close`");
    control.drain();
    tokio::select! {
        () = sleep(settings.drain_delay.value) => {}
        () = signals.stop() => {}
    }
    let _ = stage.send(Stage::Finishing);
    let deadline = Instant::now() + settings.drain_timeout.value;
    let in_time = tokio::select! {
        ended = timeout_at(deadline, all_ended(&workers)) => ended.is_ok(),
        () = signals.stop() => false,
    };
    if !in_time {
        tracing::warn!("connections are cut that did not finish in time; see setting `drain_timeout`");
        let _ = stage.send(Stage::Cutting);
        // They take a second. What is queued is to be sent whatever holds a worker up.
        let _ = timeout(LAST_WORK, all_ended(&workers)).await;
    }
}

/// Waits until all workers have ended. On no thread: those for blocking work may all hang on something, and a system that
/// has none to give is no reason to stop otherwise.
async fn all_ended(workers: &[JoinHandle<()>]) {
    while !workers.iter().all(JoinHandle::is_finished) {
        sleep(ENDED_POLL).await;
    }
}

async fn flush(emitter: &Emitter) {
    emitter.flush(Instant::now() + FLUSH_LIMIT).await;
    for counts in emitter.counts() {
        let totals = counts.snapshot();
        tracing::info!(
            sink = counts.name(),
            offered = totals.offered,
            emitted = totals.emitted,
            dropped = totals.dropped,
            rejected = totals.rejected,
            queued = totals.queued,
            "stopped"
        );
    }
}
