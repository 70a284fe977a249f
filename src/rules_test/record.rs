//! From an access log to tests that say what is so today: one for each rule and route seen.
//!
//! Which formats are read is written in [`line`]. What is an id in a path is taken for a wildcard, so that
//! `/api/state/42` and `/api/state/43` are one route. Health checks of load balancers and kubelets are read and make no
//! test: they are not traced, unless a rule names them.

mod line;

use crate::explain::{Request, Service, facts, in_force, inherited};
use crate::sampling::{RuleName, RuleSet, is_probe};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The most routes that become tests.
pub const MAX_ROUTES: usize = 1_000;

/// The first request seen of a rule and route.
#[derive(Clone, Debug)]
struct Seen {
    request: Request,
    n: u64,
}

/// Collects the routes of a log, line by line.
#[derive(Debug)]
pub struct Recorder<'a> {
    rules: RuleSet,
    service: Service<'a>,
    seen: BTreeMap<(u16, RuleName, String), Seen>,
    /// Lines that were requests.
    pub n_requests: u64,
    /// Lines that were not understood.
    pub n_unreadable: u64,
    /// Requests whose route is left out, because there are too many.
    pub n_left_out: u64,
}

impl<'a> Recorder<'a> {
    /// For these rules. `now` decides which of them have expired.
    pub fn new(rules: &RuleSet, service: Service<'a>, now: u64) -> Recorder<'a> {
        let rules = in_force(rules, service, now);
        Recorder { rules, service, seen: BTreeMap::new(), n_requests: 0, n_unreadable: 0, n_left_out: 0 }
    }

    /// Takes one line of the log.
    pub fn line(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        let Some(request) = line::read(line) else {
            self.n_unreadable += 1;
            return;
        };
        self.n_requests += 1;
        if inherited(&request).is_some() {
            return;
        }
        let facts = facts(&request, self.service);
        let rule = self.rules.find(&facts);
        if is_probe(&facts) && !rule.matchers.names_user_agents() {
            return;
        }
        let route = format!("{} {}", request.method, route(&request.path));
        let key = (rule.priority.get(), rule.name.clone(), route);
        if let Some(seen) = self.seen.get_mut(&key) {
            seen.n += 1;
        } else if self.seen.len() < MAX_ROUTES {
            self.seen.insert(key, Seen { request, n: 1 });
        } else {
            self.n_left_out += 1;
        }
    }

    /// A test file. `log` is what the log is called in its first line.
    pub fn finish(&self, log: &str) -> String {
        let mut text = format!(
            "# Proposed by `collimator test --record {}` from {} ({} not understood, {} left out).\n\
             # It says what is so today: keep what ought to stay so.\n",
            one_line(log),
            counted(self.n_requests, "request"),
            counted(self.n_unreadable, "line"),
            counted(self.n_left_out, "request")
        );
        let service = [("name", self.service.name), ("type", self.service.kind)];
        let service: Vec<String> = service
            .into_iter()
            .filter_map(|(key, value)| Some(format!("{key}: {}", quoted(value?))))
            .collect();
        if !service.is_empty() {
            let _ = writeln!(text, "service: {{ {} }}", service.join(", "));
        }
        text.push_str(if self.seen.is_empty() { "tests: []\n" } else { "tests:\n" });
        for ((_, rule, route), seen) in &self.seen {
            let request = &seen.request;
            let times = if seen.n == 1 { "once".to_owned() } else { format!("{} times", seen.n) };
            let _ = writeln!(text, "  - name: {}", quoted(&format!("{route} is for {rule}")));
            let url = match request.host.is_empty() {
                true => request.path.clone(),
                false => format!("http://{}{}", request.host, request.path),
            };
            let _ = writeln!(
                text,
                "    request: {}    # seen {times}",
                quoted(&format!("{} {url}", request.method))
            );
            let _ = writeln!(text, "    expect: {{ rule: {} }}", quoted(rule.as_str()));
        }
        text
    }
}

/// `1 line`, `2 lines`.
fn counted(n: u64, word: &str) -> String {
    format!("{n} {word}{}", if n == 1 { "" } else { "s" })
}

/// A YAML text in double quotes; whatever comes from a log may hold anything.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            _ if character.is_control() || ('\u{80}'..'\u{a0}').contains(&character) => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
    out
}

fn one_line(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}

/// `/api/state/*` for `/api/state/42`.
fn route(path: &str) -> String {
    path.split('/').map(|part| if is_id(part) { "*" } else { part }).collect::<Vec<_>>().join("/")
}

/// Numbers, UUIDs and hashes.
fn is_id(part: &str) -> bool {
    let has_digit = part.bytes().any(|b| b.is_ascii_digit());
    let is_number = has_digit && part.bytes().all(|b| b.is_ascii_digit());
    let is_hex = part.len() >= 8 && has_digit && part.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    is_number || is_hex
}
