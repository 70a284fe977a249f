//! Starts the real binary, knows its ports, asks its side doors, and stops it.

use std::ffi::OsString;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::client::{Client, Request, Response};
use super::process::Process;
use super::scrape::Scrape;
use super::{PATIENCE, eventually, wait_until};

/// The binary under test.
fn binary() -> OsString {
    std::env::var_os("COLLIMATOR_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_collimator").into())
}

/// How a sidecar is to be started: arguments, environment, files.
pub(crate) struct Options {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// A shell's command line that ends by becoming the sidecar; empty for none.
    through: String,
    directory: TempDir,
}

impl Options {
    /// `collimator` with these arguments and nothing else.
    pub(crate) fn bare(arguments: &[&str]) -> Options {
        Options {
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            environment: Vec::new(),
            through: String::new(),
            directory: TempDir::new().unwrap(),
        }
    }

    /// `collimator run` on ephemeral ports.
    pub(crate) fn run() -> Options {
        let ports = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--metrics", "127.0.0.1:0"];
        Options::bare(&["run"]).args(&ports)
    }

    pub(crate) fn arg(mut self, argument: &str) -> Options {
        self.arguments.push(argument.to_owned());
        self
    }

    pub(crate) fn args(mut self, arguments: &[&str]) -> Options {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Options {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the sidecar from a shell that first does this; the shell's `exec "$0" "$@"` is to be the last of it.
    pub(crate) fn through(mut self, commands: &str) -> Options {
        self.through = commands.to_owned();
        self
    }

    pub(crate) fn upstream(self, address: SocketAddr) -> Options {
        self.args(&["--upstream", &format!("http://{address}")])
    }

    /// Writes a file into the sidecar's working directory.
    pub(crate) fn file(self, name: &str, text: impl AsRef<[u8]>) -> Options {
        std::fs::write(self.directory.path().join(name), text).unwrap();
        self
    }

    /// Writes `rules.yaml` and points `--rules` at it.
    pub(crate) fn rules(self, text: &str) -> Options {
        self.file("rules.yaml", text).args(&["--rules", "rules.yaml"])
    }

    /// The sidecar's working directory.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What `run` gets unless the test says otherwise: one worker, so that what is said first is recorded first,
    /// and no drain delay, so that stopping costs nothing.
    fn defaults(&self) -> Vec<&'static str> {
        let absent = |flag: &&str| !self.arguments.iter().any(|argument| argument == flag);
        let pairs = [("--workers", "1"), ("--drain-delay", "0s")];
        let runs = self.arguments.first().is_some_and(|command| command == "run");
        let wanted = pairs.into_iter().filter(|(flag, _)| runs && absent(flag));
        wanted.flat_map(|(flag, value)| [flag, value]).collect()
    }

    fn spawn(&self) -> Running {
        // A clean environment: what the machine happens to export must not decide a test.
        let mut command = match self.through.as_str() {
            "" => Command::new(binary()),
            commands => {
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(commands).arg(binary());
                shell
            }
        };
        let mut child = command
            .args(&self.arguments)
            .args(self.defaults())
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "LLVM_PROFILE_FILE"))
            .env("COLLIMATOR_PORT_FILE", self.directory.path().join("ports.json"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", binary().display()));
        let stdout = Captured::of(child.stdout.take().unwrap());
        let stderr = Captured::of(child.stderr.take().unwrap());
        Running { child, stdout, stderr }
    }

    /// Runs to the end, for commands that end by themselves and for starts that must be refused.
    #[track_caller]
    pub(crate) fn output(self) -> Exit {
        self.spawn().wait()
    }

    /// Starts, and waits until every listener is bound.
    #[track_caller]
    pub(crate) fn start(self) -> Sidecar {
        let mut running = self.spawn();
        let file = self.directory.path().join("ports.json");
        let bound = wait_until(PATIENCE, || file.exists() || running.child.try_wait().unwrap().is_some());
        if !bound || !file.exists() {
            drop(running.child.kill());
            panic!("the sidecar {:?} did not come up:\n{}", self.arguments, running.stderr.text());
        }
        let ports: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let port = |key: &str| {
            let text = ports[key].as_str().unwrap_or_else(|| panic!("no {key} in {ports}"));
            text.parse().unwrap()
        };
        Sidecar {
            listen: port("listen"),
            admin: port("admin"),
            metrics: port("metrics"),
            running: Some(running),
            options: self,
        }
    }
}

/// Text that a process is still writing.
#[derive(Clone)]
struct Captured {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Arc<Mutex<Option<std::thread::JoinHandle<()>>>>,
}

impl Captured {
    fn of(mut from: impl Read + Send + 'static) -> Captured {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut chunk = [0; 8 * 1024];
            while let Ok(n @ 1..) = from.read(&mut chunk) {
                to.lock().unwrap().extend_from_slice(&chunk[..n]);
            }
        });
        Captured { bytes, reader: Arc::new(Mutex::new(Some(reader))) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    /// Everything, once the process has ended.
    fn whole(&self) -> String {
        if let Some(reader) = self.reader.lock().unwrap().take() {
            drop(reader.join());
        }
        self.text()
    }
}

struct Running {
    child: Child,
    stdout: Captured,
    stderr: Captured,
}

impl Running {
    #[track_caller]
    fn wait(mut self) -> Exit {
        let mut status = None;
        let ended = wait_until(2 * PATIENCE, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        if !ended {
            drop(self.child.kill());
            drop(self.child.wait());
            panic!("the process did not end; it said:\n{}", self.stderr.whole());
        }
        Exit {
            code: status.and_then(|status| status.code()),
            stdout: self.stdout.whole(),
            stderr: self.stderr.whole(),
        }
    }
}

/// How a process ended, and what it said.
#[derive(Debug)]
pub(crate) struct Exit {
    /// `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Exit {
    #[track_caller]
    pub(crate) fn check(&self, code: i32) {
        assert_eq!(self.code, Some(code), "it said:\n{}\n{}", self.stdout, self.stderr);
    }
}

/// A running sidecar. It is killed when dropped; `stop` drains it.
pub(crate) struct Sidecar {
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) metrics: SocketAddr,
    running: Option<Running>,
    options: Options,
}

impl Sidecar {
    /// The sidecar's working directory.
    pub(crate) fn directory(&self) -> &Path {
        self.options.directory()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.listen)
    }

    /// One request through the sidecar, on a connection of its own.
    #[track_caller]
    pub(crate) fn send(&self, request: &Request) -> Response {
        Client::once(self.listen, request)
    }

    /// A request to the metrics port.
    #[track_caller]
    pub(crate) fn side(&self, method: &str, path: &str) -> Response {
        let host = self.metrics.to_string();
        Client::once(self.metrics, &Request::new(method, path).header("Host", host))
    }

    /// A request to the admin port, as a local tool would make it.
    #[track_caller]
    pub(crate) fn admin(&self, method: &str, path: &str) -> Response {
        Client::once(self.admin, &self.admin_request(method, path))
    }

    pub(crate) fn admin_request(&self, method: &str, path: &str) -> Request {
        Request::new(method, path).header("Host", self.admin.to_string())
    }

    #[track_caller]
    pub(crate) fn scrape(&self) -> Scrape {
        let response = self.side("GET", "/metrics");
        assert_eq!(response.status, 200);
        Scrape::parse(&response.text())
    }

    /// Waits until a scrape satisfies the condition, and gives that scrape.
    #[track_caller]
    pub(crate) fn scrape_until(&self, what: &str, condition: impl Fn(&Scrape) -> bool) -> Scrape {
        let mut scrape = self.scrape();
        let deadline = Instant::now() + PATIENCE;
        while !condition(&scrape) {
            assert!(Instant::now() < deadline, "waited in vain until {what}; last:\n{}", scrape.text);
            std::thread::sleep(Duration::from_millis(20));
            scrape = self.scrape();
        }
        scrape
    }

    /// What the sidecar has logged so far.
    pub(crate) fn logged(&self) -> String {
        self.running.as_ref().map(|running| running.stderr.text()).unwrap_or_default()
    }

    /// The process, to be measured.
    #[track_caller]
    pub(crate) fn process(&self) -> Process {
        Process(self.running.as_ref().expect("still running").child.id())
    }

    /// What the sidecar has printed so far.
    pub(crate) fn printed(&self) -> String {
        self.running.as_ref().map(|running| running.stdout.text()).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        let id = self.running.as_ref().unwrap().child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status().unwrap();
        assert!(status.success(), "cannot send SIG{name}");
    }

    /// `SIGTERM`, without waiting.
    #[track_caller]
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.running.as_mut().is_none_or(|running| running.child.try_wait().unwrap().is_some())
    }

    /// Waits for the end of a sidecar that was told to stop.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> Exit {
        self.running.take().expect("still running").wait()
    }

    /// `SIGTERM`, and the end.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> Exit {
        self.terminate();
        self.wait()
    }

    /// Waits until `/readyz` answers with this status.
    #[track_caller]
    pub(crate) fn wait_for_readyz(&self, status: u16) {
        eventually(&format!("/readyz answers {status}"), || self.side("GET", "/readyz").status == status);
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        drop(running.child.kill());
        drop(running.child.wait());
        if std::thread::panicking() {
            eprintln!("--- the sidecar said\n{}---", running.stderr.whole());
        }
    }
}

/// The log's JSON lines; a line that is not JSON fails the test.
#[track_caller]
pub(crate) fn log_lines(stderr: &str) -> Vec<Value> {
    let lines = stderr.lines().filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"))).collect()
}

/// A field of a log line, whether it stands beside the message or under `fields`.
pub(crate) fn log_field<'a>(line: &'a Value, key: &str) -> Option<&'a Value> {
    line.get(key).or_else(|| line.get("fields")?.get(key))
}
