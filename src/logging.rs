//! Log lines on stderr: JSON in a container, text on a terminal.
//!
//! Lines go through a bounded queue to a thread of their own, so that a pipe nobody reads cannot stall a worker; what
//! does not fit is lost and counted.

use crate::config::LogFormat;
use std::io::IsTerminal;
use std::str::FromStr;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, reload};

/// Lines that may wait.
const MAX_LINES: usize = 8_192;

/// Keeps logging alive, and changes its level.
pub struct Logging {
    level: reload::Handle<LevelFilter, Registry>,
    lost: ErrorCounter,
    /// Flushes what waits when dropped.
    _guard: WorkerGuard,
}

impl Logging {
    /// Installs the logger of this process; a second call leaves the first one in place.
    pub fn start(format: LogFormat, level: LevelFilter) -> Logging {
        let terminal = std::io::stderr().is_terminal();
        let (writer, guard) = NonBlockingBuilder::default()
            .buffered_lines_limit(MAX_LINES)
            .lossy(true)
            .finish(std::io::stderr());
        let lost = writer.error_counter();
        let (filter, level) = reload::Layer::new(level);
        let lines = tracing_subscriber::fmt::layer().with_writer(writer);
        let lines = match format {
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
            LogFormat::Auto if !terminal => lines.json().flatten_event(true).boxed(),
            LogFormat::Auto | LogFormat::Text => lines.with_target(false).with_ansi(terminal).boxed(),
        };
        // A panic is a line in the log like any other, with its place.
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string);
            let what = panic.payload_as_str().unwrap_or("panic");
            tracing::error!(place, "a fault of collimator's own, please report it: {what}");
        }));
        let _ =
            tracing::subscriber::set_global_default(tracing_subscriber::registry().with(filter).with(lines));
        Logging { level, lost, _guard: guard }
    }

    /// Sets the level from its name. `false` if it is none.
    pub fn set_level(&self, name: &str) -> bool {
        match LevelFilter::from_str(name) {
            Ok(level) => self.level.reload(level).is_ok(),
            Err(_) => false,
        }
    }

    /// Lines lost because the queue was full.
    pub fn lost(&self) -> usize {
        self.lost.dropped_lines()
    }
}

impl std::fmt::Debug for Logging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logging").field("lost", &self.lost()).finish_non_exhaustive()
    }
}
