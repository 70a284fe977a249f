//! What a sidecar says of itself: the shape of `GET /status` on its admin port.
//!
//! Values only. The sidecar fills it, the console and the demo read it, also from other processes; unknown keys are
//! passed over and missing ones read as their default, so that neighbors of different versions understand each other.

use serde::{Deserialize, Serialize};

/// One sidecar at one moment. Counts are since its start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SidecarStatus {
    /// The name of the service it stands before; the node on the map.
    pub service: String,
    /// Of the sidecar itself.
    pub version: String,
    /// Seconds since its start.
    pub uptime_seconds: u64,
    /// The inbound side as `ip:port`.
    pub listen: String,
    /// The application's URL.
    pub upstream: String,
    /// It is stopping.
    pub draining: bool,
    /// Inbound requests.
    pub requests: RequestCounts,
    /// The rules in force.
    pub rules: RulesStatus,
    /// Requests that no rule decided.
    pub decisions: DecisionCounts,
    /// Time in the sidecar's own hands.
    pub overhead: OverheadStatus,
    /// Where segments go.
    pub sinks: Vec<SinkStatus>,
    /// Segments kept in memory; all zero without such a sink.
    pub store: StoreStatus,
    /// Where TLS is spoken.
    pub tls: TlsStatus,
}

/// Where TLS is spoken, and by which certificates. Never a key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TlsStatus {
    /// With clients; `None` without TLS.
    pub inbound: Option<TlsSideStatus>,
    /// With the application; `None` without TLS.
    pub upstream: Option<TlsSideStatus>,
}

/// One side's certificates and their last reload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TlsSideStatus {
    /// Shown to the other side, the own one first; empty if none is.
    pub certificates: Vec<CertificateStatus>,
    /// When the files were last right, in seconds since 1970.
    pub loaded_at_epoch_seconds: u64,
    /// Why the last reload was refused; `None` if it was not.
    pub last_error: Option<String>,
}

/// What a certificate says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CertificateStatus {
    /// `CN=shop.internal, O=Shop`; may be empty.
    pub subject: String,
    /// The names and addresses it is good for.
    pub names: Vec<String>,
    /// RFC 3339.
    pub not_before: String,
    /// RFC 3339.
    pub not_after: String,
}

/// Inbound requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestCounts {
    /// Answered or failed.
    pub total: u64,
    /// Not answered yet.
    pub in_flight: u64,
    /// Kept: by a rule or by the caller's decision.
    pub sampled: u64,
    /// Not kept, and recorded after the fact.
    pub captured: u64,
}

/// The rules in force and their last reload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RulesStatus {
    /// Of everything that decides; the same in sidecars that decide alike.
    pub hash: String,
    /// File, directory or `built-in`.
    pub source: String,
    /// Rules without the default.
    pub count: usize,
    /// When they came into force, in seconds since 1970.
    pub loaded_at_epoch_seconds: u64,
    /// Why the last reload was refused; `None` if it was not.
    pub last_error: Option<String>,
    /// In the order in which they are tried, the default last.
    pub list: Vec<RuleStatus>,
    /// Names of those that have matched nothing since they came into force.
    pub never_matched: Vec<String>,
    /// Names of those whose time is over; they are passed over.
    pub expired: Vec<String>,
    /// What the last reload that changed something changed; `None` if there was none.
    pub last_change: Option<ChangeStatus>,
    /// The rules that only count what they would have decided. They have none themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Box<RulesStatus>>,
}

/// What a reload changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChangeStatus {
    /// In seconds since 1970.
    pub at_epoch_seconds: u64,
    /// Of the set before.
    pub old_hash: String,
    /// Of the set after.
    pub new_hash: String,
    /// One entry for each rule: `~name rate 20% → 50%`, `+name`, `−name`.
    pub rules: Vec<String>,
}

/// One rule and what it decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuleStatus {
    /// Unique in its set.
    pub name: String,
    /// 1 to 9999; 10000 for the default.
    pub priority: u16,
    /// Kept each second before the rate applies.
    pub reservoir: f64,
    /// What all instances share, if `replicas` leaves this one only a part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservoir_shared: Option<f64>,
    /// The share kept of the rest, 0 to 1.
    pub rate: f64,
    /// Kept by the reservoir.
    pub by_reservoir: u64,
    /// Kept by the rate.
    pub by_rate: u64,
    /// Not kept.
    pub dropped: u64,
    /// Of those not kept, by this rule or by a caller: recorded after the fact.
    pub captured: u64,
    /// Not recorded after the fact, because the rule's limit was reached.
    pub captures_refused: u64,
    /// It decides nothing and counts what it would have decided.
    pub observes: bool,
    /// What it would have decided while it only observed; `None` if it never did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed: Option<ObservedStatus>,
    /// From when on it is passed over, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_epoch_seconds: Option<u64>,
    /// Its time is over.
    pub expired: bool,
    /// Places taken in its reservoir's present window.
    pub reservoir_taken: u32,
    /// Places there are in that window.
    pub reservoir_places: u32,
    /// `file:line:column`, or `built-in`.
    pub place: String,
}

/// What a rule would have decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ObservedStatus {
    /// Kept by the reservoir.
    pub by_reservoir: u64,
    /// Kept by the rate.
    pub by_rate: u64,
    /// Not kept.
    pub dropped: u64,
}

impl RuleStatus {
    /// Requests it kept.
    pub fn kept(&self) -> u64 {
        self.by_reservoir.saturating_add(self.by_rate)
    }

    /// Requests it decided.
    pub fn matched(&self) -> u64 {
        self.kept().saturating_add(self.dropped)
    }
}

/// Requests that no rule decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DecisionCounts {
    /// The caller had kept them.
    pub inherited_sampled: u64,
    /// The caller had not.
    pub inherited_dropped: u64,
    /// Probes that no rule names.
    pub ignored: u64,
}

/// Time in the sidecar's own hands, without waiting for either side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OverheadStatus {
    /// From the request's head to its departure upstream.
    pub request: Quantiles,
    /// From the response's head to its departure to the client.
    pub response: Quantiles,
}

/// A distribution of durations in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quantiles {
    /// How many were measured; if 0, the rest means nothing.
    pub count: u64,
    /// Median.
    pub p50_us: f64,
    /// 90 % are below it.
    pub p90_us: f64,
    /// 99 % are below it.
    pub p99_us: f64,
    /// Mean.
    pub mean_us: f64,
}

/// One sink; offered = emitted + dropped + rejected + queued.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SinkStatus {
    /// As in the settings, such as `udp://127.0.0.1:2000`.
    pub name: String,
    /// Segments it should have got.
    pub offered: u64,
    /// Sent.
    pub emitted: u64,
    /// Given up before sending, such as when the queue was full.
    pub dropped: u64,
    /// Refused by the receiver or too large for the way.
    pub rejected: u64,
    /// Waiting.
    pub queued: u64,
    /// How many may wait.
    pub capacity: u64,
    /// What last went wrong; `None` if nothing did.
    pub last_error: Option<String>,
}

/// The segments kept in memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreStatus {
    /// Kept.
    pub traces: u64,
    /// The most that may be kept.
    pub max_traces: u64,
    /// Estimated memory.
    pub bytes: u64,
    /// The most it may be.
    pub max_bytes: u64,
    /// Traces thrown out to make room.
    pub evicted: u64,
    /// Documents refused.
    pub refused: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbor_of_another_version_is_understood() {
        let status: SidecarStatus =
            serde_json::from_str(r#"{"service":"shop","mood":"good","rules":{"count":2}}"#).unwrap();
        assert_eq!((status.service.as_str(), status.rules.count, status.requests.total), ("shop", 2, 0));
    }
}
