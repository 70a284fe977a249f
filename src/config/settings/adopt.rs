//! What of changed settings a running sidecar takes over, and what has to wait for its next start.

use super::{Entry, Settings};

/// What became of changed settings.
#[derive(Clone, Debug)]
pub struct Adopted {
    /// Those in force from here on.
    pub settings: Settings,
    /// `sinks store → udp://127.0.0.1:2000`, one for each that was taken over.
    pub changes: Vec<String>,
    /// The keys of those that have changed too and take a restart.
    pub waiting: Vec<&'static str>,
}

impl Settings {
    /// Takes over what can change while requests are under way: limits that are asked anew each time, where segments go,
    /// and what is logged. What was bound, opened or handed to threads at the start stays as it is.
    pub fn adopt(&self, new: &Settings) -> Adopted {
        let settings = Settings {
            sinks: new.sinks.clone(),
            drain_delay: new.drain_delay.clone(),
            drain_timeout: new.drain_timeout.clone(),
            max_connections: new.max_connections.clone(),
            access_log: new.access_log.clone(),
            log_level: new.log_level.clone(),
            ..self.clone()
        };
        let (before, now, wanted) = (self.entries(), settings.entries(), new.entries());
        let changes = before.iter().zip(&now).filter(|(before, now)| before.value != now.value);
        let waiting = now.iter().zip(&wanted).filter(|(now, wanted)| now.value != wanted.value);
        Adopted {
            changes: changes
                .map(|(Entry { key, value: old, .. }, now)| format!("{key} {old} → {}", now.value))
                .collect(),
            waiting: waiting.map(|(now, _)| now.key).collect(),
            settings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, RunFlags};

    fn settings(file: &str) -> Settings {
        let flags = RunFlags::new().with("log-format", "json");
        let file = format!("upstream: http://127.0.0.1:8080\n{file}");
        Settings::resolve(&flags, &Environment::default(), Some(("s.yaml", file.as_bytes()))).unwrap().0
    }

    #[test]
    fn limits_sinks_and_logs_are_taken_over_and_what_was_bound_waits() {
        let old = settings("listen: 127.0.0.1:8000\n");
        let new = settings(
            "listen: 127.0.0.1:8001\nworkers: 7\nlimits: {connections: 5}\nsinks: [store, \"udp://127.0.0.1:2000\"]\n\
             log: {access: all, level: debug}\ndrain_delay: 1s\ndrain_timeout: 2s\n",
        );
        let adopted = old.adopt(&new);
        assert_eq!(
            adopted.changes,
            [
                "sinks store → store,udp://127.0.0.1:2000",
                "drain_delay 5s → 1s",
                "drain_timeout 25s → 2s",
                "limits.connections 10000 → 5",
                "log.access errors → all",
                "log.level info → debug",
            ]
        );
        assert_eq!(adopted.waiting, ["listen", "workers"]);
        assert_eq!(adopted.settings.listen, old.listen);
        assert_eq!(adopted.settings.sinks, new.sinks);
        let again = adopted.settings.adopt(&new);
        assert_eq!(
            (again.changes.len(), again.waiting),
            (0, vec!["listen", "workers"]),
            "as long as it is so"
        );
    }
}
