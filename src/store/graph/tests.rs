//! The worked example, one test for each rule of the graph, and what must hold for any documents.

use super::super::samples::{checkout, segment, store, subsegment, trace_id, with};
use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn numbers(stats: &Stats) -> String {
    let Stats { ok, error, throttle, fault, in_progress, .. } = stats;
    let open = if *in_progress > 0 { format!(" open {in_progress}") } else { String::new() };
    format!("{ok} {error} {throttle} {fault} = {} in {}{open}", stats.n(), stats.durations.sum_micros())
}

fn name(node: &Node) -> String {
    format!("{}/{}", node.name, if node.node_type.is_empty() { "-" } else { &node.node_type })
}

/// Everything on the map in words, one line each.
fn words(graph: &Graph) -> Vec<String> {
    let nodes = graph.nodes.iter().map(|node| format!("node {} {}", name(node), numbers(&node.stats)));
    let edges = graph.edges.iter().map(|edge| {
        let (from, to) = (name(&graph.nodes[edge.from]), name(&graph.nodes[edge.to]));
        let gap = edge.gap_micros.map_or(String::new(), |gap| format!(" gap {gap}"));
        format!("{:?} {from} > {to} {}{gap}", edge.view, numbers(&edge.stats))
    });
    nodes.chain(edges).collect()
}

#[track_caller]
fn check(documents: &[Value], expected: &[&str]) {
    assert_eq!(words(&store(documents).graph()), expected);
}

#[test]
fn the_worked_example_of_the_design() {
    let shared = ["node shop/AWS::ECS::Container 0 0 0 1 = 1 in 120000", "node shop/client 0 0 0 0 = 0 in 0"];
    let mut expected = shared.to_vec();
    expected.extend([
        "node pay/AWS::ECS::Container 0 0 1 0 = 1 in 53000",
        "node orders/AWS::DynamoDB::Table 1 0 0 0 = 1 in 40000",
        "Caller shop/AWS::ECS::Container > pay/AWS::ECS::Container 0 0 1 0 = 1 in 60000 gap 7000",
        "Caller shop/AWS::ECS::Container > orders/AWS::DynamoDB::Table 1 0 0 0 = 1 in 40000",
        "Server shop/client > shop/AWS::ECS::Container 0 0 0 1 = 1 in 120000",
    ]);
    check(&checkout(), &expected);
    // Without the segment of `pay`, its node is inferred and the numbers of the edge stay.
    let mut expected = shared.to_vec();
    expected.extend([
        "node pay/remote 0 0 1 0 = 1 in 60000",
        "node orders/AWS::DynamoDB::Table 1 0 0 0 = 1 in 40000",
        "Caller shop/AWS::ECS::Container > pay/remote 0 0 1 0 = 1 in 60000",
        "Caller shop/AWS::ECS::Container > orders/AWS::DynamoDB::Table 1 0 0 0 = 1 in 40000",
        "Server shop/client > shop/AWS::ECS::Container 0 0 0 1 = 1 in 120000",
    ]);
    check(&checkout()[..1], &expected);
}

#[test]
fn what_a_sidecar_records_of_its_applications_calls_is_an_edge_with_the_servers_view() {
    let application = json!({"subsegments": [subsegment(2, "application", 1, 19)]});
    check(
        &[with(segment(1, "shop", None, 0, 20), application), segment(3, "payment", Some(2), 5, 15)],
        &[
            "node shop/- 1 0 0 0 = 1 in 20000",
            "node shop/client 0 0 0 0 = 0 in 0",
            "node payment/- 1 0 0 0 = 1 in 10000",
            "Server shop/- > payment/- 1 0 0 0 = 1 in 10000",
            "Server shop/client > shop/- 1 0 0 0 = 1 in 20000",
        ],
    );
}

#[test]
fn a_subsegment_sent_alone_belongs_to_the_segment_it_names() {
    let call = json!({"type": "subsegment", "namespace": "remote"});
    let call = with(segment(3, "bank.test", Some(2), 5, 15), call);
    let shop =
        with(segment(1, "shop", None, 0, 20), json!({"subsegments": [subsegment(2, "application", 1, 19)]}));
    check(
        &[call.clone(), shop],
        &[
            "node shop/- 1 0 0 0 = 1 in 20000",
            "node shop/client 0 0 0 0 = 0 in 0",
            "node bank.test/remote 1 0 0 0 = 1 in 10000",
            "Caller shop/- > bank.test/remote 1 0 0 0 = 1 in 10000",
            "Server shop/client > shop/- 1 0 0 0 = 1 in 20000",
        ],
    );
    let graph = store(&[call]).graph();
    assert_eq!((graph.nodes.len(), graph.detached), (0, 1));
}

#[test]
fn a_parent_that_does_not_come_is_an_uncaptured_client() {
    let mut documents = vec![segment(1, "shop", Some(9), 0, 20)];
    let graph = store(&documents).graph();
    assert_eq!((graph.nodes.len(), graph.edges.len(), graph.pending), (1, 0, 1));
    // Ten seconds later it will not come any more.
    documents.push(with(segment(2, "shop", None, 10_010, 10_020), json!({"trace_id": trace_id(2)})));
    let graph = store(&documents).graph();
    let client = graph.nodes.iter().find(|node| node.sort == Sort::Client).unwrap();
    assert_eq!((client.waiting, graph.edges[0].stats.n(), graph.pending), (1, 2, 0));
}

#[test]
fn what_is_in_progress_is_in_no_total() {
    let open = with(segment(1, "shop", None, 0, 20), json!({"in_progress": true}));
    check(
        &[open],
        &[
            "node shop/- 0 0 0 0 = 0 in 0 open 1",
            "node shop/client 0 0 0 0 = 0 in 0",
            "Server shop/client > shop/- 0 0 0 0 = 0 in 0 open 1",
        ],
    );
}

#[test]
fn a_retry_counts_the_call_once() {
    let call = with(subsegment(2, "pay", 10, 70), json!({"namespace": "remote"}));
    let shop = with(segment(1, "shop", None, 0, 120), json!({"subsegments": [call]}));
    let graph =
        store(&[shop, segment(3, "pay", Some(2), 11, 20), segment(4, "pay", Some(2), 30, 60)]).graph();
    let edge = graph.edges.iter().find(|edge| edge.view == View::Caller).unwrap();
    assert_eq!((edge.stats.n(), graph.nodes[edge.to].stats.n()), (1, 2));
}

#[test]
fn work_that_outlives_the_response_counts_in_the_whole() {
    let graph = store(&[segment(1, "shop", None, 0, 20), segment(2, "mail", Some(1), 10, 90)]).graph();
    let shop = graph.nodes.iter().find(|node| &*node.name == "shop" && node.active).unwrap();
    assert_eq!((shop.stats.durations.sum_micros(), shop.whole.sum_micros()), (20_000, 90_000));
    assert!(graph.edges.iter().any(|edge| edge.asynchronous));
}

/// Random documents of a few traces, honest about ids: parent `p` of a segment is an id made before it.
fn documents() -> impl Strategy<Value = Vec<Value>> {
    let one = (
        0u64..3,
        0usize..4,
        0usize..3,
        proptest::collection::vec(0u8..4, 0..4),
        0u64..90,
        0u64..90,
        any::<(u8, bool)>(),
    );
    proptest::collection::vec(one, 1..24).prop_map(|drafts| {
        let mut ids: [Vec<u64>; 3] = Default::default();
        let mut next = 0;
        let mut id = || {
            next += 1;
            next
        };
        let mut made = Vec::new();
        for (trace, name, back, calls, start, length, (odd, open)) in drafts {
            let known = &mut ids[trace as usize];
            let parent = known.len().checked_sub(1 + back * 2).map(|at| known[at]);
            let own = id();
            known.push(own);
            let children: Vec<Value> = calls
                .iter()
                .map(|sort| {
                    let child = id();
                    known.push(child);
                    let sort = [
                        json!({}),
                        json!({"namespace": "remote"}),
                        json!({"namespace": "aws"}),
                        json!({"namespace": "remote", "sql": {}}),
                    ][usize::from(*sort)]
                    .clone();
                    with(
                        subsegment(child, ["a", "b", "c"][child as usize % 3], start, start + length / 2),
                        sort,
                    )
                })
                .collect();
            let status = [200, 404, 429, 500][usize::from(odd % 4)];
            let fields = json!({
                "trace_id": trace_id(trace), "subsegments": children, "in_progress": open && odd % 4 == 0,
                "http": {"response": {"status": status}},
            });
            made.push(with(segment(own, ["a", "b", "c", "d"][name], parent, start, start + length), fields));
        }
        made
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn classes_sum_to_the_number_and_clients_to_the_complete_entries(documents in documents()) {
        let graph = store(&documents).graph();
        for stats in graph.nodes.iter().map(|node| &node.stats).chain(graph.edges.iter().map(|edge| &edge.stats)) {
            prop_assert_eq!(stats.ok + stats.error + stats.throttle + stats.fault, stats.n());
        }
        let by_clients = graph.edges.iter().filter(|edge| graph.nodes[edge.from].sort == Sort::Client);
        let entries = documents.iter().filter(|d| d.get("parent_id").is_none() && d["in_progress"] != true);
        prop_assert_eq!(by_clients.map(|edge| edge.stats.n()).sum::<u64>(), entries.count() as u64);
        let complete = documents.iter().filter(|d| d["in_progress"] != true).count();
        let active = graph.nodes.iter().filter(|node| node.active);
        prop_assert!(active.map(|node| node.stats.n()).sum::<u64>() >= complete as u64);
    }

    #[test]
    fn the_same_graph_for_every_order_and_for_duplicates(
        (documents, shuffled) in documents().prop_flat_map(|d| (Just(d.clone()), Just([d.clone(), d].concat()).prop_shuffle())),
    ) {
        let (mut one, mut other) = ((*store(&documents).graph()).clone(), (*store(&shuffled).graph()).clone());
        (one.revision, other.revision) = (0, 0);
        prop_assert_eq!(one, other);
    }

    #[test]
    fn deleting_a_segment_downstream_only_swaps_its_node_for_the_inferred_one(documents in documents()) {
        // The last document is nobody's parent; it must answer a call for this.
        let calls: Vec<&Value> = documents.iter().flat_map(|d| d["subsegments"].as_array().unwrap()).collect();
        let last = documents.last().unwrap();
        let call = calls.iter().find(|call| call["id"] == last["parent_id"] && call.get("namespace").is_some());
        let answers = documents.iter().filter(|d| d["parent_id"] == last["parent_id"]).count();
        if call.is_some() && answers == 1 && last["subsegments"] == json!([]) {
            let (with, without) = (store(&documents).graph(), store(&documents[..documents.len() - 1]).graph());
            let total = |graph: &Graph| -> (u64, u64) {
                let edges = graph.edges.iter().filter(|edge| graph.nodes[edge.from].sort != Sort::Client);
                edges.fold((0, 0), |sum, edge| (sum.0 + edge.stats.n(), sum.1 + edge.stats.durations.sum_micros()))
            };
            prop_assert_eq!(total(&with), total(&without));
        }
    }
}
