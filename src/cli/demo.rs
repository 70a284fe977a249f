//! `collimator demo`: a small world on loopback, all of it real.
//!
//! ```text
//!   traffic ─► sidecar ─► shop ─┬─► sidecar ─► inventory
//!                 │             └─► sidecar ─► payment ─► (inventory's sidecar)
//!                 └ segments by UDP ─► this process: store ─► page and summary
//! ```
//!
//! Three services run in this process and talk HTTP through three sidecars, which are child processes of the same
//! binary, started exactly as a user would start them. The services do what every application behind the sidecar has
//! to do, copy `X-Amzn-Trace-Id` to their own calls, and nothing else about tracing.
//!
//! Whatever happens, the children are stopped and the directory of the demo is removed.

mod client;
mod page;
mod receiver;
mod services;
mod sidecars;
mod summary;
mod traffic;

use super::Exit;
use crate::console::View;
use crate::status::SidecarStatus;
use crate::store::{Limits, Store};
use sidecars::Sidecars;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, interval};
use traffic::Traffic;

/// The rules that decide in the demo.
const RULES: &str = include_str!("../../rules/examples/demo.yaml");
/// Requests each second.
const REQUESTS_PER_SECOND: u32 = 60;
/// How long the last requests may take, and the last segments to arrive, before the totals are read.
const SETTLE: Duration = Duration::from_secs(3);

/// Flags of `collimator demo`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  collimator demo\n  collimator demo --seconds 20 --admin 127.0.0.1:8900")]
pub struct DemoArgs {
    /// End after this many seconds; without it, at Ctrl-C
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// Where the page is served; if the port is taken, the next free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9901")]
    admin: SocketAddr,
}

/// Why the demo cannot run.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("cannot listen on `{0}` for the page: {1}\n\nhint: choose another address with `--admin`")]
    Page(SocketAddr, std::io::Error),
    #[error(
        "the page of the demo has no password, so it stays on this host: `{0}` is not a loopback address"
    )]
    NotLoopback(SocketAddr),
    #[error("cannot {0}: {1}")]
    Io(&'static str, std::io::Error),
    #[error("cannot start a sidecar from `{0}`: {1}")]
    Spawn(PathBuf, std::io::Error),
    #[error("the sidecar of `{0}` {1}; it said:\n{2}")]
    Sidecar(&'static str, &'static str, String),
}

/// Everything the page is a picture of.
#[derive(Debug, Default)]
struct World {
    store: Store,
    statuses: Mutex<Vec<SidecarStatus>>,
}

impl World {
    fn set_statuses(&self, statuses: Vec<SidecarStatus>) {
        *self.statuses.lock().unwrap_or_else(PoisonError::into_inner) = statuses;
    }
}

impl View for World {
    fn store(&self) -> &Store {
        &self.store
    }

    fn sidecars(&self) -> Vec<SidecarStatus> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Runs until the time is up or a signal comes; prints the summary on stdout, everything else on stderr.
pub async fn run(arguments: DemoArgs) -> Exit {
    match show(&arguments).await {
        Ok(summary) => {
            // A closed pipe is the reader's choice.
            let _ = std::io::stdout().write_all(summary.as_bytes());
            Exit::Success
        }
        Err(error) => {
            eprintln!("error: {error}");
            match error {
                DemoError::NotLoopback(_) => Exit::Usage,
                _ => Exit::Failure,
            }
        }
    }
}

async fn show(arguments: &DemoArgs) -> Result<String, DemoError> {
    let started = Instant::now();
    let mut stop = Stop::new(arguments.seconds)?;
    let world = Arc::new(World { store: Store::new(Limits::default()), ..World::default() });
    let page = page::serve(arguments.admin, world.clone()).await?;
    let receiver = receiver::start(world.clone()).await?;
    let mut services = services::start().await.map_err(|error| DemoError::Io("start the services", error))?;
    eprintln!("starting three services, each behind a sidecar of its own …");
    let mut sidecars = Sidecars::start(&services.addresses(), receiver.address).await?;
    services.meet(sidecars.listens());
    announce(page, arguments, &sidecars);

    let traffic = Traffic::start(sidecars.listens().shop, REQUESTS_PER_SECOND);
    let progress = Progress::new();
    let mut every = interval(Duration::from_millis(500));
    let mut last = false;
    while !last {
        tokio::select! {
            _ = every.tick() => {}
            () = stop.asked() => last = true,
        }
        world.set_statuses(sidecars.statuses().await);
        progress.say(started, &traffic, &world, last);
        if let Some(error) = sidecars.find_dead() {
            progress.end();
            return Err(error);
        }
    }
    traffic.stop(SETTLE).await;
    receiver.settle(SETTLE).await;
    let statuses = sidecars.statuses().await;
    world.set_statuses(statuses.clone());
    sidecars.stop().await;
    Ok(summary::summary(&summary::Facts {
        elapsed: started.elapsed(),
        counts: traffic.counts(),
        statuses: &statuses,
        received: receiver.counts(),
        graph: &world.store.graph(),
    }))
}

fn announce(page: SocketAddr, arguments: &DemoArgs, sidecars: &Sidecars) {
    let listens = sidecars.listens();
    eprintln!();
    eprintln!("  The page:   http://{page}/");
    if page != arguments.admin {
        eprintln!("              ({} is taken)", arguments.admin);
    }
    eprintln!();
    eprintln!(
        "  shop        http://{}  calls inventory and payment; its search is slow now and then",
        listens.shop
    );
    eprintln!("  payment     http://{}  fails now and then", listens.payment);
    eprintln!("  inventory   http://{}  throttles now and then", listens.inventory);
    eprintln!();
    eprintln!("  Traffic comes at {REQUESTS_PER_SECOND} requests a second. Send your own:");
    eprintln!("              curl -i -X POST http://{}/checkout", listens.shop);
    eprintln!("  The rules may be edited while it runs:");
    eprintln!("              {}", sidecars.rules().display());
    match arguments.seconds {
        Some(seconds) => eprintln!("  It ends by itself after {seconds} seconds, or with Ctrl-C.\n"),
        None => eprintln!("  Ctrl-C ends it and prints a summary.\n"),
    }
}

/// What ends the demo.
struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
    at: Option<Instant>,
}

impl Stop {
    /// From now on signals no longer end the process, so that the children are stopped too.
    fn new(seconds: Option<u64>) -> Result<Stop, DemoError> {
        let listen = |kind| signal(kind).map_err(|error| DemoError::Io("listen for signals", error));
        Ok(Stop {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
            at: seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds)),
        })
    }

    async fn asked(&mut self) {
        let time_is_up = async {
            match self.at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
            () = time_is_up => {}
        }
    }
}

/// One line that is written over on a terminal; elsewhere a line every two seconds.
struct Progress {
    on_terminal: bool,
    said_at: std::cell::Cell<Option<u64>>,
}

impl Progress {
    fn new() -> Progress {
        Progress { on_terminal: std::io::stderr().is_terminal(), said_at: std::cell::Cell::new(None) }
    }

    fn say(&self, started: Instant, traffic: &Traffic, world: &World, last: bool) {
        let seconds = started.elapsed().as_secs();
        let due = self.said_at.get().is_none_or(|said| seconds >= said + 2);
        if !self.on_terminal && !due && !last {
            return;
        }
        self.said_at.set(Some(seconds));
        let (counts, stats) = (traffic.counts(), world.store.stats());
        let line = format!(
            "{seconds:>4} s  {} requests, {} in flight  {} traces, {} segments",
            counts.answered(),
            counts.in_flight,
            stats.traces,
            stats.documents,
        );
        if self.on_terminal {
            // Back to the start of the line, and clear what is left of the one before.
            eprint!("\r  {line}\x1b[K");
        } else {
            eprintln!("{line}");
        }
        if last {
            self.end();
        }
    }

    /// Leaves the line that was written over.
    fn end(&self) {
        if self.on_terminal {
            eprintln!("\n");
        }
    }
}
