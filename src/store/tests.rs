//! Bounds, eviction and the accounts of the store.

use super::samples::{segment, store, subsegment, trace_id, with};
use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn of_trace(n: u64, document: Value) -> Value {
    with(document, json!({"trace_id": trace_id(n)}))
}

fn visit(n: u64, url: &str) -> Vec<u8> {
    let http = json!({"http": {"request": {"method": "GET", "url": url}}});
    with(of_trace(n, segment(1, "shop", None, 0, 1)), http).to_string().into_bytes()
}

#[test]
fn a_complete_document_takes_the_place_of_the_one_in_progress_and_repeats_are_ignored() {
    let open = with(segment(1, "shop", None, 0, 1), json!({"in_progress": true})).to_string();
    let done = segment(1, "shop", None, 0, 1).to_string();
    let store = Store::default();
    let inserted = [&open, &open, &done, &done, &open].map(|json| store.insert(json.as_bytes()));
    use Inserted::{Repeated, Replaced, Stored};
    assert_eq!(inserted, [Stored, Repeated, Replaced, Repeated, Repeated]);
    assert_eq!((store.stats().documents, store.stats().revision), (1, 2));
}

#[test]
fn what_is_refused_is_counted_by_reason() {
    let store = Store::default();
    assert_eq!(store.insert(b"?"), Inserted::Refused(Refusal::NotJson));
    store.insert(b"{}");
    store.insert(b"{}");
    let stats = store.stats();
    assert_eq!(stats.refused, BTreeMap::from([(Refusal::NotJson, 1), (Refusal::NotASegment, 2)]));
    assert_eq!((stats.refused_total(), stats.traces, stats.revision), (3, 0, 0));
}

#[test]
fn a_health_check_cannot_push_out_a_checkout() {
    let store = Store::new(Limits { max_traces: 10, ..Limits::default() });
    (0..3).for_each(|n| assert_eq!(store.insert(&visit(n, "http://shop/checkout/7")), Inserted::Stored));
    (10..100).for_each(|n| assert_eq!(store.insert(&visit(n, "http://shop/healthz")), Inserted::Stored));
    let mut kept: Vec<String> = store.snapshot().iter().map(|trace| trace.id.to_string()).collect();
    kept.sort();
    let expected: Vec<String> = (0..3).chain(93..100).map(trace_id).collect();
    assert_eq!(kept, expected);
    assert_eq!(store.stats().evicted, 83);
}

#[test]
fn made_up_paths_share_one_entry_point() {
    let store = Store::new(Limits { max_traces: 1_000, ..Limits::default() });
    for n in 0..2_000 {
        let word: String = n.to_string().bytes().map(|digit| char::from(digit + 49)).collect();
        store.insert(&visit(n, &format!("http://shop/{word}")));
    }
    assert_eq!(store.locked().entry_points.len(), MAX_ENTRY_POINTS + 1);
    assert_eq!(store.stats().traces, 1_000);
}

#[test]
fn a_trace_counts_as_its_entry_once_that_has_come() {
    let store = Store::default();
    store.insert(of_trace(1, segment(2, "pay", Some(1), 0, 1)).to_string().as_bytes());
    store.insert(&visit(1, "http://shop/checkout"));
    let inner = store.locked();
    assert_eq!(inner.entry_points.keys().map(|key| &**key).collect::<Vec<_>>(), ["shop GET /checkout"]);
}

#[test]
fn one_trace_cannot_fill_the_store() {
    let store = Store::new(Limits { max_traces: 10, max_bytes: 64 * 1024 });
    let full = (1..1_000).map(|id| store.insert(segment(id, "shop", None, 0, 1).to_string().as_bytes()));
    assert!(full.filter(|inserted| *inserted == Inserted::Refused(Refusal::TraceFull)).count() > 900);
    assert!(store.stats().bytes <= 8 * 1024);
}

#[test]
fn the_newest_come_first() {
    let store = Store::default();
    (1..=5).for_each(|n| assert_eq!(store.insert(&visit(n, "http://shop/")), Inserted::Stored));
    let newest: Vec<String> = store.newest(2).iter().map(|trace| trace.id.to_string()).collect();
    assert_eq!(newest, [trace_id(5), trace_id(4)]);
}

#[test]
fn the_graph_is_computed_once_for_each_revision() {
    let store = store(&[segment(1, "shop", None, 0, 1)]);
    assert!(Arc::ptr_eq(&store.graph(), &store.graph()));
    store.insert(of_trace(2, segment(1, "shop", None, 0, 1)).to_string().as_bytes());
    assert_eq!(store.graph().nodes[0].stats.n() + store.graph().nodes[1].stats.n(), 2);
}

#[test]
fn a_circle_and_a_document_that_is_its_own_parent_have_a_place() {
    let documents = [
        segment(1, "a", Some(2), 0, 9),
        segment(2, "b", Some(1), 1, 5),
        segment(3, "c", Some(3), 2, 5),
        with(segment(4, "d", None, 0, 1), json!({"subsegments": [subsegment(4, "d", 0, 1)]})),
    ];
    let graph = store(&documents).graph();
    assert_eq!(graph.nodes.iter().map(|node| node.stats.n()).sum::<u64>(), 4);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_books_balance_after_any_sequence(
        steps in proptest::collection::vec((0u64..20, 0u64..4, any::<bool>(), 0usize..5), 1..200),
    ) {
        let limits = Limits { max_traces: 8, max_bytes: 40_000 };
        let store = Store::new(limits);
        for (trace, id, done, path) in steps {
            let parent = id.checked_sub(1);
            let mut document = of_trace(trace, segment(id + 1, &"n".repeat(path + 1), parent, 0, 1));
            document["in_progress"] = (!done).into();
            store.insert(document.to_string().as_bytes());
            let inner = store.locked();
            prop_assert!(inner.traces.len() <= limits.max_traces && inner.stats.bytes <= limits.max_bytes);
            let bytes: usize = inner.traces.values().map(|slot| slot.bytes).sum();
            let documents: Vec<_> = inner.traces.values().flat_map(|slot| slot.trace.documents.values()).collect();
            prop_assert_eq!(inner.stats.bytes, bytes);
            prop_assert_eq!(bytes, documents.iter().map(|document| document.bytes()).sum::<usize>());
            prop_assert_eq!(inner.stats.documents, documents.len());
            prop_assert_eq!(inner.entry_points.values().map(BTreeMap::len).sum::<usize>(), inner.traces.len());
        }
    }
}
