//! `Settings`: checked and final, each value with its source.
//!
//! Flag > `COLLIMATOR_*` variable > well-known variable > settings file > default. A value that a stronger one hides is
//! still checked, so that a file does not break on the day its flag goes away. Only well-known variables are exempt:
//! they are set for others.

use super::environment::{Environment, Signs};
use super::flags::RunFlags;
use super::gather::{Gather, Source, Sourced};
use super::problem::{Problem, Problems, Severity};
use super::regular::{self, Unread};
use super::reload::RulesSource;
use super::table::{self, CONFIG_FLAG, MOST_CONNECTIONS, MOST_WORKERS, Setting, variable_of};
use super::values::{
    self, AccessLevel, Destination, HeaderCase, LogFormat, RulesFallback, Target, Wrong, duration_text,
};
use super::yaml::{Codes, Document, MAX_BYTES};
use crate::sampling::trust::TrustPolicy;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing::level_filters::LevelFilter;

mod adopt;
mod readers;
mod tls;

pub use adopt::Adopted;
pub use tls::{TlsSettings, UpstreamTlsSettings};

const UNREADABLE: &str = "S000";
const MISSING: &str = "S004";
const CONTRADICTION: &str = "S008";
const OVERRIDDEN: &str = "S102";
const UNUSED: &str = "S103";

const HOUR: Duration = Duration::from_secs(3600);

/// Everything `run` is told. What may change while it runs, [`Settings::adopt`] says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where requests for the application arrive.
    pub listen: Sourced<SocketAddr>,
    /// The application.
    pub upstream: Sourced<Target>,
    /// The page, status and mutations; always loopback.
    pub admin: Sourced<SocketAddr>,
    /// Metrics and probes.
    pub metrics: Sourced<SocketAddr>,
    /// What the application is called in traces; not yet repaired to X-Ray's alphabet.
    pub service_name: Sourced<String>,
    /// Where the rules come from; what [`Settings::sample_all`] makes of them is [`Settings::rules_source`]'s business.
    pub rules: Sourced<RulesSource>,
    /// What to do when they are wrong at the start.
    pub rules_fallback: Sourced<RulesFallback>,
    /// Rules that only count what they would have decided: file or directory.
    pub candidate: Sourced<Option<PathBuf>>,
    /// Where segments go; never empty, each once.
    pub sinks: Sourced<Vec<Destination>>,
    /// Whose decisions count.
    pub trust: Sourced<TrustPolicy>,
    /// Threads that carry requests.
    pub workers: Sourced<NonZeroUsize>,
    /// Keep every request.
    pub sample_all: Sourced<bool>,
    /// Put the trace header on every response.
    pub response_header: Sourced<bool>,
    /// The longest a connection to the application may take.
    pub connect_timeout: Sourced<Duration>,
    /// The longest the application may be silent before the head of its answer, if there is a limit.
    pub response_timeout: Sourced<Option<Duration>>,
    /// From `SIGTERM` to the last new connection.
    pub drain_delay: Sourced<Duration>,
    /// From there until requests are cut.
    pub drain_timeout: Sourced<Duration>,
    /// How HTTP/1 header names leave.
    pub header_case: Sourced<HeaderCase>,
    /// Connections at one time.
    pub max_connections: Sourced<usize>,
    /// TLS towards clients.
    pub tls: TlsSettings,
    /// TLS towards the application.
    pub upstream_tls: UpstreamTlsSettings,
    /// Which requests get a log line.
    pub access_log: Sourced<AccessLevel>,
    /// The least important log lines shown.
    pub log_level: Sourced<LevelFilter>,
    /// How log lines look.
    pub log_format: Sourced<LogFormat>,
    /// Written once listening.
    pub port_file: Sourced<Option<PathBuf>>,
    /// What the environment says about the place.
    pub signs: Signs,
}

/// One setting, as `check` and `GET /config` show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As in the settings file.
    pub key: &'static str,
    /// As it would be written.
    pub value: String,
    /// Who said it.
    pub source: String,
}

/// What settings are read from, to be read again.
#[derive(Clone, Debug)]
pub struct Origin {
    /// As typed.
    pub flags: RunFlags,
    /// As captured at the start: a process's environment does not change from outside.
    pub environment: Environment,
}

impl Origin {
    /// As [`Settings::read`].
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn read(&self) -> Result<(Settings, Problems), Problems> {
        Settings::read(&self.flags, &self.environment)
    }

    /// Whether there is a file that may change.
    pub fn has_file(&self) -> bool {
        !self.flags.get(CONFIG_FLAG).is_empty() || self.environment.get(&variable_of(CONFIG_FLAG)).is_some()
    }
}

impl Settings {
    /// Reads the settings file, if flags or environment name one, and resolves everything.
    ///
    /// # Errors
    /// Everything that is wrong. On success the second value holds warnings.
    pub fn read(flags: &RunFlags, environment: &Environment) -> Result<(Settings, Problems), Problems> {
        let variable = variable_of(CONFIG_FLAG);
        let (path, source) = match (flags.get(CONFIG_FLAG).last(), environment.get(&variable)) {
            (Some(path), _) => (path.as_str(), format!("flag --{CONFIG_FLAG}")),
            (None, Some(path)) => (path, format!("variable {variable}")),
            (None, None) => return Settings::resolve(flags, environment, None),
        };
        let error = match regular::read(Path::new(path), MAX_BYTES) {
            Ok((bytes, _)) => return Settings::resolve(flags, environment, Some((path, &bytes))),
            Err(error) => error,
        };
        let reason = match error {
            Unread::NoFile => "this is no file".to_owned(),
            Unread::Failed(error) => match error.kind() {
                ErrorKind::NotFound => "there is no such file".to_owned(),
                ErrorKind::PermissionDenied => "permission denied".to_owned(),
                _ => error.to_string(),
            },
        };
        let message = format!("the settings file `{path}` cannot be read: {reason}");
        let problem = Problem::at_name(UNREADABLE, &source, message);
        Err(problem.hint("check the path and who may read it").into())
    }

    /// As the sidecar reads them that runs in this environment, as far as nobody needs to know its flags.
    ///
    /// # Errors
    /// As [`Settings::read`].
    pub fn beside(environment: &Environment) -> Result<Settings, Problems> {
        // Nearly always a flag, and of no interest to who asks.
        let flags = RunFlags::new().with(table::UPSTREAM.flag, "http://127.0.0.1:1");
        Settings::read(&flags, environment).map(|(settings, _)| settings)
    }

    /// Resolves flags, environment and the settings file's name and content.
    ///
    /// # Errors
    /// Everything that is wrong. On success the second value holds warnings.
    pub fn resolve(
        flags: &RunFlags,
        environment: &Environment,
        file: Option<(&str, &[u8])>,
    ) -> Result<(Settings, Problems), Problems> {
        let document = match file.map(|(name, bytes)| Document::parse(name, bytes, Codes::SETTINGS)) {
            None => None,
            Some(Ok(document)) => Some(document),
            Some(Err(problems)) => return Err(problems),
        };
        let mut gather = Gather::new(flags, environment, document);
        let upstream = gather.upstream();
        let settings = Settings {
            listen: gather
                .one(&table::LISTEN, values::address, || SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8000))),
            admin: gather
                .one(&table::ADMIN, values::loopback, || SocketAddr::from((Ipv4Addr::LOCALHOST, 9901))),
            metrics: gather
                .one(&table::METRICS, values::address, || SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9464))),
            service_name: gather.service_name(),
            rules: gather.rules(),
            rules_fallback: gather.one(&table::RULES_FALLBACK, RulesFallback::read, RulesFallback::default),
            candidate: gather.one(&table::CANDIDATE, |text| values::path(text).map(Some), || None),
            sinks: gather.sinks(),
            trust: gather.trust(),
            workers: gather.one(&table::WORKERS, |text| values::count(text, MOST_WORKERS), default_workers),
            sample_all: gather.one(&table::SAMPLE_ALL, values::flag, || false),
            response_header: gather.one(&table::RESPONSE_HEADER, values::flag, || false),
            connect_timeout: gather.duration(
                &table::CONNECT_TIMEOUT,
                Duration::from_millis(1),
                Duration::from_secs(300),
                Duration::from_secs(2),
            ),
            response_timeout: gather.one(
                &table::RESPONSE_TIMEOUT,
                |text| values::duration_or_off(text, Duration::from_millis(1)..=HOUR),
                || None,
            ),
            drain_delay: gather.duration(&table::DRAIN_DELAY, Duration::ZERO, HOUR, Duration::from_secs(5)),
            drain_timeout: gather.duration(
                &table::DRAIN_TIMEOUT,
                Duration::ZERO,
                HOUR,
                Duration::from_secs(25),
            ),
            header_case: gather.one(&table::HEADER_CASE, HeaderCase::read, HeaderCase::default),
            max_connections: gather.one(
                &table::MAX_CONNECTIONS,
                |text| values::count(text, MOST_CONNECTIONS).map(NonZeroUsize::get),
                || 10_000,
            ),
            tls: TlsSettings::read(&mut gather),
            upstream_tls: UpstreamTlsSettings::read(&mut gather),
            access_log: gather.one(&table::ACCESS_LOG, AccessLevel::read, AccessLevel::default),
            log_level: gather.one(&table::LOG_LEVEL, values::level, || LevelFilter::INFO),
            log_format: gather.one(&table::LOG_FORMAT, LogFormat::read, LogFormat::default),
            port_file: gather.one(&table::PORT_FILE, |text| values::path(text).map(Some), || None),
            signs: environment.signs(),
            upstream,
        };
        if gather.problems.is_empty() {
            settings.agree(&mut gather);
        }
        if gather.problems.is_empty() {
            return Ok((settings, gather.warnings));
        }
        // Flags and variables, which have no line, come first.
        gather.problems.sort_by_line();
        Err(gather.problems)
    }

    /// Values that are right one by one and cannot be meant together.
    fn agree(&self, gather: &mut Gather<'_>) {
        let ports = [("listen", &self.listen), ("admin", &self.admin), ("metrics", &self.metrics)];
        for (n, (name, address)) in ports.iter().enumerate() {
            for (other_name, other) in &ports[..n] {
                if collide(address.value, other.value) {
                    let message =
                        format!("`{name}` takes the port of `{other_name}`, {}", other.value.port());
                    gather.error_at(&address.source, contradiction(message, "choose another port"));
                }
            }
        }
        let target = &self.upstream.value;
        let own_port = ports.iter().find(|(_, address)| reaches(target, address.value));
        if let Some((name, address)) = own_port {
            let message =
                format!("`upstream` {target} is our own `{name}` {}: requests would go round", address.value);
            let hint = "name the port of the application, or let the sidecar listen on another one";
            gather.error_at(&self.upstream.source, contradiction(message, hint));
        }
        self.tls.agree(gather);
        self.upstream_tls.agree(&self.upstream, gather);
        if self.sample_all.value && self.rules.value != RulesSource::BuiltIn {
            let place = self.sample_all.source.to_string();
            let problem =
                Problem::at_name(OVERRIDDEN, &place, "every request is recorded and the rules are not read")
                    .hint("remove one of the settings `sample_all` and `rules`")
                    .severity(Severity::Warning);
            gather.warnings.push(problem);
        }
    }

    /// Where the rules come from.
    pub fn rules_source(&self) -> RulesSource {
        match self.sample_all.value {
            true => RulesSource::SampleAll,
            false => self.rules.value.clone(),
        }
    }

    /// Whether nobody said what the service is called.
    pub fn name_is_guessed(&self) -> bool {
        matches!(self.service_name.source, Source::HostName | Source::Default)
    }

    /// Whether header names leave as they came.
    pub fn preserve_header_case(&self) -> bool {
        self.header_case.value == HeaderCase::Preserve
    }

    /// Every setting with its value and source, in the order of `--help`.
    pub fn entries(&self) -> Vec<Entry> {
        fn plain<T: ToString>(value: &T) -> String {
            value.to_string()
        }
        let duration = |duration: &Duration| duration_text(*duration);
        let sinks =
            |sinks: &Vec<Destination>| sinks.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let mut entries = vec![
            entry(&table::UPSTREAM, &self.upstream, plain),
            entry(&table::LISTEN, &self.listen, plain),
            entry(&table::ADMIN, &self.admin, plain),
            entry(&table::METRICS, &self.metrics, plain),
            entry(&table::SERVICE_NAME, &self.service_name, plain),
            entry(&table::RULES, &self.rules, plain),
            entry(&table::RULES_FALLBACK, &self.rules_fallback, plain),
            entry(&table::CANDIDATE, &self.candidate, path_text),
            entry(&table::SINKS, &self.sinks, sinks),
            entry(&table::TRUST, &self.trust, plain),
            entry(&table::WORKERS, &self.workers, plain),
            entry(&table::SAMPLE_ALL, &self.sample_all, plain),
            entry(&table::RESPONSE_HEADER, &self.response_header, plain),
            entry(&table::CONNECT_TIMEOUT, &self.connect_timeout, duration),
            entry(&table::RESPONSE_TIMEOUT, &self.response_timeout, |limit| {
                limit.map_or_else(|| values::OFF.to_owned(), duration_text)
            }),
            entry(&table::DRAIN_DELAY, &self.drain_delay, duration),
            entry(&table::DRAIN_TIMEOUT, &self.drain_timeout, duration),
            entry(&table::HEADER_CASE, &self.header_case, plain),
            entry(&table::MAX_CONNECTIONS, &self.max_connections, plain),
        ];
        entries.extend(self.tls.entries());
        entries.extend(self.upstream_tls.entries());
        entries.extend([
            entry(&table::ACCESS_LOG, &self.access_log, plain),
            entry(&table::LOG_LEVEL, &self.log_level, |level| level.to_string().to_ascii_lowercase()),
            entry(&table::LOG_FORMAT, &self.log_format, plain),
            entry(&table::PORT_FILE, &self.port_file, path_text),
        ]);
        entries
    }
}

fn entry<T>(setting: &'static Setting, sourced: &Sourced<T>, text: impl Fn(&T) -> String) -> Entry {
    Entry { key: setting.key, value: text(&sourced.value), source: sourced.source.to_string() }
}

fn path_text(path: &Option<PathBuf>) -> String {
    path.as_ref().map_or_else(|| "none".to_owned(), |path| path.display().to_string())
}

fn contradiction(message: String, hint: &str) -> Wrong {
    Wrong { code: CONTRADICTION, message, hint: hint.to_owned() }
}

/// One thread for each CPU this container may use; the standard library reads its quota.
fn default_workers() -> NonZeroUsize {
    std::thread::available_parallelism()
        .unwrap_or(NonZeroUsize::MIN)
        .min(NonZeroUsize::new(MOST_WORKERS).unwrap_or(NonZeroUsize::MIN))
}

/// Whether both cannot be bound at once. Port 0 is any free one.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let same_kind = a.is_ipv4() == b.is_ipv4();
    a.port() == b.port()
        && a.port() != 0
        && same_kind
        && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

/// Whether the application's address is one we listen on, as far as its text tells.
fn reaches(target: &Target, address: SocketAddr) -> bool {
    let is_local = match target.host.as_str() {
        "localhost" => true,
        host => {
            let v4 = host.parse::<Ipv4Addr>().is_ok_and(|host| host.is_loopback() || host.is_unspecified());
            v4 || host.parse::<Ipv6Addr>().is_ok_and(|host| host.is_loopback() || host.is_unspecified())
        }
    };
    let is_same = target.host.parse::<IpAddr>().is_ok_and(|host| address.ip() == host);
    let takes_local = address.ip().is_unspecified() || address.ip().is_loopback();
    target.port == address.port() && (is_same || is_local && takes_local)
}

#[cfg(test)]
mod tests;
