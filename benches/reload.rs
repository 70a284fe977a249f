//! A rule file of 1,000 rules: read, checked, compiled and compared, up to where it is swapped in.

use crate::Measure;
use crate::decide::{Kind, yaml};
use collimator::config::Change;
use collimator::config::rules::from_sources;
use std::hint::black_box;

pub(crate) fn cases(measure: &mut impl Measure) {
    let text = yaml(1_000, Kind::Mixed);
    let load = |text: &str| {
        from_sources(vec![("bench.yaml".to_owned(), text.as_bytes().to_vec())]).expect("rules").rules
    };
    let before = load(&text.replace("rate: 0.05", "rate: 0.06"));
    measure.case("reload/1000_rules", || {
        let mut rules = load(black_box(&text));
        rules.carry_over(&before);
        let change = Change::between(&before, &rules);
        assert_eq!(change.rules, ["~last rate 6% → 5%"]);
    });
}
