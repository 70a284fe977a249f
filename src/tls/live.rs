//! A configuration in force, and how it changes while the sidecar runs.
//!
//! ```text
//!   poll ─► read files ── as at the last poll ──────────► Unchanged
//!                │ other content
//!                └─► build ── wrong ─► Kept: the old one stays, told once for each content
//!                        └── right ─► Swapped: one pointer store; connections that are open keep theirs
//! ```
//!
//! As with rules, content is compared and not times, and a file caught half-written heals at the next poll.

use super::certificate::Certificate;
use super::files::{Contents, Files, Parts};
use crate::config::Problems;
use crate::config::settled::read_settled;
use crate::moment::Moment;
use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What came of looking for changes.
#[derive(Clone, Debug, PartialEq)]
pub enum Reloaded {
    /// The files say what they said before, or are wrong in the way already told.
    Unchanged,
    /// New connections use what the files say now.
    Swapped {
        /// Whose certificate it is and until when it is good; what else changed, if there is none.
        now: String,
        /// What is doubtful about it.
        warnings: Problems,
    },
    /// The files are wrong; what was in force stays.
    Kept(Problems),
}

/// How a side stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The certificates shown to the other side, the own one first; empty if none is.
    pub certificates: Vec<Certificate>,
    /// How many loads brought something into force or confirmed it, the one at start counted.
    pub successes: u64,
    /// How many found the files wrong.
    pub failures: u64,
    /// When the files were last right, in seconds since 1970.
    pub last_success_epoch: u64,
    /// What was wrong with the files when last read; one line.
    pub last_error: Option<String>,
}

impl Standing {
    /// When the first of the certificates expires, in seconds since 1970.
    pub fn expires_epoch(&self) -> Option<i64> {
        self.certificates.iter().map(|certificate| certificate.not_after.epoch).min()
    }
}

/// Makes a configuration of certificates and keys; may add warnings.
pub(super) type Build<C> = fn(&mut Parts, &Arc<CryptoProvider>) -> Result<C, Problems>;

/// A configuration that follows its files.
pub(super) struct Live<C> {
    files: Files,
    provider: Arc<CryptoProvider>,
    build: Build<C>,
    current: ArcSwap<C>,
    /// What was last read. Held while files are read, which may take as long as whatever they lie on likes.
    seen: Mutex<u64>,
    /// What came of it. Held for a moment only: probes and scrapes ask.
    standing: Mutex<Standing>,
}

impl<C> Live<C> {
    /// Builds for the first time; the second value is what is doubtful.
    pub(super) fn start(files: Files, build: Build<C>, now: Moment) -> Result<(Live<C>, Problems), Problems> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let contents = files.read();
        let mut parts = contents.parts(&provider, now)?;
        let current = ArcSwap::from_pointee(build(&mut parts, &provider)?);
        let standing = Standing {
            certificates: parts.own,
            successes: 0,
            last_success_epoch: now.epoch_seconds().into(),
            ..Standing::default()
        };
        let (seen, standing) = (Mutex::new(contents.fingerprint()), Mutex::new(standing));
        Ok((Live { files, provider, build, current, seen, standing }, parts.warnings))
    }

    /// What new connections use.
    pub(super) fn current(&self) -> Arc<C> {
        self.current.load_full()
    }

    pub(super) fn files(&self) -> usize {
        self.files.count()
    }

    pub(super) fn standing(&self) -> Standing {
        lock(&self.standing).clone()
    }

    /// Reads the files and takes over what changed. `asked`: builds anew in any case, and tells again what is wrong.
    pub(super) fn look(&self, now: Moment, asked: bool) -> Reloaded {
        // Held throughout, so that two who look at once cannot overtake one another.
        let mut seen = lock(&self.seen);
        let (contents, fingerprint) = read_settled(|| self.files.read(), Contents::fingerprint, &seen);
        let unchanged = fingerprint == *seen;
        if unchanged && !asked {
            return Reloaded::Unchanged;
        }
        *seen = fingerprint;
        let built = contents.parts(&self.provider, now).and_then(|mut parts| {
            let config = (self.build)(&mut parts, &self.provider)?;
            Ok((config, parts))
        });
        let mut standing = lock(&self.standing);
        match built {
            Ok((config, parts)) => {
                self.current.store(Arc::new(config));
                let unchanged = unchanged && standing.last_error.is_none();
                standing.certificates = parts.own;
                standing.last_error = None;
                standing.successes += 1;
                standing.last_success_epoch = now.epoch_seconds().into();
                if unchanged {
                    return Reloaded::Unchanged;
                }
                let now = match standing.certificates.first() {
                    Some(own) => format!("{}, valid until {}", own.shown(), own.not_after.text),
                    None => "other authorities".to_owned(),
                };
                Reloaded::Swapped { now, warnings: parts.warnings }
            }
            Err(problems) => {
                standing.last_error = Some(problems.first_line());
                standing.failures += 1;
                Reloaded::Kept(problems)
            }
        }
    }
}

/// A panic while the lock was held leaves whole values behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<C> fmt::Debug for Live<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("files", &self.files)
            .field("standing", &self.standing())
            .finish_non_exhaustive()
    }
}
