//! The sidecars of the demo: child processes of this binary, started as a user would start them.
//!
//! They get an environment of their own, so that nothing of the user's settings reaches them, and a process group of
//! their own, so that Ctrl-C reaches this process first and it can still ask them for their totals. However this
//! process leaves the demo, dropping [`Sidecars`] kills what is left of them and removes the directory.

use super::client::Client;
use super::services::Addresses;
use super::{DemoError, RULES};
use crate::fetch;
use crate::status::SidecarStatus;
use http::{HeaderMap, Method};
use serde::Deserialize;
use std::fs::{DirBuilder, File};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a sidecar may take to say where it listens.
const START: Duration = Duration::from_secs(10);
/// How long it may take to answer or to stop.
const PATIENCE: Duration = Duration::from_secs(2);
/// What is shown of a sidecar's own words, in characters.
const MAX_WORDS: usize = 2_000;

/// Where the sidecars listen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listens {
    pub(super) shop: SocketAddr,
    pub(super) payment: SocketAddr,
    pub(super) inventory: SocketAddr,
}

/// Three running sidecars.
pub(super) struct Sidecars {
    running: [Sidecar; 3],
    listens: Listens,
    // Declared last: the directory goes when the children are gone.
    directory: Directory,
}

struct Sidecar {
    service: &'static str,
    child: Child,
    admin: SocketAddr,
    words: PathBuf,
}

/// What a sidecar writes when it listens.
#[derive(Deserialize)]
struct Ports {
    listen: SocketAddr,
    admin: SocketAddr,
}

impl Sidecars {
    /// Starts one before each service and waits until all listen.
    pub(super) async fn start(services: &Addresses, segments: SocketAddr) -> Result<Sidecars, DemoError> {
        let directory = Directory::new()?;
        let rules = directory.0.join("demo.yaml");
        std::fs::write(&rules, RULES).map_err(|error| DemoError::Io("write the rules", error))?;
        let spawn = |service, address| Sidecar::spawn(service, address, segments, &rules, &directory.0);
        let mut running = [
            spawn("shop", services.shop)?,
            spawn("payment", services.payment)?,
            spawn("inventory", services.inventory)?,
        ];
        let [shop, payment, inventory] = &mut running;
        let listens = Listens {
            shop: shop.wait(&directory.0).await?,
            payment: payment.wait(&directory.0).await?,
            inventory: inventory.wait(&directory.0).await?,
        };
        Ok(Sidecars { running, listens, directory })
    }

    pub(super) fn listens(&self) -> Listens {
        self.listens
    }

    /// The rules file they watch.
    pub(super) fn rules(&self) -> PathBuf {
        self.directory.0.join("demo.yaml")
    }

    /// What they say of themselves; one that does not answer in time is left out.
    pub(super) async fn statuses(&self) -> Vec<SidecarStatus> {
        let [shop, payment, inventory] = &self.running;
        let (shop, payment, inventory) = tokio::join!(shop.status(), payment.status(), inventory.status());
        [shop, payment, inventory].into_iter().flatten().collect()
    }

    /// The error of a sidecar that ended by itself.
    pub(super) fn find_dead(&mut self) -> Option<DemoError> {
        self.running.iter_mut().find_map(|sidecar| match sidecar.child.try_wait() {
            Ok(Some(_)) => Some(DemoError::Sidecar(sidecar.service, "ended by itself", sidecar.words())),
            _ => None,
        })
    }

    /// Asks them to stop, waits a little, kills what is left.
    pub(super) async fn stop(mut self) {
        for sidecar in &self.running {
            let admin = Client::new(sidecar.admin);
            tokio::spawn(async move { admin.send(Method::POST, "/shutdown", HeaderMap::new()).await });
        }
        let end = Instant::now() + PATIENCE;
        let alive = |sidecar: &mut Sidecar| matches!(sidecar.child.try_wait(), Ok(None));
        while self.running.iter_mut().any(alive) && Instant::now() < end {
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Sidecar {
    fn spawn(
        service: &'static str,
        upstream: SocketAddr,
        segments: SocketAddr,
        rules: &Path,
        directory: &Path,
    ) -> Result<Sidecar, DemoError> {
        let binary = std::env::current_exe().map_err(|error| DemoError::Io("find this binary", error))?;
        let words = directory.join(format!("{service}.log"));
        let log = File::create(&words).map_err(|error| DemoError::Io("write a log", error))?;
        let out = log.try_clone().map_err(|error| DemoError::Io("write a log", error))?;
        let mut command = Command::new(&binary);
        command.arg("run").args([
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
            "--metrics",
            "127.0.0.1:0",
        ]);
        command.args(["--upstream", &format!("http://{upstream}"), "--service-name", service]);
        command.arg("--rules").arg(rules).args(["--sink", &format!("udp://{segments}")]);
        command.arg("--port-file").arg(port_file(directory, service));
        command.args(["--drain-delay", "0s", "--drain-timeout", "1s", "--workers", "1"]);
        // The log is read only if a sidecar fails, and must not grow with the demo.
        command.args(["--access-log", "off", "--log-format", "text"]);
        command.env_clear().process_group(0).stdin(Stdio::null()).stdout(out).stderr(log);
        let child = command.spawn().map_err(|error| DemoError::Spawn(binary, error))?;
        // The address is unknown until it listens; nobody asks before that.
        Ok(Sidecar { service, child, admin: SocketAddr::from(([127, 0, 0, 1], 0)), words })
    }

    /// Waits until it says where it listens. The file appears whole, by renaming.
    async fn wait(&mut self, directory: &Path) -> Result<SocketAddr, DemoError> {
        let end = Instant::now() + START;
        let file = port_file(directory, self.service);
        loop {
            let ports =
                std::fs::read(&file).ok().and_then(|json| serde_json::from_slice::<Ports>(&json).ok());
            if let Some(ports) = ports {
                self.admin = ports.admin;
                return Ok(ports.listen);
            }
            if !matches!(self.child.try_wait(), Ok(None)) {
                return Err(DemoError::Sidecar(self.service, "did not start", self.words()));
            }
            if Instant::now() > end {
                return Err(DemoError::Sidecar(
                    self.service,
                    "does not listen after 10 seconds",
                    self.words(),
                ));
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn status(&self) -> Option<SidecarStatus> {
        let json = fetch::get(&format!("http://{}/status", self.admin), PATIENCE).await.ok()?;
        serde_json::from_slice(&json).ok()
    }

    /// The end of what it wrote.
    fn words(&self) -> String {
        let words = std::fs::read(&self.words).unwrap_or_default();
        let words = String::from_utf8_lossy(&words);
        let skip = words.chars().count().saturating_sub(MAX_WORDS);
        words.chars().skip(skip).filter(|c| *c == '\n' || !c.is_control()).collect()
    }
}

impl Drop for Sidecar {
    /// Kills it if it is still there, and takes its exit code so that no zombie stays.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn port_file(directory: &Path, service: &str) -> PathBuf {
    directory.join(format!("{service}.ports.json"))
}

/// A new directory that only this user may enter; removed with all that is in it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Result<Directory, DemoError> {
        let base = std::env::temp_dir();
        let mut last = None;
        for n in 0..16 {
            // `create` fails if the name is taken, also by a link, so a name that can be guessed does no harm.
            let path = base.join(format!("collimator-demo-{}-{n}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Directory(path)),
                Err(error) => last = Some(error),
            }
        }
        let error = last.unwrap_or_else(|| std::io::ErrorKind::AlreadyExists.into());
        Err(DemoError::Io("make a directory for temporary files", error))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
