//! The engine, driven with time and chance in hand.

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
