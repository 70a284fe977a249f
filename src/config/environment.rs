//! The environment, captured once and handed on as a value, so that tests pass their own.

use super::table::{DAEMON_ADDRESS, PREFIX, SETTINGS};
use std::collections::BTreeMap;
use std::path::Path;

/// Older and newer address of ECS's metadata, the newer first.
const ECS_METADATA: [&str; 2] = ["ECS_CONTAINER_METADATA_URI_V4", "ECS_CONTAINER_METADATA_URI"];
/// Where a pod finds what it is to the cluster.
const KUBERNETES_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// The variables that concern us, and what else tells where we are. Credentials are not among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    host_name: Option<String>,
    in_kubernetes: bool,
}

/// What the environment says about the place we run at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// The address of ECS's metadata about this container.
    pub ecs_metadata: Option<String>,
    /// A Kubernetes service account token is mounted.
    pub in_kubernetes: bool,
    /// The host's name, which is the pod's or the container's.
    pub host_name: Option<String>,
}

impl Environment {
    /// Reads the process's environment, `/etc/hostname` and whether a service account is mounted. To be called once.
    pub fn capture() -> Environment {
        let variables = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
        let host_name = std::fs::read_to_string("/etc/hostname").ok();
        Environment {
            in_kubernetes: Path::new(KUBERNETES_TOKEN).exists(),
            ..Environment::from_variables(variables).with_host_name(host_name.as_deref().unwrap_or_default())
        }
    }

    /// With these variables and nothing else. Those that concern nobody here are left out, among them credentials.
    pub fn from_variables<N: Into<String>, V: Into<String>>(
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Environment {
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .filter(|(name, _)| concerns_us(name))
            .collect();
        Environment { variables, ..Environment::default() }
    }

    /// The same, on a host of this name.
    #[must_use]
    pub fn with_host_name(mut self, host_name: &str) -> Environment {
        self.host_name = Some(host_name.trim().to_owned()).filter(|name| !name.is_empty());
        self
    }

    /// A variable's value. An empty one counts as not set, for compose files and charts cannot leave one out.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// As [`Environment::get`], with the white space around it: in YAML the first line's indentation means something.
    pub(super) fn verbatim(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|_| self.variables.get(name)).map(String::as_str)
    }

    /// `HOSTNAME`, else what `/etc/hostname` says.
    pub fn host_name(&self) -> Option<&str> {
        self.get("HOSTNAME").or(self.host_name.as_deref())
    }

    /// Where we are, as far as the environment tells.
    pub fn signs(&self) -> Signs {
        Signs {
            ecs_metadata: ECS_METADATA.into_iter().find_map(|name| self.get(name)).map(str::to_owned),
            in_kubernetes: self.in_kubernetes,
            host_name: self.host_name().map(str::to_owned),
        }
    }

    /// Our own variables that are set.
    pub(super) fn ours(&self) -> impl Iterator<Item = &str> {
        self.variables
            .iter()
            .filter(|(name, value)| name.starts_with(PREFIX) && !is_service_link(name, value))
            .filter_map(|(name, _)| self.get(name).map(|_| name.as_str()))
    }
}

fn concerns_us(name: &str) -> bool {
    name.starts_with(PREFIX)
        || name == "HOSTNAME"
        || name == DAEMON_ADDRESS
        || ECS_METADATA.contains(&name)
        || SETTINGS.iter().any(|setting| setting.well_known.contains(&name))
}

/// Kubernetes sets `COLLIMATOR_SERVICE_HOST`, `COLLIMATOR_PORT_80_TCP` and more of the kind in every pod beside a
/// service called `collimator`. Nobody meant those as settings.
fn is_service_link(name: &str, value: &str) -> bool {
    let has_port_number =
        name.split_once("_PORT_").is_some_and(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()));
    let is_port = name.ends_with("_PORT") && (value.starts_with("tcp://") || value.starts_with("udp://"));
    name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || has_port_number || is_port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_kept() {
        let environment =
            Environment::from_variables([("AWS_SECRET_ACCESS_KEY", "s3cr3t"), ("PATH", "/bin")]);
        assert_eq!(environment, Environment::default());
    }

    #[test]
    fn empty_counts_as_not_set() {
        let environment = Environment::from_variables([("COLLIMATOR_LISTEN", " "), ("HOSTNAME", "")]);
        assert_eq!(environment.get("COLLIMATOR_LISTEN"), None);
        assert_eq!(environment.ours().count(), 0);
        assert_eq!(environment.clone().with_host_name("web-1\n").host_name(), Some("web-1"));
        assert_eq!(environment.host_name(), None);
    }

    #[test]
    fn signs_of_the_place() {
        let environment = Environment::from_variables([
            ("ECS_CONTAINER_METADATA_URI", "http://169.254.170.2/v3"),
            ("ECS_CONTAINER_METADATA_URI_V4", "http://169.254.170.2/v4"),
            ("HOSTNAME", "ip-10-0-0-7"),
        ]);
        let signs = environment.signs();
        assert_eq!(signs.ecs_metadata.as_deref(), Some("http://169.254.170.2/v4"));
        assert_eq!((signs.host_name.as_deref(), signs.in_kubernetes), (Some("ip-10-0-0-7"), false));
    }

    #[test]
    fn service_links_of_kubernetes_are_not_ours() {
        let links = [
            ("COLLIMATOR_SERVICE_HOST", "10.0.0.1"),
            ("COLLIMATOR_SERVICE_PORT_ADMIN", "9901"),
            ("COLLIMATOR_PORT", "tcp://10.0.0.1:80"),
            ("COLLIMATOR_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("COLLIMATOR_CONSOLE_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ];
        assert_eq!(Environment::from_variables(links).ours().count(), 0);
        let ours = Environment::from_variables([("COLLIMATOR_PORT_FILE", "/run/ports")]);
        assert_eq!(ours.ours().collect::<Vec<_>>(), ["COLLIMATOR_PORT_FILE"]);
    }
}
