//! TLS on both sides: certificates from files to configurations that connections use.
//!
//! Owns: what is read from certificate and key files, how it is checked, and the configuration in force while files
//! change. May: read files. May not: print, touch a socket, or let a verification be left out.
//!
//! ```text
//!   settings ─► files ─► parts ─┬─► Inbound   clients come, ServerConfig
//!                               └─► Outbound  the application is called, ClientConfig
//!   poll ─► live: builds a whole new one off the path of requests, swaps it in or keeps the old
//! ```
//!
//! TLS 1.2 and 1.3 only, by rustls with aws-lc-rs. There is no switch that turns a check off.

mod certificate;
mod files;
mod inbound;
mod live;
mod outbound;

use crate::config::{Problems, Settings};
use crate::moment::Moment;
pub use certificate::{Certificate, Date};
pub use inbound::Inbound;
pub use live::{Reloaded, Standing};
pub use outbound::Outbound;
use rustls::SupportedProtocolVersion;
use std::sync::Arc;

/// The versions spoken, on both sides.
pub(crate) static VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS13, &rustls::version::TLS12];

/// What is offered inside, the preferred first.
fn protocols() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec(), b"http/1.1".to_vec()]
}

/// Both sides, as far as the settings ask for them.
#[derive(Debug, Default)]
pub struct Sides {
    /// Towards clients.
    pub inbound: Option<Arc<Inbound>>,
    /// Towards the application.
    pub outbound: Option<Arc<Outbound>>,
    /// What is doubtful about the files. Never errors.
    pub warnings: Problems,
}

impl Sides {
    /// Reads and checks every file that the settings name.
    ///
    /// # Errors
    /// Everything that is wrong with the files of both sides.
    pub fn start(settings: &Settings, now: Moment) -> Result<Sides, Problems> {
        let mut sides = Sides::default();
        let mut problems = Problems::new();
        match Inbound::start(&settings.tls, now) {
            Ok(None) => {}
            Ok(Some((inbound, warnings))) => {
                sides.inbound = Some(Arc::new(inbound));
                sides.warnings.append(warnings);
            }
            Err(found) => problems.append(found),
        }
        match Outbound::start(&settings.upstream_tls, &settings.upstream.value, now) {
            Ok(None) => {}
            Ok(Some((outbound, warnings))) => {
                sides.outbound = Some(Arc::new(outbound));
                sides.warnings.append(warnings);
            }
            Err(found) => problems.append(found),
        }
        if problems.is_empty() { Ok(sides) } else { Err(problems) }
    }

    /// How many files the settings name.
    pub fn files(&self) -> usize {
        self.inbound.as_ref().map_or(0, |inbound| inbound.files())
            + self.outbound.as_ref().map_or(0, |outbound| outbound.files())
    }
}

#[cfg(test)]
mod tests;
