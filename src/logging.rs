//! Log lines on stderr: JSON in a container, text on a terminal.
//!
//! Lines go through a bounded queue to a thread of their own, so that a pipe nobody reads cannot stall a worker; what
//! does not fit is lost and counted.
//!
//! Libraries are heard from `info` up, whatever the level: in more detail they repeat what peers send.

use crate::clock::Clock;
use crate::config::LogFormat;
use crate::moment::Moment;
use crate::sampling::reservoir::{Reservoir, ReservoirSize};
use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use tracing::{Level, Metadata};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, reload};

/// Lines that may wait.
const MAX_LINES: usize = 8_192;

/// Lines of one kind in a second.
const LINES_PER_SECOND: ReservoirSize = ReservoirSize::per_second(10);

/// Holds back lines of one kind beyond ten a second, and counts them.
#[derive(Debug, Default)]
pub struct LineLimit {
    lines: Reservoir,
    left_out: AtomicU64,
}

impl LineLimit {
    /// Whether a line may be written now; if not, it is counted.
    pub fn admits(&self, now: Moment) -> bool {
        let admitted = self.lines.take(LINES_PER_SECOND, now);
        self.left_out.fetch_add(u64::from(!admitted), Ordering::Relaxed);
        admitted
    }

    /// How many lines were held back since this was last asked; `None` if there were none.
    pub fn left_out(&self) -> Option<u64> {
        Some(self.left_out.swap(0, Ordering::Relaxed)).filter(|&lines| lines > 0)
    }
}

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
        let lines = tracing_subscriber::fmt::layer().with_writer(Plain(writer));
        let lines = match format {
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
            LogFormat::Auto if !terminal => lines.json().flatten_event(true).boxed(),
            LogFormat::Auto | LogFormat::Text => lines.with_target(false).with_ansi(terminal).boxed(),
        };
        // A panic is a line in the log like any other, with its place; whoever can bring one about can do it often.
        let (clock, limit) = (Clock::start(), LineLimit::default());
        std::panic::set_hook(Box::new(move |panic| {
            if !limit.admits(clock.now()) {
                return;
            }
            let place = panic.location().map(ToString::to_string);
            let what = panic.payload_as_str().unwrap_or("panic");
            let lines_left_out = limit.left_out();
            tracing::error!(place, lines_left_out, "a fault of collimator's own, please report it: {what}");
        }));
        let subscriber = tracing_subscriber::registry().with(filter).with(filter_fn(may_be_told)).with(lines);
        let _ = tracing::subscriber::set_global_default(subscriber);
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

/// Whether a line may be written if the level allows it. What libraries say below `info` has the bytes of peers in it,
/// the last words of a connection of HTTP/2 for one, and those may be secrets.
fn may_be_told(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with(env!("CARGO_CRATE_NAME")) || *metadata.level() <= Level::INFO
}

/// Writes lines without the control characters that JSON lets stand as they are, and a terminal would obey.
struct Plain<W>(W);

impl<'a> MakeWriter<'a> for Plain<NonBlocking> {
    type Writer = Plain<NonBlocking>;

    fn make_writer(&'a self) -> Plain<NonBlocking> {
        Plain(self.0.clone())
    }
}

impl<W: Write> Write for Plain<W> {
    /// `line` is whole: the formatter writes each event at once.
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.write_all(&plain(line)).map(|()| line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// Escapes DEL, the C1 controls and Unicode's ends of lines as JSON would; other controls the formats escape themselves.
fn plain(line: &[u8]) -> Cow<'_, [u8]> {
    let Ok(text) = std::str::from_utf8(line) else { return Cow::Borrowed(line) };
    let is_bad = |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}');
    if !text.contains(is_bad) {
        return Cow::Borrowed(line);
    }
    let mut escaped = String::with_capacity(text.len() + 32);
    for c in text.chars() {
        match is_bad(c) {
            true => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => escaped.push(c),
        }
    }
    Cow::Owned(escaped.into_bytes())
}

impl std::fmt::Debug for Logging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logging").field("lost", &self.lost()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped_and_the_rest_left_alone() {
        let check = |line: &str, expected: &str| assert_eq!(plain(line.as_bytes()), expected.as_bytes());
        check("{\"path\":\"/\u{e4}\u{20ac}\"}\n", "{\"path\":\"/\u{e4}\u{20ac}\"}\n");
        check("{\"path\":\"/\u{9b}31m\u{7f}\u{2028}\"}\n", "{\"path\":\"/\\u009b31m\\u007f\\u2028\"}\n");
        assert_eq!(plain(b"\xff\n"), b"\xff\n".as_slice());
    }
}
