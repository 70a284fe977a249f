//! What the admin port may ask and do.
//!
//! Everything is read from where it is counted; nothing is kept here but the parts and the two switches, ready and stop.

mod reloading;

use crate::clock::Clock;
use crate::config::rules::places::Places;
use crate::config::{LiveRules, Origin, Settings};
use crate::console::{self, Answer, View};
use crate::emit::SinkCounts;
use crate::explain::{Explanation, Request, Service, explain};
use crate::exposition::{Counted, Exposition};
use crate::logging::Logging;
use crate::moment::Moment;
use crate::sampling::{Mode, Rule};
use crate::status::{
    CertificateStatus, ChangeStatus, DecisionCounts, ObservedStatus, OverheadStatus, Quantiles,
    RequestCounts, RuleStatus, RulesStatus, SidecarStatus, SinkStatus, StoreStatus, TlsSideStatus, TlsStatus,
};
use crate::store::Store;
use crate::telemetry::Merged;
use crate::tls;
use arc_swap::ArcSwap;
pub use reloading::{WhichRules, log_reload, log_tls_reload};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// The running sidecar, as its admin port sees it.
#[derive(Debug)]
pub struct Control {
    counted: Arc<Counted>,
    exposition: Exposition,
    clock: Clock,
    store: Arc<Store>,
    logging: Option<Arc<Logging>>,
    settings: ArcSwap<Settings>,
    /// Where they can be read again; not in tests.
    origin: Option<Origin>,
    /// Held while something is loaded again, so that two who ask at once do not overtake one another.
    reloading: tokio::sync::Mutex<()>,
    listen: String,
    ready: AtomicBool,
    stop: Arc<Notify>,
}

/// What the rest of the sidecar gives it.
#[derive(Debug)]
pub struct Parts {
    /// Where everything is counted.
    pub counted: Arc<Counted>,
    /// The sidecar's clock.
    pub clock: Clock,
    /// What the page is drawn from.
    pub store: Arc<Store>,
    /// Whose level can be set; not in tests.
    pub logging: Option<Arc<Logging>>,
    /// What was read at the start.
    pub settings: Settings,
    /// Where it can be read again.
    pub origin: Option<Origin>,
    /// The address where requests arrive.
    pub listen: String,
    /// Told when the sidecar is to shut down.
    pub stop: Arc<Notify>,
}

impl Control {
    /// Ready from the start: it is made once every port is bound.
    pub fn new(parts: Parts) -> Control {
        let Parts { counted, clock, store, logging, settings, origin, listen, stop } = parts;
        Control {
            exposition: Exposition::new(Arc::clone(&counted)),
            counted,
            clock,
            store,
            logging,
            settings: ArcSwap::from_pointee(settings),
            origin,
            reloading: tokio::sync::Mutex::default(),
            listen,
            ready: AtomicBool::new(true),
            stop,
        }
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Whether new traffic is welcome.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Turns new traffic away gently: not ready, and every answer says `Connection: close`. It does not stop.
    pub fn drain(&self) {
        self.ready.store(false, Ordering::Relaxed);
        self.counted.shared.draining.store(true, Ordering::Relaxed);
    }

    /// Starts the stop, as `SIGTERM` does.
    pub fn shut_down(&self) {
        self.stop.notify_one();
    }

    /// Sets the level of the log. `false` if there is no such level.
    pub fn set_log_level(&self, level: &str) -> bool {
        self.logging.as_ref().is_some_and(|logging| logging.set_level(level))
    }

    /// The text of `/metrics`.
    pub fn metrics(&self) -> String {
        self.exposition.render(self.clock.now())
    }

    /// The settings in force, each with where it came from.
    pub fn config(&self) -> Value {
        let settings = self.settings();
        let mut entries = settings.entries();
        let name = &self.counted.shared.identity.load().name;
        if settings.name_is_guessed() && settings.service_name.value != name.as_str() {
            // Nobody said it, and the place where this runs has been asked since.
            entries.iter_mut().filter(|entry| entry.key == "service.name").for_each(|entry| {
                entry.value = name.as_str().to_owned();
                entry.source = "ECS family".to_owned();
            });
        }
        let entries: Vec<Value> = entries
            .iter()
            .map(|entry| json!({ "key": entry.key, "value": entry.value, "source": entry.source }))
            .collect();
        json!({ "settings": entries, "tls": self.tls_status() })
    }

    /// The rules in force and what each has decided.
    pub fn rules(&self) -> Value {
        json!(self.rules_status())
    }

    /// Which rule would decide the request that `body` describes, as JSON: `method`, `url`, `headers` (an object) and
    /// `trace` (the value of `X-Amzn-Trace-Id`), the last two optional. Nothing is counted or taken.
    ///
    /// # Errors
    /// What is wrong with the description.
    pub fn explain(&self, body: &[u8]) -> Result<Explanation, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Asked {
            method: String,
            url: String,
            #[serde(default)]
            headers: BTreeMap<String, String>,
            trace: Option<String>,
        }
        let asked: Asked = serde_json::from_slice(body).map_err(|error| {
            format!("this is not a request: {error}\n\nhint: send {{\"method\": \"GET\", \"url\": \"/cart\", \"headers\": {{}}}}")
        })?;
        let trace = asked.trace.map(|value| ("x-amzn-trace-id".to_owned(), value));
        let request = Request::new(&asked.method, &asked.url, asked.headers.into_iter().chain(trace));
        let request = request.map_err(|error| error.to_string())?;
        let shared = &self.counted.shared;
        let (rules, identity, now) = (shared.rules.load(), shared.identity.load(), self.clock.now());
        let service = Service { name: Some(identity.name.as_str()), kind: identity.origin.as_deref() };
        let places = Places::default();
        Ok(explain(&rules, &places, &request, service, now.epoch_seconds().into(), Some(now)))
    }

    /// The answer of `GET /status`.
    pub fn status(&self) -> Value {
        json!(self.sidecar_status())
    }

    /// A page or one of its parts.
    pub fn page(&self, path: &str, query: Option<&str>) -> Option<Answer> {
        console::answer(path, query, self)
    }

    fn sidecar_status(&self) -> SidecarStatus {
        let counted = &self.counted;
        let shared = &counted.shared;
        let total: u64 =
            counted.shared.tallies.iter().flat_map(|worker| worker.requests()).map(|(.., n)| n).sum();
        let rules = self.rules_status();
        let inherited_sampled = counted.sum(|worker| worker.inherited_sampled.get());
        let states = counted.rules.states();
        let sampled = inherited_sampled
            + states.iter().map(|(_, state)| state.by_reservoir.get() + state.by_rate.get()).sum::<u64>();
        SidecarStatus {
            service: shared.identity.load().name.as_str().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: self.clock.nanos() / 1_000_000_000,
            listen: self.listen.clone(),
            upstream: shared.upstream.to_string(),
            draining: shared.draining.load(Ordering::Relaxed),
            requests: RequestCounts {
                total,
                in_flight: counted.sum(|worker| worker.in_flight.get()),
                sampled,
                captured: states.iter().map(|(_, state)| state.captured.get()).sum(),
            },
            rules,
            decisions: DecisionCounts {
                inherited_sampled,
                inherited_dropped: counted.sum(|worker| worker.inherited_dropped.get()),
                ignored: counted.sum(|worker| worker.ignored.get()),
            },
            overhead: OverheadStatus {
                request: quantiles(&counted.merged(|worker| &worker.overhead_request)),
                response: quantiles(&counted.merged(|worker| &worker.overhead_response)),
            },
            sinks: shared.emitter.counts().iter().map(|counts| sink_status(counts)).collect(),
            store: self.store_status(),
            tls: self.tls_status(),
        }
    }

    fn rules_status(&self) -> RulesStatus {
        let now = self.clock.now();
        let candidate = self.counted.candidate.as_ref().map(|candidate| Box::new(set_status(candidate, now)));
        RulesStatus { candidate, ..set_status(&self.counted.rules, now) }
    }

    fn tls_status(&self) -> TlsStatus {
        let shared = &self.counted.shared;
        TlsStatus {
            inbound: shared.tls.as_ref().map(|side| tls_side_status(side.standing())),
            upstream: shared.upstream_tls.as_ref().map(|side| tls_side_status(side.standing())),
        }
    }

    fn store_status(&self) -> StoreStatus {
        let (limits, stats) = (self.store.limits(), self.store.stats());
        StoreStatus {
            traces: stats.traces as u64,
            max_traces: limits.max_traces as u64,
            bytes: stats.bytes as u64,
            max_bytes: limits.max_bytes as u64,
            evicted: stats.evicted,
            refused: stats.refused_total(),
        }
    }
}

impl View for Control {
    fn store(&self) -> &Store {
        &self.store
    }

    fn sidecars(&self) -> Vec<SidecarStatus> {
        vec![self.sidecar_status()]
    }
}

fn tls_side_status(standing: tls::Standing) -> TlsSideStatus {
    let certificates = standing.certificates.iter().map(|certificate| CertificateStatus {
        subject: certificate.subject.clone(),
        names: certificate.names.clone(),
        not_before: certificate.not_before.text.clone(),
        not_after: certificate.not_after.text.clone(),
    });
    TlsSideStatus {
        certificates: certificates.collect(),
        loaded_at_epoch_seconds: standing.last_success_epoch,
        last_error: standing.last_error,
    }
}

fn set_status(live: &LiveRules, now: Moment) -> RulesStatus {
    let (rules, reloads) = (live.current(), live.reloads());
    let expired = rules.iter().filter(|rule| rule.is_expired(now));
    RulesStatus {
        hash: rules.hash(),
        source: live.source(),
        count: rules.len(),
        loaded_at_epoch_seconds: reloads.last_success_epoch,
        last_error: reloads.last_error,
        list: rules.iter().map(|rule| rule_status(rule, now)).collect(),
        never_matched: rules.never_matched().map(|rule| rule.name.to_string()).collect(),
        expired: expired.map(|rule| rule.name.to_string()).collect(),
        last_change: reloads.last_change.map(|(change, at_epoch_seconds)| ChangeStatus {
            at_epoch_seconds,
            old_hash: change.old_hash,
            new_hash: change.new_hash,
            rules: change.rules,
        }),
        candidate: None,
    }
}

fn rule_status(rule: &Rule, now: Moment) -> RuleStatus {
    let state = &rule.state;
    let (reservoir_taken, reservoir_places) = state.reservoir.level(rule.reservoir, now);
    let observes = rule.mode == Mode::Observe;
    RuleStatus {
        name: rule.name.to_string(),
        priority: rule.priority.get(),
        reservoir: rule.reservoir.get(),
        reservoir_shared: rule.kept.as_ref().and_then(|kept| kept.whole_reservoir).map(|whole| whole.get()),
        rate: rule.rate.get(),
        by_reservoir: state.by_reservoir.get(),
        by_rate: state.by_rate.get(),
        dropped: state.dropped.get(),
        captured: state.captured.get(),
        captures_refused: state.captures_refused.get(),
        observes,
        observed: (observes || state.observed() > 0).then(|| ObservedStatus {
            by_reservoir: state.would_by_reservoir.get(),
            by_rate: state.would_by_rate.get(),
            dropped: state.would_drop.get(),
        }),
        expires_epoch_seconds: rule.expires,
        expired: rule.is_expired(now),
        reservoir_taken,
        reservoir_places,
        place: rule.place.to_string(),
    }
}

fn quantiles(merged: &Merged) -> Quantiles {
    let count = merged.count();
    Quantiles {
        count,
        p50_us: merged.quantile(0.5) / 1e3,
        p90_us: merged.quantile(0.9) / 1e3,
        p99_us: merged.quantile(0.99) / 1e3,
        mean_us: if count == 0 { 0.0 } else { merged.sum as f64 / count as f64 / 1e3 },
    }
}

fn sink_status(counts: &SinkCounts) -> SinkStatus {
    let snapshot = counts.snapshot();
    SinkStatus {
        name: counts.name().to_owned(),
        offered: snapshot.offered,
        emitted: snapshot.emitted,
        dropped: snapshot.dropped,
        rejected: snapshot.rejected,
        queued: snapshot.queued,
        capacity: counts.capacity() as u64,
        last_error: counts.last_reason().map(|reason| reason.as_str().to_owned()),
    }
}
