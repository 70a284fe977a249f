//! `/metrics`: reads every count there is when Prometheus asks, and writes its text.
//!
//! Counts live where they are counted. A scrape copies them into the exporter, which owns names, labels and escaping;
//! histograms of the hot path and the one info series whose labels change are appended here. Nothing is kept between
//! scrapes but the series themselves, whose number is bounded by labels with fixed values and by [`MAX_RULE_LABELS`].

use crate::config::LiveRules;
use crate::emit::DropReason;
use crate::moment::Moment;
use crate::proxy::Shared;
use crate::sampling::RuleName;
use crate::sampling::rule::RuleState;
use crate::telemetry::{Histogram, Merged, Refusal, UpstreamError, WorkerTally};
use metrics::{counter, describe_counter, describe_gauge, gauge, with_local_recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Rules that have a label of their own; the rest share `_other`.
pub const MAX_RULE_LABELS: usize = 100;
/// The label of decisions that no rule took part in.
const NO_RULE: &str = "_none";
const OTHER_RULES: &str = "_other";
/// US regions, X-Ray pricing page as of August 2026.
const USD_PER_TRACE: f64 = 5.0 / 1e6;
const FREE_TRACES_PER_MONTH: f64 = 100_000.0;
const SECONDS_PER_MONTH: f64 = 31.0 * 86_400.0;

/// Everything that is counted somewhere.
#[derive(Debug)]
pub struct Counted {
    /// What the workers share: what each counts, sinks, and how the stop stands.
    pub shared: Arc<Shared>,
    /// Rules and their reloads.
    pub rules: Arc<LiveRules>,
    /// Rules that only count.
    pub candidate: Option<Arc<LiveRules>>,
}

impl Counted {
    /// The sum over all workers.
    pub fn sum(&self, of: impl Fn(&WorkerTally) -> u64) -> u64 {
        self.shared.tallies.iter().map(|worker| of(worker)).sum()
    }

    /// One histogram of all workers.
    pub fn merged(&self, of: impl Fn(&WorkerTally) -> &Histogram) -> Merged {
        Merged::of(self.shared.tallies.iter().map(|worker| of(worker)))
    }
}

/// Writes `/metrics`.
pub struct Exposition {
    counted: Arc<Counted>,
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    process: metrics_process::Collector,
}

impl Exposition {
    /// Describes all series and sets those that stand still.
    pub fn new(counted: Arc<Counted>) -> Exposition {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let process = metrics_process::Collector::default();
        with_local_recorder(&recorder, || {
            process.describe();
            describe();
            let revision = option_env!("COLLIMATOR_REVISION").unwrap_or("unknown");
            gauge!("collimator_build_info", "version" => env!("CARGO_PKG_VERSION"), "revision" => revision)
                .set(1.0);
        });
        Exposition { counted, recorder, handle, process }
    }

    /// The whole text, version 0.0.4.
    pub fn render(&self, now: Moment) -> String {
        with_local_recorder(&self.recorder, || {
            self.process.collect();
            self.requests();
            self.decisions(now);
            self.sinks();
            self.rules();
            self.tls();
        });
        let mut text = self.handle.render();
        self.changing(&mut text, now);
        self.histograms(&mut text);
        text
    }

    fn requests(&self) {
        let counted = &self.counted;
        // One series at least is there from the start, so that a rate has something to begin from.
        request_counter("GET", "200".into()).absolute(0);
        let mut requests = std::collections::BTreeMap::new();
        for (method, status, n) in counted.shared.tallies.iter().flat_map(|worker| worker.requests()) {
            *requests.entry((method, status)).or_insert(0) += n;
        }
        for ((method, status), n) in requests {
            request_counter(method, status).absolute(n);
        }
        let inbound =
            |name: &'static str, value: u64| gauge!(name, "direction" => "inbound").set(value as f64);
        inbound("collimator_requests_in_flight", counted.sum(|worker| worker.in_flight.get()));
        inbound("collimator_connections", counted.sum(|worker| worker.connections.get()));
        for error in UpstreamError::ALL {
            counter!("collimator_upstream_errors_total", "direction" => "inbound", "reason" => error.reason())
                .absolute(counted.sum(|worker| worker.upstream_errors(error)));
        }
        counter!("collimator_upstream_retries_total", "direction" => "inbound", "reason" => "dead_connection")
            .absolute(counted.sum(|worker| worker.retries.get()));
        for refusal in Refusal::ALL {
            counter!("collimator_connections_refused_total", "reason" => refusal.reason())
                .absolute(counted.sum(|worker| worker.refusals(refusal)));
        }
        gauge!("collimator_tunnels").set(counted.sum(|worker| worker.tunnels.get()) as f64);
        counter!("collimator_tunnel_bytes_total", "direction" => "to_application")
            .absolute(counted.sum(|worker| worker.tunnel_bytes_in.get()));
        counter!("collimator_tunnel_bytes_total", "direction" => "to_client")
            .absolute(counted.sum(|worker| worker.tunnel_bytes_out.get()));
        let mut headers = std::collections::BTreeMap::new();
        for (format, outcome, n) in counted.shared.tallies.iter().flat_map(|worker| worker.headers_read()) {
            *headers.entry((format, outcome)).or_insert(0) += n;
        }
        for ((format, outcome), n) in headers {
            counter!("collimator_trace_headers_total", "format" => format, "outcome" => outcome).absolute(n);
        }
        counter!("collimator_trust_refused_total").absolute(counted.sum(|worker| worker.trust_refused.get()));
        counter!("collimator_panics_total").absolute(counted.sum(|worker| worker.panics.get()));
        gauge!("collimator_draining")
            .set(f64::from(u8::from(counted.shared.draining.load(Ordering::Relaxed))));
    }

    fn decisions(&self, now: Moment) {
        let counted = &self.counted;
        for (decision, n) in [
            ("inherited_sampled", counted.sum(|worker| worker.inherited_sampled.get())),
            ("inherited_dropped", counted.sum(|worker| worker.inherited_dropped.get())),
            ("ignored", counted.sum(|worker| worker.ignored.get())),
        ] {
            decision_counter(NO_RULE, decision).absolute(n);
        }
        let states = counted.rules.states();
        let labeled = by_label(&states, rule_decisions);
        let rules = counted.shared.rules.load();
        for rule in rules.iter() {
            if labeled.iter().any(|(name, _)| *name == rule.name) {
                let (used, places) = rule.state.reservoir.level(rule.reservoir, now);
                gauge!("collimator_sampling_reservoir_used_ratio", "rule" => rule.name.as_str().to_owned())
                    .set(if places == 0 { 0.0 } else { f64::from(used) / f64::from(places) });
            }
        }
        if let Some(candidate) = &counted.candidate {
            by_label(&candidate.states(), candidate_decisions);
            candidate_counter(NO_RULE, "ignored")
                .absolute(counted.sum(|worker| worker.candidate_ignored.get()));
        }
        // Traces that begin here, those recorded after the fact among them; those that others began are billed to them.
        let begun = |state: &RuleState| state.by_reservoir.get() + state.by_rate.get() + state.captured.get();
        let begun: u64 = states.iter().map(|(_, state)| begun(state)).sum();
        let seconds = (now.monotonic_nanos() as f64 / 1e9).max(1.0);
        let traces = begun as f64 / seconds * SECONDS_PER_MONTH;
        let usd = (traces - FREE_TRACES_PER_MONTH).max(0.0) * USD_PER_TRACE;
        gauge!("collimator_estimated_cost_usd_per_month").set(usd);
    }

    fn sinks(&self) {
        for counts in self.counted.shared.emitter.counts() {
            let sink = || counts.name().to_owned();
            for reason in DropReason::ALL {
                counter!("collimator_segments_dropped_total", "sink" => sink(), "reason" => reason.as_str())
                    .absolute(counts.dropped_for(reason));
            }
            let snapshot = counts.snapshot();
            counter!("collimator_segments_rejected_total", "sink" => sink(), "code" => "refused")
                .absolute(snapshot.rejected);
            counter!("collimator_segments_emitted_total", "sink" => sink()).absolute(snapshot.emitted);
            counter!("collimator_segments_offered_total", "sink" => sink()).absolute(snapshot.offered);
            counter!("collimator_emit_bytes_total", "sink" => sink()).absolute(snapshot.bytes);
            gauge!("collimator_emit_queue_length", "sink" => sink()).set(snapshot.queued as f64);
            gauge!("collimator_emit_queue_capacity", "sink" => sink()).set(counts.capacity() as f64);
        }
    }

    fn rules(&self) {
        let reloads = self.counted.rules.reloads();
        counter!("collimator_rules_reload_total", "result" => "success").absolute(reloads.successes);
        counter!("collimator_rules_reload_total", "result" => "failure").absolute(reloads.failures);
        gauge!("collimator_rules_last_reload_success").set(f64::from(u8::from(reloads.last_succeeded)));
        gauge!("collimator_rules_last_reload_success_timestamp_seconds")
            .set(reloads.last_success_epoch as f64);
    }

    fn tls(&self) {
        let counted = &self.counted;
        let mut handshakes = std::collections::BTreeMap::new();
        for (side, result, n) in counted.shared.tallies.iter().flat_map(|worker| worker.handshakes()) {
            *handshakes.entry((side, result)).or_insert(0) += n;
        }
        for ((side, result), n) in handshakes {
            counter!("collimator_tls_handshakes_total", "side" => side, "result" => result).absolute(n);
        }
        let (mut successes, mut failures, mut all_right) = (0, 0, true);
        let inbound = counted.shared.tls.as_ref().map(|side| ("inbound", side.standing()));
        let upstream = counted.shared.upstream_tls.as_ref().map(|side| ("upstream", side.standing()));
        for (side, standing) in inbound.into_iter().chain(upstream) {
            if let Some(expiry) = standing.expires_epoch() {
                gauge!("collimator_tls_certificate_expiry_timestamp_seconds", "side" => side)
                    .set(expiry as f64);
            }
            successes += standing.successes;
            failures += standing.failures;
            all_right &= standing.last_error.is_none();
        }
        counter!("collimator_tls_reload_total", "result" => "success").absolute(successes);
        counter!("collimator_tls_reload_total", "result" => "failure").absolute(failures);
        gauge!("collimator_tls_last_reload_success").set(f64::from(u8::from(all_right)));
    }

    /// Series whose labels change with a reload; the exporter would go on telling the old ones.
    fn changing(&self, text: &mut String, now: Moment) {
        let counted = &self.counted;
        let info = |text: &mut String, name: &str, help: &str, rules: &LiveRules| {
            head(text, name, "gauge", help);
            let (hash, source) = (rules.hash(), rules.source());
            let _ = writeln!(text, "{name}{{hash=\"{hash}\",source=\"{}\"}} 1", escape(&source));
        };
        let help = "The rules in force, by hash and source; always 1.";
        info(text, "collimator_rules_info", help, &counted.rules);
        if let Some(candidate) = &counted.candidate {
            let help = "The candidate rules, by hash and source; always 1.";
            info(text, "collimator_sampling_candidate_info", help, candidate);
        }
        let rules = counted.rules.current();
        let name = "collimator_rule_expired";
        let mut expiring =
            rules.iter().filter(|rule| rule.expires.is_some()).take(MAX_RULE_LABELS).peekable();
        if expiring.peek().is_some() {
            head(text, name, "gauge", "Rules that expire: whether they have, and are passed over.");
        }
        for rule in expiring {
            let expired = u8::from(rule.is_expired(now));
            let _ = writeln!(text, "{name}{{rule=\"{}\"}} {expired}", escape(rule.name.as_str()));
        }
    }

    /// Histograms in fixed memory, which the exporter cannot hold.
    fn histograms(&self, text: &mut String) {
        let counted = &self.counted;
        let name = "collimator_request_duration_seconds";
        head(text, name, "histogram", "Requests from their head to the last byte of the answer.");
        histogram(text, name, "direction=\"inbound\"", &counted.merged(|worker| &worker.duration));
        let name = "collimator_overhead_seconds";
        head(text, name, "histogram", "Time a request and its answer spent in the sidecar's own hands.");
        let labels = "direction=\"inbound\",phase=";
        histogram(
            text,
            name,
            &format!("{labels}\"request\""),
            &counted.merged(|worker| &worker.overhead_request),
        );
        histogram(
            text,
            name,
            &format!("{labels}\"response\""),
            &counted.merged(|worker| &worker.overhead_response),
        );
        let name = "collimator_sampling_decision_seconds";
        head(text, name, "histogram", "One decision in 64, from facts to verdict.");
        histogram(text, name, "", &counted.merged(|worker| &worker.decision));
    }
}

impl std::fmt::Debug for Exposition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exposition").field("counted", &self.counted).finish_non_exhaustive()
    }
}

fn request_counter(method: &'static str, status: String) -> metrics::Counter {
    counter!("collimator_requests_total", "direction" => "inbound", "http_request_method" => method,
        "http_response_status_code" => status)
}

fn decision_counter(rule: &str, decision: &'static str) -> metrics::Counter {
    counter!("collimator_sampling_decisions_total", "rule" => rule.to_owned(), "decision" => decision)
}

fn rule_decisions(rule: &str, states: &[Arc<RuleState>]) {
    let sum = |of: fn(&RuleState) -> u64| states.iter().map(|state| of(state)).sum();
    decision_counter(rule, "reservoir").absolute(sum(|state| state.by_reservoir.get()));
    decision_counter(rule, "rate").absolute(sum(|state| state.by_rate.get()));
    decision_counter(rule, "dropped").absolute(sum(|state| state.dropped.get()));
    decision_counter(rule, "captured").absolute(sum(|state| state.captured.get()));
    // No central sampling to borrow from yet; the series is there so that dashboards can be.
    decision_counter(rule, "borrowed").absolute(0);
    counter!("collimator_sampling_captures_refused_total", "rule" => rule.to_owned())
        .absolute(sum(|state| state.captures_refused.get()));
    for (decision, n) in [
        ("reservoir", sum(|state| state.would_by_reservoir.get())),
        ("rate", sum(|state| state.would_by_rate.get())),
        ("dropped", sum(|state| state.would_drop.get())),
    ] {
        counter!("collimator_sampling_observed_decisions_total", "rule" => rule.to_owned(), "decision" => decision)
            .absolute(n);
    }
}

fn candidate_counter(rule: &str, decision: &'static str) -> metrics::Counter {
    counter!("collimator_sampling_candidate_decisions_total", "rule" => rule.to_owned(), "decision" => decision)
}

fn candidate_decisions(rule: &str, states: &[Arc<RuleState>]) {
    let sum = |of: fn(&RuleState) -> u64| states.iter().map(|state| of(state)).sum();
    candidate_counter(rule, "reservoir").absolute(sum(|state| state.by_reservoir.get()));
    candidate_counter(rule, "rate").absolute(sum(|state| state.by_rate.get()));
    candidate_counter(rule, "dropped").absolute(sum(|state| state.dropped.get()));
}

/// Tells each rule under its name, those beyond [`MAX_RULE_LABELS`] together. Returns those told by name.
fn by_label(
    states: &[(RuleName, Arc<RuleState>)],
    tell: fn(&str, &[Arc<RuleState>]),
) -> &[(RuleName, Arc<RuleState>)] {
    let (labeled, rest) = states.split_at(states.len().min(MAX_RULE_LABELS));
    for (name, state) in labeled {
        tell(name.as_str(), std::slice::from_ref(state));
    }
    if !rest.is_empty() {
        let rest: Vec<_> = rest.iter().map(|(_, state)| Arc::clone(state)).collect();
        tell(OTHER_RULES, &rest);
    }
    labeled
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn histogram(text: &mut String, name: &str, labels: &str, merged: &Merged) {
    let comma = if labels.is_empty() { "" } else { "," };
    for (bound, n) in merged.cumulative() {
        let _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"{}\"}} {n}", bound as f64 / 1e9);
    }
    let _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {}", merged.count());
    let braces = |labels: &str| if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
    let _ = writeln!(text, "{name}_sum{} {}", braces(labels), merged.sum as f64 / 1e9);
    let _ = writeln!(text, "{name}_count{} {}", braces(labels), merged.count());
}

/// A label's value, as Prometheus wants it.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn describe() {
    for (name, help) in [
        ("collimator_requests_total", "Requests answered; 499 are clients that left before the answer."),
        ("collimator_upstream_errors_total", "Requests the application did not answer, or not to the end."),
        ("collimator_upstream_retries_total", "Requests sent again because a pooled connection was dead."),
        (
            "collimator_connections_refused_total",
            "Connections and requests ended by one of the sidecar's limits, or because they were not one unambiguous request.",
        ),
        ("collimator_tunnel_bytes_total", "Bytes carried by upgraded connections, such as WebSockets."),
        (
            "collimator_trace_headers_total",
            "Requests by the trace header they brought and what was made of it.",
        ),
        (
            "collimator_trust_refused_total",
            "Callers' decisions or trace ids that did not count (setting `trust`).",
        ),
        ("collimator_panics_total", "Requests ended by a fault of the sidecar's own."),
        (
            "collimator_sampling_decisions_total",
            "Requests by the rule that was asked and how it was decided. `captured` comes beside `dropped` or `inherited_dropped`, for those recorded after the fact.",
        ),
        (
            "collimator_sampling_captures_refused_total",
            "Requests not recorded after the fact, because the rule's limit was reached.",
        ),
        (
            "collimator_sampling_observed_decisions_total",
            "Requests by what a rule that only observes would have decided.",
        ),
        (
            "collimator_sampling_candidate_decisions_total",
            "Requests by what the candidate rules would have decided; inherited ones are as in force.",
        ),
        ("collimator_segments_offered_total", "Segments offered: emitted + dropped + rejected + queued."),
        ("collimator_segments_emitted_total", "Segments delivered as far as the kind of sink can tell."),
        ("collimator_segments_dropped_total", "Segments lost on this side."),
        ("collimator_segments_rejected_total", "Segments the sink refused."),
        ("collimator_emit_bytes_total", "Bytes of documents delivered."),
        ("collimator_rules_reload_total", "Attempts to load changed rules."),
        ("collimator_tls_handshakes_total", "TLS handshakes, by what came of them."),
        ("collimator_tls_reload_total", "Attempts to load changed certificates and keys."),
    ] {
        describe_counter!(name, help);
    }
    for (name, help) in [
        ("collimator_tunnels", "Upgraded connections that are open."),
        ("collimator_requests_in_flight", "Requests not yet answered to the last byte."),
        ("collimator_connections", "Open client connections."),
        (
            "collimator_sampling_reservoir_used_ratio",
            "Places taken in the present second, of those there are.",
        ),
        ("collimator_emit_queue_length", "Segments waiting or being sent."),
        ("collimator_emit_queue_capacity", "Segments that may wait."),
        ("collimator_rules_last_reload_success", "Whether the last attempt to load rules succeeded."),
        (
            "collimator_rules_last_reload_success_timestamp_seconds",
            "When rules were last loaded, in seconds since 1970.",
        ),
        (
            "collimator_tls_certificate_expiry_timestamp_seconds",
            "When the first of the certificates shown expires, in seconds since 1970.",
        ),
        (
            "collimator_tls_last_reload_success",
            "Whether the last attempt to load certificates and keys succeeded; 1 also without TLS.",
        ),
        ("collimator_build_info", "Version and revision; always 1."),
        (
            "collimator_estimated_cost_usd_per_month",
            "What the traces begun here would cost in a month at the pace since start.",
        ),
        ("collimator_draining", "Whether the sidecar is on its way out."),
    ] {
        describe_gauge!(name, help);
    }
}
