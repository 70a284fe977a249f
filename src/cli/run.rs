//! `collimator run`: settings from flags, environment and file, then the sidecar.

use super::Exit;
use crate::app::{self, StartError};
use crate::config::{Environment, Origin, RunFlags};
use crate::logging::Logging;
use std::sync::Arc;

pub(super) async fn run(flags: &RunFlags) -> Exit {
    let origin = Origin { flags: flags.clone(), environment: Environment::capture() };
    let (settings, warnings) = match origin.read() {
        Ok(settings) => settings,
        Err(problems) => {
            eprintln!("{problems}");
            return Exit::Usage;
        }
    };
    let logging = Arc::new(Logging::start(settings.log_format.value, settings.log_level.value));
    for warning in warnings.iter() {
        tracing::warn!("{}", warning.one_line());
    }
    match app::run(settings, Some(origin), Some(logging)).await {
        Ok(()) => Exit::Success,
        Err(StartError::Rules(problems) | StartError::Tls(problems)) => {
            eprintln!("{problems}");
            Exit::Usage
        }
        Err(error) => {
            eprintln!("error: {error}");
            Exit::Failure
        }
    }
}
