//! What is loaded again while the sidecar runs: settings, rules and the files of TLS.

use super::Control;
use crate::config::{Adopted, LiveRules, Origin, Reloaded, Settings};
use crate::telemetry::TlsSide;
use crate::tls;
use std::sync::Arc;

impl Control {
    /// Loads the settings file again, the rules, the candidate and the files of TLS, changed or not. Says whether it
    /// succeeded, and what changed or what is wrong.
    pub async fn reload(&self) -> (bool, String) {
        let _one_at_a_time = self.reloading.lock().await;
        let (mut succeeded, mut report) = self.reload_settings().await;
        let (too, told) = self.reload_one(&self.counted.rules, WhichRules::InForce).await;
        succeeded &= too;
        report += &told;
        if let Some(candidate) = &self.counted.candidate {
            let (too, told) = self.reload_one(candidate, WhichRules::Candidate).await;
            succeeded &= too;
            report = format!("{report}candidate: {told}");
        }
        let (too, told) = self.reload_tls().await;
        (succeeded && too, report + &told)
    }

    /// As far as there is a settings file: what can change now does, what cannot is named.
    async fn reload_settings(&self) -> (bool, String) {
        let Some(origin) = self.origin.clone().filter(Origin::has_file) else {
            return (true, String::new());
        };
        match tokio::task::spawn_blocking(move || origin.read()).await {
            Ok(Ok((new, _))) => {
                let adopted = self.settings().adopt(&new);
                let report = settings_report(&adopted);
                log_settings(&adopted);
                self.apply(adopted.settings);
                (true, report)
            }
            Ok(Err(problems)) => {
                tracing::error!(
                    problem = problems.first_line(),
                    "the settings are wrong; those in force stay and traffic is not affected: mend them and reload again"
                );
                (false, format!("settings: {problems}\n"))
            }
            Err(_) => (false, "the reload of settings did not finish\n".to_owned()),
        }
    }

    /// Puts settings in force. What has not changed is left alone, the level of the log above all: it may have been set
    /// by hand.
    fn apply(&self, settings: Settings) {
        let (shared, before) = (&self.counted.shared, self.settings());
        if settings.sinks.value != before.sinks.value {
            shared.emitter.replace(&settings.sinks.value);
        }
        if settings.max_connections.value != before.max_connections.value {
            shared.limit_connections(settings.max_connections.value);
        }
        if settings.access_log.value != before.access_log.value {
            shared.access.set_level(settings.access_log.value);
        }
        if settings.log_level.value != before.log_level.value {
            self.set_log_level(&settings.log_level.value.to_string());
        }
        self.settings.store(Arc::new(settings));
    }

    /// Of both sides, as far as TLS is spoken.
    async fn reload_tls(&self) -> (bool, String) {
        let shared = &self.counted.shared;
        let (inbound, outbound, now) = (shared.tls.clone(), shared.upstream_tls.clone(), self.clock.now());
        let reload = move || [inbound.map(|side| side.reload(now)), outbound.map(|side| side.reload(now))];
        let Ok(outcomes) = tokio::task::spawn_blocking(reload).await else {
            return (false, "the reload of TLS did not finish\n".to_owned());
        };
        let (mut succeeded, mut report) = (true, String::new());
        for (side, outcome) in [TlsSide::Inbound, TlsSide::Upstream].into_iter().zip(outcomes) {
            let Some(outcome) = outcome else { continue };
            log_tls_reload(side, &outcome);
            report += match side {
                TlsSide::Inbound => "tls: ",
                TlsSide::Upstream => "upstream_tls: ",
            };
            match outcome {
                tls::Reloaded::Unchanged => report += "unchanged\n",
                tls::Reloaded::Swapped { now, .. } => report += &format!("{now}\n"),
                tls::Reloaded::Kept(problems) => {
                    succeeded = false;
                    report += &format!("{problems}\n");
                }
            }
        }
        (succeeded, report)
    }

    async fn reload_one(&self, rules: &Arc<LiveRules>, which: WhichRules) -> (bool, String) {
        let now = self.clock.now();
        let reloading = Arc::clone(rules);
        match tokio::task::spawn_blocking(move || reloading.reload(now)).await {
            Ok(outcome) => {
                log_reload(which, &outcome);
                match outcome {
                    Reloaded::Kept(problems) => (false, format!("{problems}\n")),
                    Reloaded::Unchanged => (true, format!("rules {} unchanged\n", rules.hash())),
                    Reloaded::Swapped(change) => (true, format!("{change}\n")),
                }
            }
            Err(_) => (false, "the reload did not finish\n".to_owned()),
        }
    }
}

/// For whoever asked: a line for each setting that changed.
fn settings_report(adopted: &Adopted) -> String {
    if adopted.changes.is_empty() && adopted.waiting.is_empty() {
        return "settings unchanged\n".to_owned();
    }
    let changed = adopted.changes.iter().map(|change| format!("settings: {change}\n"));
    let waiting = adopted.waiting.iter().map(|key| format!("settings: {key} changed and takes a restart\n"));
    changed.chain(waiting).collect()
}

fn log_settings(adopted: &Adopted) {
    if !adopted.changes.is_empty() {
        tracing::info!(changes = adopted.changes.join(", "), "settings reloaded");
    }
    if !adopted.waiting.is_empty() {
        let keys = adopted.waiting.join(", ");
        tracing::warn!(keys, "these settings changed and take a restart; until then the old values hold");
    }
}

/// Of the two sets of rules there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichRules {
    /// Those that decide.
    InForce,
    /// Those that only count.
    Candidate,
}

/// Says in the log what a reload came to; nothing if nothing had changed.
pub fn log_reload(which: WhichRules, outcome: &Reloaded) {
    match (which, outcome) {
        (_, Reloaded::Unchanged) => {}
        (WhichRules::InForce, Reloaded::Swapped(change)) => {
            tracing::info!(change = %change, "rules reloaded")
        }
        (WhichRules::Candidate, Reloaded::Swapped(change)) => {
            tracing::info!(change = %change, "candidate rules reloaded");
        }
        (WhichRules::InForce, Reloaded::Kept(problems)) => tracing::error!(
            problem = problems.first_line(),
            "the changed rules are wrong; the old ones stay in force and traffic is not affected: mend the file, it is read again by itself"
        ),
        (WhichRules::Candidate, Reloaded::Kept(problems)) => tracing::error!(
            problem = problems.first_line(),
            "the changed candidate rules are wrong; the old ones go on counting and traffic is not affected: mend the file, it is read again by itself"
        ),
    }
}

/// Says in the log what a look at the files of TLS came to; nothing if nothing had changed.
pub fn log_tls_reload(side: TlsSide, outcome: &tls::Reloaded) {
    let side = match side {
        TlsSide::Inbound => "inbound",
        TlsSide::Upstream => "upstream",
    };
    match outcome {
        tls::Reloaded::Unchanged => {}
        tls::Reloaded::Swapped { now, warnings } => {
            tracing::info!(side, now, "TLS files reloaded; connections that are open keep what they have");
            warnings.iter().for_each(|warning| tracing::warn!(side, "{}", warning.one_line()));
        }
        tls::Reloaded::Kept(problems) => tracing::error!(
            side,
            problem = problems.first_line(),
            "the changed TLS files are wrong; what was in force stays and traffic is not affected: mend the file, it is read again by itself"
        ),
    }
}
