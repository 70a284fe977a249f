//! What the demo came to, for stdout.

use super::receiver::Received;
use super::traffic::Counts;
use crate::console::map_as_text;
use crate::status::{RuleStatus, SidecarStatus};
use crate::store::graph::Graph;
use std::fmt::Write;
use std::time::Duration;

pub(super) struct Facts<'a> {
    pub(super) elapsed: Duration,
    pub(super) counts: Counts,
    pub(super) statuses: &'a [SidecarStatus],
    pub(super) received: Received,
    pub(super) graph: &'a Graph,
}

pub(super) fn summary(facts: &Facts<'_>) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut text, facts);
    text
}

fn write(text: &mut String, facts: &Facts<'_>) -> std::fmt::Result {
    let counts = facts.counts;
    let seconds = facts.elapsed.as_secs_f64();
    writeln!(
        text,
        "Requests   {} in {seconds:.0} s: {} ok, {} 4xx, {} 429, {} 5xx",
        counts.answered(),
        counts.ok,
        counts.error,
        counts.throttle,
        counts.fault
    )?;
    if counts.unanswered + counts.skipped + counts.in_flight > 0 {
        let Counts { unanswered, skipped, in_flight, .. } = counts;
        writeln!(text, "           {unanswered} without an answer, {in_flight} cut off, {skipped} not sent")?;
    }
    rules(text, facts.statuses)?;
    writeln!(text, "\nService map, from {} traces", facts.graph.traces)?;
    map_as_text(facts.graph).lines().try_for_each(|line| writeln!(text, "  {line}"))?;
    overhead(text, facts.statuses)?;
    delivery(text, facts)
}

/// Sidecars with the same rules decide alike, so the counts of a rule are added.
fn rules(text: &mut String, statuses: &[SidecarStatus]) -> std::fmt::Result {
    let mut rules: Vec<RuleStatus> = Vec::new();
    for rule in statuses.iter().flat_map(|status| &status.rules.list) {
        match rules.iter_mut().find(|sum| sum.name == rule.name) {
            Some(sum) => {
                sum.by_reservoir += rule.by_reservoir;
                sum.by_rate += rule.by_rate;
                sum.dropped += rule.dropped;
            }
            None => rules.push(rule.clone()),
        }
    }
    rules.sort_by_key(|rule| rule.priority);
    writeln!(text, "\nSampled by rule           matched     kept    share   asks for")?;
    for rule in rules {
        let (kept, matched) = (rule.kept(), rule.matched());
        let share = kept as f64 / matched.max(1) as f64 * 100.0;
        let rate = rule.rate * 100.0;
        let asks = match rule.reservoir > 0.0 {
            true => format!("{}/s, then {rate} %", rule.reservoir),
            false => format!("{rate} %"),
        };
        writeln!(text, "  {:<22} {matched:>8} {kept:>8} {share:>6.1} %   {asks}", rule.name)?;
    }
    let sum = |count: fn(&SidecarStatus) -> u64| statuses.iter().map(count).sum::<u64>();
    let (sampled, dropped) = (sum(|s| s.decisions.inherited_sampled), sum(|s| s.decisions.inherited_dropped));
    writeln!(
        text,
        "  {:<22} {:>8} {sampled:>8}           the caller's decision is obeyed",
        "(inherited)",
        sampled + dropped
    )
}

fn overhead(text: &mut String, statuses: &[SidecarStatus]) -> std::fmt::Result {
    writeln!(text, "\nAdded by each sidecar    request p50      p99   response p50      p99")?;
    for status in statuses {
        let (request, response) = (&status.overhead.request, &status.overhead.response);
        writeln!(
            text,
            "  {:<22} {:>8.0} µs {:>5.0} µs {:>11.0} µs {:>5.0} µs",
            status.service, request.p50_us, request.p99_us, response.p50_us, response.p99_us
        )?;
    }
    Ok(())
}

fn delivery(text: &mut String, facts: &Facts<'_>) -> std::fmt::Result {
    let sinks = || facts.statuses.iter().flat_map(|status| &status.sinks);
    let offered: u64 = sinks().map(|sink| sink.offered).sum();
    let emitted: u64 = sinks().map(|sink| sink.emitted).sum();
    let Received { datagrams, refused } = facts.received;
    writeln!(
        text,
        "\nSegments   {offered} made, {emitted} sent by UDP, {datagrams} received, {refused} refused, {} lost",
        offered.saturating_sub(datagrams)
    )
}
