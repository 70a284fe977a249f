//! `collimator healthcheck`: asks `/readyz` of the sidecar that runs beside it.

use super::Exit;
use crate::config::{Environment, Settings};
use crate::fetch;
use clap::Args;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Which sidecar, and how patient.
#[derive(Debug, Args)]
#[command(after_help = "Example, in an ECS task definition:\n  \
    \"healthCheck\": { \"command\": [\"CMD\", \"/collimator\", \"healthcheck\"] }")]
pub(super) struct HealthcheckArgs {
    /// The metrics port, as `collimator run` was given it; else what the settings file says that COLLIMATOR_CONFIG names.
    /// An unspecified address means this host
    #[arg(long, env = "COLLIMATOR_METRICS", value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
}

/// The port as shipped.
const USUAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(2);

pub(super) async fn run(arguments: &HealthcheckArgs) -> Exit {
    let of_file = || Some(Settings::beside(&Environment::capture()).ok()?.metrics.value);
    let mut address = arguments.metrics.or_else(of_file).unwrap_or(USUAL);
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    match fetch::get(&format!("http://{address}/readyz"), LIMIT).await {
        Ok(_) => {
            println!("ready");
            Exit::Success
        }
        Err(error) => {
            eprintln!(
                "error: the sidecar at `{address}` is not ready: {error}\n\nhint: give its metrics port with `--metrics`"
            );
            Exit::Failure
        }
    }
}
