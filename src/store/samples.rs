//! Documents for tests.

use super::{Inserted, Limits, Store, Trace};
use serde_json::{Value, json};
use std::sync::Arc;

/// The id of the trace with number `n`.
pub(crate) fn trace_id(n: u64) -> String {
    format!("1-5759e988-{n:024x}")
}

/// A segment of trace 1. Times in milliseconds after a fixed moment.
pub(crate) fn segment(id: u64, name: &str, parent: Option<u64>, from: u64, to: u64) -> Value {
    let mut segment = subsegment(id, name, from, to);
    segment["trace_id"] = trace_id(1).into();
    if let Some(parent) = parent {
        segment["parent_id"] = format!("{parent:016x}").into();
    }
    segment
}

/// A subsegment to be put into a segment.
pub(crate) fn subsegment(id: u64, name: &str, from: u64, to: u64) -> Value {
    let seconds = |millis: u64| 1_480_000_000.0 + millis as f64 / 1e3;
    json!({"id": format!("{id:016x}"), "name": name, "start_time": seconds(from), "end_time": seconds(to)})
}

/// `document` with some fields more.
pub(crate) fn with(mut document: Value, fields: Value) -> Value {
    if let (Value::Object(document), Value::Object(fields)) = (&mut document, fields) {
        document.extend(fields);
    }
    document
}

/// A store of these documents.
pub(crate) fn store(documents: &[Value]) -> Store {
    let store = Store::new(Limits::default());
    for document in documents {
        let inserted = store.insert(document.to_string().as_bytes());
        assert!(!matches!(inserted, Inserted::Refused(_)), "{inserted:?}: {document}");
    }
    store
}

/// The one trace of these documents.
pub(crate) fn trace(documents: &[Value]) -> Arc<Trace> {
    store(documents).snapshot().pop().unwrap()
}

/// The worked example of the design: a shop whose payment throttles it, and a table.
pub(crate) fn checkout() -> Vec<Value> {
    let ecs = json!({"origin": "AWS::ECS::Container"});
    let status = |status: u16| json!({"http": {"response": {"status": status}}});
    let pay = with(with(subsegment(2, "pay", 10, 70), json!({"namespace": "remote"})), status(429));
    let table = json!({"namespace": "aws", "aws": {"table_name": "orders"}});
    let orders = with(subsegment(3, "DynamoDB", 75, 115), table);
    let shop = with(with(segment(1, "shop", None, 0, 120), ecs.clone()), status(500));
    vec![
        with(shop, json!({"subsegments": [pay, orders]})),
        with(with(segment(4, "pay", Some(2), 13, 66), ecs), status(429)),
    ]
}
