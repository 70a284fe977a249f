//! A hop closed and written as the document that goes out.

use crate::Measure;
use collimator::moment::Moment;
use collimator::sampling::{RuleName, Verdict};
use collimator::segment::{ApplicationPart, Client, Hop, Identity, Outcome, RequestFacts, SegmentName};
use collimator::trace::{SegmentId, TraceId};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn cases(measure: &mut impl Measure) {
    let mut aws = serde_json::Map::new();
    aws.insert("ecs".to_owned(), serde_json::json!({ "container": "shop-5f9d" }));
    let identity = Arc::new(Identity {
        name: SegmentName::repair("shop"),
        origin: Some("AWS::ECS::Container".to_owned()),
        aws,
    });
    let rule = RuleName::new("checkout-writes");
    let request = RequestFacts {
        scheme: "http",
        host: "shop.example.com",
        path: "/api/v1/checkout/7f3d0a11/items",
        method: "POST",
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101"),
        client: Client { address: [203, 0, 113, 9].into(), forwarded: true },
    };
    let mut out = Vec::with_capacity(2_048);
    measure.case("segment/close_and_encode", || {
        let hop = Hop {
            trace: TraceId::new(0x5759_e988, *b"collimator!!"),
            id: SegmentId::new(0x5399_5c3f_42cd_8ad8),
            parent: None,
            application: SegmentId::new(0x00f0_67aa_0ba9_02b7),
            opened: Moment::new(1_790_000_000_123_456, 0),
            verdict: Verdict::Reservoir,
            rule: Some(rule.clone()),
            disowned: None,
            standby: None,
        };
        let ended = Duration::from_micros(12_345);
        let started = Duration::from_micros(45);
        let outcome = Outcome {
            elapsed: ended,
            status: Some(200),
            content_length: Some(1_234),
            application: Some(ApplicationPart { started, ended, status: Some(200) }),
            ..Outcome::default()
        };
        out.clear();
        black_box(hop).close(&identity, &request, outcome).write_json(&mut out);
        assert!(out.starts_with(b"{\"id\":\"53995c3f42cd8ad8\",\"name\":\"shop\"") && out.ends_with(b"]}"));
    });
}
