//! What is kept of many requests, against the formula by which `simulate` and `test` compute it: of `n` requests in a second
//! `min(n, R) + p · max(0, n − R)` are kept, with a variance of `p (1 − p) · max(0, n − R)`.

use super::*;
use rand::RngExt;
use std::collections::HashMap;

/// How requests come: the time from one to the next, in nanoseconds.
type Gap = fn(&mut SmallRng, u64) -> u64;

/// 100 a second on the beat.
fn constant(_: &mut SmallRng, _: u64) -> u64 {
    10_000_000
}

/// 100 a second on average, each whenever it likes.
fn poisson(random: &mut SmallRng, _: u64) -> u64 {
    (-(1.0 - random.random::<f64>()).ln() * 1e7) as u64
}

/// 150 within some milliseconds, then a second or two of nearly nothing.
fn bursty(random: &mut SmallRng, number: u64) -> u64 {
    match number % 150 {
        0 => random.random_range(1_000_000_000..2_500_000_000),
        1..4 => 300_000_000,
        _ => 100_000,
    }
}

#[track_caller]
fn check(name: &str, gap: Gap, n_requests: u64) {
    let (reservoir, rate) = (5u64, 0.05);
    let set = set(&[&format!("one 1 {reservoir} {rate} * *")]);
    let headers = Headers(&[]);
    let facts = facts("GET", "/", &headers);
    let (mut arrivals, mut dice) = (SmallRng::seed_from_u64(1), SmallRng::seed_from_u64(2));
    let (mut nanos, mut kept) = (0u64, 0u64);
    let mut in_second: HashMap<u64, u64> = HashMap::new();
    for number in 0..n_requests {
        nanos += gap(&mut arrivals, number);
        *in_second.entry(nanos / 1_000_000_000).or_default() += 1;
        let decision = set.decide(&facts, None, dice.next_u64(), Moment::new(0, nanos));
        kept += u64::from(decision.verdict.is_sampled());
    }
    let by_reservoir: u64 = in_second.values().map(|n| (*n).min(reservoir)).sum();
    let rest = (n_requests - by_reservoir) as f64;
    let expected = by_reservoir as f64 + rate * rest;
    // 99.9 % of all runs are within it, and this one is always the same.
    let band = 3.29 * (rate * (1.0 - rate) * rest).sqrt();
    let off = kept as f64 - expected;
    assert!(off.abs() <= band, "{name}: kept {kept}, {off:+.0} of {expected:.0} ± {band:.0}");
    assert!(in_second.values().any(|n| *n > 3 * reservoir), "{name}: the reservoir was never spent");
}

fn check_all(n_requests: u64) {
    check("constant", constant, n_requests);
    check("poisson", poisson, n_requests);
    check("bursty", bursty, n_requests);
}

#[test]
fn what_is_kept_is_what_the_formula_says() {
    check_all(100_000);
}

#[test]
#[ignore = "takes half a minute without optimization; `.ci/run` asks for it"]
fn of_ten_million_requests_what_is_kept_is_what_the_formula_says() {
    check_all(10_000_000);
}
