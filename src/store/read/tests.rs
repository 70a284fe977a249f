//! What is strict and what is lenient in a document.

use super::*;
use proptest::prelude::*;

const HEAD: &str = r#""id":"53995c3f42cd8ad8","name":"shop","start_time":1480000000.5"#;
const TRACE: &str = r#""trace_id":"1-5759e988-bd862e3fe1be46a994272793""#;

fn read(fields: &str) -> Result<Document, Refusal> {
    document(format!("{{{HEAD},{TRACE}{fields}}}").as_bytes())
}

#[test]
fn a_whole_segment_is_read() {
    let document = read(
        r#","end_time":1480000000.75,"parent_id":"1111111111111111","origin":"AWS::ECS::Container","fault":true,
        "http":{"request":{"method":"GET","url":"https://me:secret@shop.test/cart?token=1#x"},"response":{"status":503}},
        "aws":{"ecs":{"container":"x"},"xray":{"sampling_rule_name":"checkout"}},
        "cause":{"exceptions":[{"id":"1","type":"upstream-refused","message":"no"}]},
        "annotations":{"client_closed":true,"n":3,"odd":[1]}"#,
    )
    .unwrap();
    let entity = document.entity;
    assert_eq!(document.parent, SegmentId::parse(b"1111111111111111"));
    assert_eq!(entity.duration_micros(), Some(250_000));
    assert_eq!(entity.class, Class::Fault);
    assert_eq!(entity.kind, EntityKind::Segment { origin: "AWS::ECS::Container".into() });
    let http = entity.http.unwrap();
    assert_eq!((&*http.method, &*http.url, http.status), ("GET", "https://shop.test/cart", Some(503)));
    assert_eq!(entity.rule.as_deref(), Some("checkout"));
    assert_eq!(entity.cause.as_deref(), Some("upstream-refused: no"));
    assert_eq!(entity.annotations.len(), 2);
}

#[test]
fn an_unexpected_type_counts_as_absent() {
    let document = read(
        r#","end_time":"soon","http":[],"aws":7,"cause":"1234567890123456","annotations":null,"origin":{},
        "fault":"yes","subsegments":null,"metadata":{"a":[[[[]]]]},"sql":false,"parent_id":5"#,
    )
    .unwrap();
    assert_eq!(document.entity.end_micros, None);
    assert_eq!(document.entity.class, Class::Ok);
    assert_eq!(document.parent, None);
}

#[test]
fn what_makes_a_document_is_strict() {
    #[track_caller]
    fn check(json: &str, refusal: Refusal) {
        assert_eq!(document(json.as_bytes()), Err(refusal), "{json}");
    }
    check("", Refusal::NotJson);
    check("T1SCg==", Refusal::NotJson);
    check("[]", Refusal::NotASegment);
    check("{}", Refusal::NotASegment);
    check(&format!("{{{HEAD}}}"), Refusal::NotASegment);
    check(&format!(r#"{{{TRACE},"id":"x","name":"a","start_time":1}}"#), Refusal::NotASegment);
    check(&format!(r#"{{{TRACE},"id":"53995c3f42cd8ad8","name":" ","start_time":1}}"#), Refusal::NotASegment);
    check(
        &format!(r#"{{{TRACE},"id":"53995c3f42cd8ad8","name":"a","start_time":-1}}"#),
        Refusal::NotASegment,
    );
    check(
        &format!(r#"{{{TRACE},"id":"53995c3f42cd8ad8","name":"a","start_time":1e300}}"#),
        Refusal::NotASegment,
    );
    check(&format!("{{{HEAD},{TRACE}}}{}", " ".repeat(MAX_DOCUMENT_BYTES)), Refusal::TooLarge);
}

#[test]
fn a_text_looks_like_what_it_is() {
    let json = serde_json::json!({
        "id": "53995c3f42cd8ad8", "name": "a\u{202e}gnp.exe\u{1b}[2J", "start_time": 1, "trace_id": "1-5759e988-bd862e3fe1be46a994272793",
    });
    let name = document(json.to_string().as_bytes()).unwrap().entity.name;
    assert_eq!(&*name, "a\u{fffd}gnp.exe\u{fffd}[2J");
}

#[test]
fn depth_and_number_are_bounded() {
    let nest = |levels: usize| {
        (0..levels).fold(String::new(), |inside, _| format!(r#","subsegments":[{{{HEAD}{inside}}}]"#))
    };
    assert!(read(&nest(MAX_DEPTH)).is_ok());
    assert_eq!(read(&nest(MAX_DEPTH + 1)), Err(Refusal::TooDeep));
    assert_eq!(read(&nest(100)), Err(Refusal::NotJson));
    // What is not kept is read over without recursion.
    assert!(read(&format!(r#","metadata":{}{}"#, "[".repeat(20_000), "]".repeat(20_000))).is_ok());
    let small = r#"{"id":"53995c3f42cd8ad8","name":"a","start_time":1}"#;
    let row = |n: usize| read(&format!(r#","subsegments":[{}]"#, vec![small; n].join(",")));
    assert!(row(MAX_SUBSEGMENTS).is_ok());
    assert_eq!(row(MAX_SUBSEGMENTS + 1), Err(Refusal::TooManySubsegments));
}

#[test]
fn calls_name_their_callee_as_xray_does() {
    #[track_caller]
    fn check(fields: &str, expected: &str) {
        let document = read(&format!(r#","type":"subsegment",{fields}"#)).unwrap();
        let got = match document.entity.kind {
            EntityKind::Call(callee) => format!("{} {}", callee.name, callee.node_type),
            other => format!("{other:?}"),
        };
        assert_eq!(got, expected, "{fields}");
    }
    check(r#""namespace":"remote""#, "shop remote");
    check(r#""namespace":"remote","sql":{"url":"x"}"#, "shop Database::SQL");
    check(r#""namespace":"aws""#, "shop AWS::shop");
    check(r#""namespace":"aws","aws":{"table_name":"orders"}"#, "orders AWS::DynamoDB::Table");
    check(r#""namespace":"aws","aws":{"queue_url":"https://sqs/1/jobs"}"#, "jobs AWS::SQS::Queue");
    check(r#""namespace":"local""#, "Internal");
    check(r#""error":true"#, "Internal");
}

#[test]
fn one_class_each_and_the_worst_first() {
    #[track_caller]
    fn check(fields: &str, expected: Class) {
        assert_eq!(read(fields).unwrap().entity.class, expected, "{fields}");
    }
    check("", Class::Ok);
    check(r#","error":true"#, Class::Error);
    check(r#","error":true,"throttle":true"#, Class::Throttle);
    check(r#","error":true,"throttle":true,"fault":true"#, Class::Fault);
    check(r#","http":{"response":{"status":404}}"#, Class::Error);
    check(r#","http":{"response":{"status":429}}"#, Class::Throttle);
    check(r#","throttle":true,"http":{"response":{"status":500}}"#, Class::Fault);
    check(r#","http":{"response":{"status":302}}"#, Class::Ok);
}

proptest! {
    #[test]
    fn any_bytes_may_be_offered(bytes: Vec<u8>) {
        let _ = document(&bytes);
    }

    #[test]
    fn any_text_may_stand_in_a_document(name in any::<String>(), url in any::<String>(), flip in 0usize..200) {
        let json = serde_json::json!({
            "id": "53995c3f42cd8ad8", "name": name, "start_time": 1, "trace_id": "1-5759e988-bd862e3fe1be46a994272793",
            "http": {"request": {"url": url}}, "annotations": {url.clone(): name},
        });
        let mut bytes = serde_json::to_vec(&json).unwrap();
        if let Ok(read) = document(&bytes) {
            prop_assert!(read.entity.name.chars().count() <= MAX_NAME && !read.entity.name.contains(char::is_control));
        }
        if let Some(byte) = bytes.get_mut(flip) {
            *byte ^= 0x55;
            let _ = document(&bytes);
        }
    }
}
