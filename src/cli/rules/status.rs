//! `collimator rules status`: what each rule of a running sidecar has decided.

use super::super::{Exit, Format, print_result};
use crate::config::rules::rate::percent;
use crate::config::rules::time;
use crate::fetch;
use crate::sampling::Rate;
use crate::status::{RuleStatus, RulesStatus};
use clap::Args;
use std::fmt::Write as _;
use std::time::Duration;

/// How long a running sidecar may take to answer.
const LIMIT: Duration = Duration::from_secs(5);
/// The usual admin port.
const USUAL: &str = "http://127.0.0.1:9901";

/// Whose rules.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  collimator rules status
  collimator rules status --live http://127.0.0.1:9901 --format json

Counts are since the sidecar's start, and go on for a rule whose name stays through reloads.")]
pub(super) struct StatusArgs {
    /// The admin port of the running sidecar
    #[arg(long, value_name = "URL", num_args = 0..=1, default_value = USUAL, default_missing_value = USUAL)]
    live: String,
    /// How it is told; JSON is what `GET /rules` answers
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

pub(super) async fn run(arguments: &StatusArgs) -> Exit {
    let address = arguments.live.trim_end_matches('/');
    let read = fetch::json(&format!("{address}/rules"), LIMIT).await;
    let status = read.and_then(|value| {
        let status: RulesStatus = serde_json::from_value(value.clone())
            .map_err(|error| fetch::FetchError::Http(error.to_string()))?;
        Ok((value, status))
    });
    match (status, arguments.format) {
        (Ok((_, status)), Format::Text) => print_result(&text(&status)),
        (Ok((value, _)), Format::Json) => print_result(&format!("{value:#}\n")),
        (Err(error), _) => {
            eprintln!(
                "error: the sidecar at `{address}` did not tell its rules: {error}\n\nhint: give its admin port, such as --live {USUAL}"
            );
            Exit::Failure
        }
    }
}

/// A line on the set, a table of its rules, and what is worth knowing of it.
fn text(status: &RulesStatus) -> String {
    let mut text = String::new();
    set(&mut text, status);
    if let Some(candidate) = &status.candidate {
        text.push_str("\ncandidate, which decides nothing: ");
        set(&mut text, candidate);
    }
    text
}

fn set(text: &mut String, status: &RulesStatus) {
    let since = match status.loaded_at_epoch_seconds {
        0 => "never loaded".to_owned(),
        at => format!("loaded {}", time::text(at)),
    };
    let rules = if status.count == 1 { "rule" } else { "rules" };
    let _ = writeln!(text, "rules {} from {}, {} {rules}, {since}", status.hash, status.source, status.count);
    let mut rows = vec![
        [
            "priority",
            "rule",
            "reservoir",
            "rate",
            "matched",
            "by reservoir",
            "by rate",
            "dropped",
            "captured",
        ]
        .map(str::to_owned),
    ];
    rows.extend(status.list.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; 9] = std::array::from_fn(width);
    for row in &rows {
        let mut line = String::new();
        for (n, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            // Names to the left, numbers to the right.
            let _ = match n {
                1 => write!(line, "  {cell:width$}"),
                _ => write!(line, "  {cell:>width$}"),
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for (what, names) in [("never matched", &status.never_matched), ("expired", &status.expired)] {
        if !names.is_empty() {
            let _ = writeln!(text, "{what}: {}", names.join(", "));
        }
    }
    if let Some(change) = &status.last_change {
        let at = time::text(change.at_epoch_seconds);
        let rules =
            if change.rules.is_empty() { "no rule changed".to_owned() } else { change.rules.join(", ") };
        let _ = writeln!(text, "last change {at}: {} → {}: {rules}", change.old_hash, change.new_hash);
    }
    if let Some(error) = &status.last_error {
        let _ = writeln!(text, "the files are wrong, and these rules stay in force: {error}");
    }
}

fn row(rule: &RuleStatus) -> [String; 9] {
    let mode = match (rule.expired, rule.observes) {
        (true, _) => " (expired)",
        (false, true) => " (observe)",
        (false, false) => "",
    };
    // What a rule would have done is what an observing one is there to tell.
    let (by_reservoir, by_rate, dropped) = match rule.observed.as_ref().filter(|_| rule.observes) {
        Some(would) => (would.by_reservoir, would.by_rate, would.dropped),
        None => (rule.by_reservoir, rule.by_rate, rule.dropped),
    };
    let matched = by_reservoir.saturating_add(by_rate).saturating_add(dropped);
    [
        rule.priority.to_string(),
        format!("{}{mode}", rule.name),
        rule.reservoir.to_string(),
        percent(Rate::try_from(rule.rate).unwrap_or(Rate::NONE)),
        matched.to_string(),
        by_reservoir.to_string(),
        by_rate.to_string(),
        dropped.to_string(),
        rule.captured.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_tells_counts_and_what_never_matched() {
        let status: RulesStatus = serde_json::from_str(
            r#"{"hash":"b41c90e2","source":"rules/","count":2,"loaded_at_epoch_seconds":1796083200,
            "list":[
              {"name":"checkout","priority":100,"reservoir":5.0,"rate":0.5,"by_reservoir":10,"by_rate":3,"dropped":4,"captured":1},
              {"name":"debug","priority":200,"reservoir":0.5,"rate":1.0,"observes":true,"observed":{"by_reservoir":1,"by_rate":2,"dropped":0}},
              {"name":"Default","priority":10000,"reservoir":1.0,"rate":0.05}],
            "never_matched":["Default"],"expired":[],
            "last_change":{"at_epoch_seconds":1796083200,"old_hash":"7f3d0a11","new_hash":"b41c90e2","rules":["+debug"]},
            "last_error":"error[R001] rules/a.yaml:1:1: no"}"#,
        )
        .unwrap();
        let expected = "\
rules b41c90e2 from rules/, 2 rules, loaded 2026-12-01T00:00:00Z
  priority  rule             reservoir  rate  matched  by reservoir  by rate  dropped  captured
       100  checkout                 5   50%       17            10        3        4         1
       200  debug (observe)        0.5  100%        3             1        2        0         0
     10000  Default                  1    5%        0             0        0        0         0
never matched: Default
last change 2026-12-01T00:00:00Z: 7f3d0a11 → b41c90e2: +debug
the files are wrong, and these rules stay in force: error[R001] rules/a.yaml:1:1: no
";
        assert_eq!(text(&status), expected);
    }
}
