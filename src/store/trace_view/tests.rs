//! Waterfalls of small traces, and that the critical path always sums to the response time.

use super::super::samples::{checkout, segment, subsegment, trace, with};
use super::*;
use proptest::prelude::*;
use serde_json::json;

fn words(waterfall: &Waterfall) -> Vec<String> {
    let row = |row: &WaterfallRow| {
        let duration = row.duration_micros.map_or("open".into(), |micros| (micros / 1_000).to_string());
        let (start, own, critical) =
            (row.start_micros / 1_000, row.self_micros / 1_000, row.critical_micros / 1_000);
        format!("{}{} {start}+{duration} self {own} path {critical}", "  ".repeat(row.depth), row.name)
    };
    waterfall.rows.iter().map(row).collect()
}

#[test]
fn the_worked_example_as_a_waterfall() {
    let waterfall = Waterfall::new(&trace(&checkout())).unwrap();
    assert_eq!(
        words(&waterfall),
        [
            "shop 0+120 self 20 path 20",
            "  pay 10+60 self 7 path 7",
            "    pay 13+53 self 53 path 53",
            "  DynamoDB 75+40 self 40 path 40",
        ]
    );
    let summary = waterfall.summary;
    assert_eq!((summary.class, summary.status, summary.segments), (Class::Fault, Some(500), 2));
    assert_eq!(summary.response_micros, Some(120_000));
    assert_eq!(summary.services, ["shop".into(), "pay".into()] as [Box<str>; 2]);
}

#[test]
fn of_children_at_the_same_time_the_last_to_end_is_on_the_path() {
    let children = json!({"subsegments": [subsegment(2, "a", 0, 60), subsegment(3, "b", 10, 80), subsegment(4, "c", 85, 95)]});
    let waterfall = Waterfall::new(&trace(&[with(segment(1, "shop", None, 0, 100), children)])).unwrap();
    assert_eq!(
        words(&waterfall),
        [
            "shop 0+100 self 10 path 20",
            "  a 0+60 self 60 path 0",
            "  b 10+70 self 70 path 70",
            "  c 85+10 self 10 path 10"
        ]
    );
}

#[test]
fn another_clock_is_moved_inside_the_call() {
    let call = with(subsegment(2, "pay", 10, 70), json!({"namespace": "remote"}));
    let shop = with(segment(1, "shop", None, 0, 100), json!({"subsegments": [call]}));
    let inside = json!({"subsegments": [subsegment(4, "work", 2, 30)]});
    let pay = |from, to| with(segment(3, "pay", Some(2), from, to), inside.clone());
    let rows = Waterfall::new(&trace(&[shop.clone(), pay(0, 40)])).unwrap().rows;
    assert_eq!((rows[2].start_micros, rows[2].skew_micros), (10_000, 10_000));
    assert_eq!((rows[3].start_micros, rows[3].skew_micros), (12_000, 10_000));
    let rows = Waterfall::new(&trace(&[shop, pay(0, 80)])).unwrap().rows;
    assert_eq!((rows[2].start_micros, rows[2].skew_micros, rows[2].outlives_call), (0, 0, true));
}

#[test]
fn what_is_missing_is_marked() {
    let call = json!({"namespace": "remote", "http": {"request": {"traced": true}}});
    let call = with(subsegment(2, "pay", 10, 70), call);
    let open = json!({"in_progress": true, "subsegments": [call]});
    let documents = [with(segment(1, "shop", Some(8), 0, 100), open)];
    let waterfall = Waterfall::new(&trace(&documents)).unwrap();
    assert!(waterfall.summary.partial);
    assert!(waterfall.rows[0].lost_parent && waterfall.rows[0].duration_micros.is_none());
    assert!(waterfall.rows[1].waiting);
}

#[test]
fn a_chain_longer_than_any_stack_has_a_waterfall() {
    let chain: Vec<_> =
        (1..=5_000).map(|id| segment(id, "s", id.checked_sub(1).filter(|p| *p > 0), 0, 10)).collect();
    let waterfall = Waterfall::new(&trace(&chain)).unwrap();
    assert_eq!(waterfall.rows.last().map(|row| (row.depth, row.critical_micros)), Some((4_999, 10_000)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn the_parts_sum_to_the_response_time(
        shape in proptest::collection::vec((0usize..8, 0u64..300, 0u64..300, any::<bool>()), 0..40),
    ) {
        let mut documents = vec![segment(1, "entry", None, 100, 200)];
        for (n, (back, start, length, call)) in shape.into_iter().enumerate() {
            let parent = (n as u64 + 1).saturating_sub(back as u64).max(1);
            let sort = if call { json!({"type": "subsegment", "namespace": "remote"}) } else { json!({}) };
            documents.push(with(segment(n as u64 + 2, "part", Some(parent), start, start + length), sort));
        }
        let waterfall = Waterfall::new(&trace(&documents)).unwrap();
        let entry = waterfall.entry_row;
        prop_assert_eq!(&*waterfall.rows[entry].name, "entry");
        let sum: u64 = waterfall.rows.iter().map(|row| row.critical_micros).sum();
        prop_assert_eq!(Some(sum), waterfall.summary.response_micros);
        // The stretches touch each other, so every instant belongs to exactly one row.
        for pair in waterfall.path.windows(2) {
            prop_assert_eq!(pair[0].from_micros, pair[1].to_micros);
        }
        for (index, row) in waterfall.rows.iter().enumerate() {
            prop_assert!(row.parent.is_none_or(|parent| parent < index));
            prop_assert!(row.self_micros <= row.duration_micros.unwrap_or(0));
        }
    }
}
