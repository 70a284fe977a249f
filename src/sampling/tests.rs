//! The engine, driven with time and chance in hand.

mod arrivals;

use super::rule::Globs;
use super::*;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

struct Headers<'a>(&'a [(&'a str, &'a str)]);

impl Attributes for Headers<'_> {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }
}

/// `name priority reservoir rate method path`
fn rule(text: &str) -> Rule {
    let words: Vec<&str> = text.split_whitespace().collect();
    let globs = |word: &str| Globs::new(vec![Pattern::new(word)]).unwrap();
    Rule {
        name: RuleName::new(words[0]),
        priority: Priority::new(words[1].parse().unwrap()).unwrap(),
        reservoir: ReservoirSize::try_from(words[2].parse::<f64>().unwrap()).unwrap(),
        rate: Rate::try_from(words[3].parse::<f64>().unwrap()).unwrap(),
        matchers: Matchers { http_method: globs(words[4]), url_path: globs(words[5]), ..Matchers::default() },
        description: None,
        kept: None,
        place: Place::built_in(),
        mode: Mode::Enforce,
        expires: None,
        capture: None,
        state: Arc::default(),
    }
}

fn set(rules: &[&str]) -> RuleSet {
    let default = Rule::default_rule(ReservoirSize::per_second(1), Rate::FIVE_PERCENT, Place::built_in());
    RuleSet::new(rules.iter().map(|text| rule(text)).collect(), default)
}

fn facts<'a>(method: &'a str, path: &'a str, headers: &'a Headers<'a>) -> Facts<'a, Headers<'a>> {
    Facts {
        service_name: "shop",
        service_type: None,
        host: "shop.example.com",
        method,
        path,
        attributes: headers,
    }
}

fn at(seconds: f64) -> Moment {
    Moment::new(0, (seconds * 1e9) as u64)
}

/// Each step is `seconds method path`; the draw is the largest, so that only rate 1 keeps.
#[track_caller]
fn check(rules: &[&str], steps: &[&str], expected: &[&str]) {
    let set = set(rules);
    let got: Vec<String> = steps
        .iter()
        .map(|step| {
            let words: Vec<&str> = step.split_whitespace().collect();
            let headers = Headers(&[]);
            let facts = facts(words[1], words[2], &headers);
            let decision = set.decide(&facts, None, u64::MAX, at(words[0].parse().unwrap()));
            format!("{} {}", decision.rule.unwrap().name, decision.verdict.as_str())
        })
        .collect();
    assert_eq!(got, expected);
}

#[test]
fn second_request_in_the_same_second_falls_to_the_rate() {
    check(
        &["all 1 1 0 * *"],
        &["0.0 GET /cart", "0.4 GET /cart", "1.0 GET /cart"],
        &["all reservoir", "all dropped", "all reservoir"],
    );
}

#[test]
fn the_first_match_decides_and_there_is_no_falling_through() {
    check(
        &["late 20 0 1 * *", "early 10 0 0 GET /api/*"],
        &["0 GET /api/x", "0 POST /api/x"],
        &["early dropped", "late rate"],
    );
}

#[test]
fn trap_12_equal_priorities_go_by_name_and_upper_case_first() {
    check(&["apple 5 0 0 * *", "Zebra 5 0 1 * *"], &["0 GET /"], &["Zebra rate"]);
}

#[test]
fn what_no_rule_takes_goes_to_the_default() {
    check(&["api 5 0 1 * /api/*"], &["0 GET /", "0 GET /"], &["Default reservoir", "Default dropped"]);
}

#[test]
fn inherited_decisions_are_final_and_spend_nothing() {
    let (set, headers) = (set(&["all 1 1 0 * *"]), Headers(&[]));
    let facts = facts("GET", "/", &headers);
    assert_eq!(set.decide(&facts, Some(true), 0, at(0.0)).verdict, Verdict::InheritedSampled);
    assert_eq!(set.decide(&facts, Some(false), 0, at(0.0)).verdict, Verdict::InheritedDropped);
    assert_eq!(set.decide(&facts, None, 0, at(0.0)).verdict, Verdict::Reservoir);
}

#[test]
fn probes_are_ignored_unless_a_rule_names_them() {
    let headers = Headers(&[("user-agent", "ELB-HealthChecker/2.0")]);
    let facts = facts("GET", "/", &headers);
    assert_eq!(set(&["all 1 1 1 * *"]).decide(&facts, None, 0, at(0.0)).verdict, Verdict::Ignored);
    let mut named = rule("probes 1 0 1 * *");
    named.matchers.attributes = vec![("user-agent".into(), Pattern::new("ELB-*"))];
    let set = RuleSet::new(vec![named], rule("Default 9 0 0 * *"));
    assert_eq!(set.decide(&facts, None, 0, at(0.0)).verdict, Verdict::Rate);
}

#[test]
fn unknown_properties_match_and_absent_headers_do_not() {
    let mut typed = rule("typed 1 0 1 * *");
    typed.matchers.service_type = Globs::new(vec![Pattern::new("AWS::ECS::*")]).unwrap();
    let mut tenant = rule("tenant 2 0 1 * *");
    tenant.matchers.attributes = vec![("x-tenant".into(), Pattern::new("acme*"))];
    let set = RuleSet::new(vec![typed, tenant], rule("Default 9 0 0 * *"));
    let find = |service_type, headers: &[(&str, &str)]| {
        let headers = Headers(headers);
        let facts = Facts { service_type, ..facts("GET", "/", &headers) };
        set.find(&facts).name.to_string()
    };
    assert_eq!(find(None, &[]), "typed");
    assert_eq!(find(Some("AWS::EC2::Instance"), &[]), "Default");
    assert_eq!(find(Some("AWS::EC2::Instance"), &[("x-tenant", "ACME corp")]), "tenant");
}

#[test]
fn trap_18_a_reload_keeps_reservoirs_and_counts_of_rules_of_the_same_name() {
    let (old, headers) = (set(&["a 1 1 0 * /a", "b 2 1 0 * *"]), Headers(&[]));
    let facts = facts("GET", "/a", &headers);
    assert!(old.decide(&facts, None, u64::MAX, at(7.0)).verdict.is_sampled());
    let mut new = set(&["a 1 1 0 GET *", "c 2 1 0 * *"]);
    new.carry_over(&old);
    assert_eq!(new.decide(&facts, None, u64::MAX, at(7.5)).verdict, Verdict::Dropped);
    assert_eq!(new.find(&facts).state.by_reservoir.get(), 1);
    assert_ne!(old.hash(), new.hash());
    assert_eq!(old.hash(), old.clone().hash());
}

/// 10^6 decisions within four standard deviations of what the rate says; 0 and 1 exactly.
#[test]
fn trap_09_a_million_decisions_keep_the_rate_to_full_precision() {
    let mut random = SmallRng::seed_from_u64(261_122);
    let headers = Headers(&[]);
    let facts = facts("GET", "/", &headers);
    for rate in [0.0, 0.001, 0.005, 0.05, 0.5, 1.0] {
        let set = set(&[&format!("all 1 0 {rate} * *")]);
        let n = 1_000_000.0_f64;
        let mut kept = 0u32;
        for _ in 0..1_000_000 {
            kept += u32::from(set.decide(&facts, None, random.next_u64(), at(0.0)).verdict.is_sampled());
        }
        let deviation = (n * rate * (1.0 - rate)).sqrt();
        let off = (f64::from(kept) - n * rate).abs();
        assert!(off <= 4.0 * deviation, "rate {rate}: kept {kept}, {off} off, sigma {deviation}");
    }
}

fn matching_all(text: &str) -> Rule {
    rule(&format!("{text} * *"))
}

fn over_nothing(rules: Vec<Rule>) -> RuleSet {
    RuleSet::new(rules, Rule::default_rule(ReservoirSize::default(), Rate::NONE, Place::built_in()))
}

#[test]
fn a_rule_that_observes_counts_and_changes_nothing() {
    let watching = Rule { mode: Mode::Observe, ..matching_all("watching 1 1 0.5") };
    let set = over_nothing(vec![watching, matching_all("deciding 2 1 0")]);
    let headers = Headers(&[]);
    let facts = facts("GET", "/", &headers);
    for (draw, expected) in [(0, "reservoir"), (0, "dropped"), (u64::MAX, "dropped")] {
        let decision = set.decide(&facts, None, draw, at(1.0));
        let got = (decision.rule.unwrap().name.as_str(), decision.verdict.as_str());
        assert_eq!(got, ("deciding", expected));
    }
    let state = &set.find(&facts).state;
    let would = [&state.would_by_reservoir, &state.would_by_rate, &state.would_drop].map(rule::Count::get);
    assert_eq!((would, state.decided(), state.observed()), ([1, 1, 1], 0, 3));
    assert_eq!(state.reservoir.level(ReservoirSize::per_second(1), at(1.0)), (0, 1), "nothing real is spent");
    assert_eq!(set.deciding(&facts, at(1.0)).name.as_str(), "deciding");
}

#[test]
fn probes_and_inherited_requests_are_not_observed() {
    let set = over_nothing(vec![Rule { mode: Mode::Observe, ..matching_all("watching 1 1 1") }]);
    let (probe, plain) = (Headers(&[("user-agent", "kube-probe/1.34")]), Headers(&[]));
    set.decide(&facts("GET", "/", &probe), None, 0, at(0.0));
    set.decide(&facts("GET", "/", &plain), Some(true), 0, at(0.0));
    set.decide(&facts("GET", "/", &plain), Some(false), 0, at(0.0));
    assert_eq!(set.find(&facts("GET", "/", &plain)).state.observed(), 0);
}

#[test]
fn an_expired_rule_is_passed_over_from_its_second_on() {
    let set = over_nothing(vec![Rule { expires: Some(1_000), ..matching_all("brief 1 0 1") }]);
    let headers = Headers(&[]);
    let facts = facts("GET", "/", &headers);
    let decided_at =
        |micros| set.decide(&facts, None, 0, Moment::new(micros, 0)).rule.unwrap().name.to_string();
    assert_eq!(decided_at(999_999_999), "brief");
    assert_eq!(decided_at(1_000_000_000), "Default");
}

fn capturing(limit: u32, inherited: bool) -> Rule {
    let capture = Capture {
        statuses: vec![(500, 599), (429, 429)],
        slower_than: Some(std::time::Duration::from_millis(750)),
        limit: ReservoirSize::per_second(limit),
        inherited,
    };
    Rule { capture: Some(capture), ..matching_all("capturing 1 0 0") }
}

/// What a request is captured for that ended so, after being decided so.
#[track_caller]
fn check_captured(rule: Rule, inherited: Option<bool>, status: u16, millis: u64, expected: Option<&str>) {
    let (set, headers) = (over_nothing(vec![rule]), Headers(&[]));
    let decision = set.decide(&facts("GET", "/", &headers), inherited, 0, at(0.0));
    let elapsed = std::time::Duration::from_millis(millis);
    let captured = decision.standby.and_then(|standby| standby.capture(status, elapsed, at(1.0)));
    assert_eq!(captured.map(Captured::as_str), expected, "{inherited:?} {status} {millis}");
}

#[test]
fn a_dropped_request_is_captured_for_its_status_or_its_slowness() {
    check_captured(capturing(1, false), None, 503, 1, Some("status"));
    check_captured(capturing(1, false), None, 429, 1_000, Some("status"));
    check_captured(capturing(1, false), None, 200, 751, Some("slow"));
    check_captured(capturing(1, false), None, 200, 750, None);
    check_captured(capturing(1, false), None, 404, 1, None);
    check_captured(Rule { rate: Rate::ALL, ..capturing(1, false) }, None, 503, 1, None);
    check_captured(Rule { mode: Mode::Observe, ..capturing(1, false) }, None, 503, 1, None);
}

#[test]
fn what_a_caller_dropped_is_captured_only_where_the_rule_says_so() {
    check_captured(capturing(1, false), Some(false), 503, 1, None);
    check_captured(capturing(1, true), Some(false), 503, 1, Some("status"));
    check_captured(capturing(1, true), Some(true), 503, 1, None);
    check_captured(Rule { expires: Some(0), ..capturing(1, true) }, Some(false), 503, 1, None);
}

#[test]
fn probes_are_never_captured() {
    let headers = Headers(&[("user-agent", "kube-probe/1.34")]);
    let set = over_nothing(vec![capturing(1, true)]);
    assert!(set.decide(&facts("GET", "/", &headers), None, 0, at(0.0)).standby.is_none());
    assert!(set.decide(&facts("GET", "/", &headers), Some(false), 0, at(0.0)).standby.is_none());
}

#[test]
fn captures_keep_to_their_limit_and_count_what_they_refuse_across_a_reload() {
    let (old, headers) = (over_nothing(vec![capturing(2, false)]), Headers(&[]));
    let facts = facts("GET", "/", &headers);
    let capture = |set: &RuleSet, second| {
        let standby = Arc::clone(set.decide(&facts, None, 0, at(second)).standby.unwrap());
        standby.capture(500, std::time::Duration::ZERO, at(second)).is_some()
    };
    assert_eq!((capture(&old, 5.0), capture(&old, 5.1)), (true, true));
    let mut new = over_nothing(vec![capturing(2, false)]);
    new.carry_over(&old);
    assert_eq!((capture(&new, 5.2), capture(&new, 6.0)), (false, true));
    let state = &new.find(&facts).state;
    assert_eq!((state.captured.get(), state.captures_refused.get(), state.dropped.get()), (3, 1, 4));
}

#[test]
fn rules_that_never_matched_are_told_anew_after_each_reload() {
    let (old, headers) = (set(&["a 1 0 0 * /a", "b 2 0 0 * /b"]), Headers(&[]));
    let never =
        |set: &RuleSet| set.never_matched().map(|rule| rule.name.to_string()).collect::<Vec<_>>().join(" ");
    old.decide(&facts("GET", "/a", &headers), None, 0, at(0.0));
    assert_eq!(never(&old), "b Default");
    let mut new = set(&["a 1 0 0 * /aa", "b 2 0 0 * /b"]);
    new.carry_over(&old);
    assert_eq!(never(&new), "a b Default");
    new.decide(&facts("GET", "/b", &headers), None, 0, at(0.0));
    assert_eq!(never(&new), "a Default");
}

#[test]
fn mode_expiry_and_capture_are_part_of_the_hash_where_they_are_said() {
    let hash = |rule: Rule| over_nothing(vec![rule]).hash();
    let plain = || matching_all("capturing 1 0 0");
    let hashes = [
        hash(plain()),
        hash(Rule { mode: Mode::Observe, ..plain() }),
        hash(Rule { expires: Some(1), ..plain() }),
        hash(capturing(1, false)),
        hash(capturing(1, true)),
    ];
    let distinct: std::collections::HashSet<_> = hashes.iter().collect();
    assert_eq!(distinct.len(), hashes.len(), "{hashes:?}");
}
