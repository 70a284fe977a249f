//! R105 to R108: what a rule keeps, and what that costs.
//!
//! Prices are those of the X-Ray pricing page as read in November 2026: 5.00 US dollars for a million recorded traces,
//! the first 100,000 of a month free. A month has 31 days.

use super::{Report, takes_everything};
use crate::config::rules::rate::percent;
use crate::sampling::{Mode, Rule, RuleName};

const USD_PER_MILLION: f64 = 5.0;
const FREE_TRACES: f64 = 100_000.0;
const HOURS_PER_MONTH: f64 = 744.0;

pub(super) fn check(rule: &Rule, report: &mut Report<'_>) {
    if rule.mode == Mode::Observe {
        return;
    }
    rounds_to_nothing(rule, report);
    drops_everything(rule, report);
    large_spend(rule, report);
    multiplied(rule, report);
}

/// `"Default"` is a rule like any other to people.
fn called(rule: &Rule) -> String {
    match rule.name.as_str() {
        RuleName::DEFAULT => "the default".to_owned(),
        name => format!("rule \"{name}\""),
    }
}

fn rounds_to_nothing(rule: &Rule, report: &mut Report<'_>) {
    let rate = rule.rate.get();
    let Some(traffic) = report.options.traffic_per_hour else { return };
    let hours = 1.0 / (rate * traffic);
    if rate > 0.0 && rule.reservoir.get() == 0.0 && hours > 24.0 {
        let spot = report.field(rule, "rate", 0);
        let message = format!(
            "rate {} at {} requests/h (from --traffic) is one trace in {}",
            percent(rule.rate),
            grouped(traffic),
            span(hours)
        );
        report.warn("R105", &spot, message, "use a reservoir or a higher rate");
    }
}

fn drops_everything(rule: &Rule, report: &mut Report<'_>) {
    if rule.rate.get() > 0.0 || rule.reservoir.get() > 0.0 {
        return;
    }
    let spot = report.field(rule, "rate", 0);
    let message = format!("{} drops everything: rate 0 and no reservoir", called(rule));
    match takes_everything(rule) {
        true => report.warn(
            "R106",
            &spot,
            message,
            "it takes every request that is left; nothing of them is seen",
        ),
        false => report.note("R106", &spot, message, "its requests are counted and never traced"),
    }
}

fn large_spend(rule: &Rule, report: &mut Report<'_>) {
    if takes_everything(rule) && rule.rate.get() == 1.0 {
        let spot = report.field(rule, "rate", 0);
        let message = format!("{} keeps every request there is", called(rule));
        report.warn(
            "R107",
            &spot,
            message,
            "100% on everything grows with traffic; use a reservoir, or match less",
        );
        return;
    }
    let Some(max_usd) = report.options.max_usd else { return };
    let instances = f64::from(report.options.replicas.unwrap_or(1));
    let by_reservoir = rule.reservoir.get() * 3600.0;
    let (an_hour, when) = match report.options.traffic_per_hour {
        Some(traffic) => {
            let kept = by_reservoir.min(traffic);
            let when = format!("if all {} requests/h (from --traffic) are its own", grouped(traffic));
            (kept + rule.rate.get() * (traffic - kept), when)
        }
        None => (by_reservoir, "from its reservoir alone".to_owned()),
    };
    let traces = an_hour * instances * HOURS_PER_MONTH;
    let usd = cost(traces);
    if usd > max_usd {
        let field = if rule.reservoir.get() > 0.0 { "reservoir" } else { "rate" };
        let spot = report.field(rule, field, 0);
        let message = format!(
            "{} may record {} traces a month, ${usd:.2}, {when}",
            called(rule),
            grouped(traces.round())
        );
        report.warn(
            "R107",
            &spot,
            message,
            format!("--max-usd allows ${max_usd:.2}; lower its rate or reservoir"),
        );
    }
}

/// What a month with so many recorded traces costs, in US dollars.
fn cost(traces: f64) -> f64 {
    (traces - FREE_TRACES).max(0.0) / 1e6 * USD_PER_MILLION
}

fn multiplied(rule: &Rule, report: &mut Report<'_>) {
    let Some(replicas) = report.options.replicas.filter(|_| rule.reservoir.get() > 0.0) else { return };
    let shared = report.places.replicas().unwrap_or(1).max(1);
    if replicas <= shared {
        return;
    }
    let size = rule.whole_reservoir().get();
    let all = size / f64::from(shared) * f64::from(replicas);
    let message = format!(
        "reservoir {size} is up to {} traces/s in {replicas} instances (from --replicas)",
        (all * 1000.0).round() / 1000.0
    );
    let spot = report.field(rule, "reservoir", 0);
    report.warn(
        "R108",
        &spot,
        message,
        format!("write `replicas: {replicas}` at the top of a rule file to share it"),
    );
}

/// `1234567` → `1,234,567`; a fraction keeps its digits.
fn grouped(number: f64) -> String {
    let text = number.to_string();
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(a, b)| (a, Some(b)));
    let mut out = String::new();
    for (n, digit) in whole.chars().enumerate() {
        if n > 0 && (whole.len() - n).is_multiple_of(3) && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    match fraction {
        Some(fraction) => format!("{out}.{fraction}"),
        None => out,
    }
}

fn span(hours: f64) -> String {
    match hours {
        hours if hours < 72.0 => format!("{hours:.0} h"),
        hours if hours < 24.0 * 730.0 => format!("{:.0} days", hours / 24.0),
        hours => format!("{} years", grouped((hours / 24.0 / 365.0).round())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_is_that_of_awss_own_example() {
        // 2,000 requests an hour, 10 %, 31 days: 148,800 recorded, 48,800 billed.
        assert_eq!(format!("{:.2}", cost(2_000.0 * 0.1 * HOURS_PER_MONTH)), "0.24");
        assert_eq!(cost(99_999.0), 0.0);
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(grouped(1_234_567.0), "1,234,567");
        assert_eq!(grouped(12.0), "12");
        assert_eq!(grouped(0.5), "0.5");
        assert_eq!(span(8_333.3), "347 days");
        assert_eq!(span(30.2), "30 h");
    }
}
