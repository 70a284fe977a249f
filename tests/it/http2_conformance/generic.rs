//! What h2spec calls generic: that which every client does, and every server has to take.

use super::Case;
use super::hpack::{field, get, post, post_with};
use super::wire::*;

#[rustfmt::skip]
pub(super) const BEFORE_GREETING: &[Case] = &[
    ("generic/1/1", "the preface", |w| w.preface().settings(&[(INITIAL_WINDOW_SIZE, 65_535)]).settings_first()),
];

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    ("generic/2/1", "PRIORITY on an idle stream", |w| w.priority(1, 0, 255).ping(b"priority").pong(b"priority")),
    ("generic/2/2", "WINDOW_UPDATE on a half-closed stream", |w| {
        w.settings(&[(INITIAL_WINDOW_SIZE, 0)]).headers(1, WHOLE, &get("/")).window(1, 1).data_of(1)
    }),
    ("generic/2/3", "PRIORITY on a half-closed stream", |w| {
        w.settings(&[(INITIAL_WINDOW_SIZE, 0)]).headers(1, WHOLE, &get("/")).priority(1, 0, 255).window(1, 1).data_of(1)
    }),
    ("generic/2/4", "RST_STREAM on a half-closed stream", |w| {
        w.headers(1, WHOLE, &get("/")).reset(1, CANCEL).ping(b"a reset!").pong(b"a reset!")
    }),
    ("generic/2/5", "PRIORITY on a closed stream", |w| {
        w.headers(1, WHOLE, &get("/")).ends()?.priority(1, 0, 255).ping(b"priority").pong(b"priority")
    }),
    ("generic/3.1/1", "DATA", |w| {
        w.headers(1, END_HEADERS, &post("/")).data(1, END_STREAM, b"test").served(1)
    }),
    ("generic/3.1/2", "DATA twice", |w| {
        w.headers(1, END_HEADERS, &post("/")).data(1, NONE, b"test").data(1, END_STREAM, b"test").served(1)
    }),
    ("generic/3.1/3", "DATA with padding", |w| {
        w.headers(1, END_HEADERS, &post("/")).data(1, END_STREAM | PADDED, b"\x06test\0\0\0\0\0\0").served(1)
    }),
    ("generic/3.2/1", "HEADERS", |w| w.headers(1, WHOLE, &get("/")).served(1)),
    ("generic/3.2/2", "HEADERS with padding", |w| {
        w.headers(1, WHOLE | PADDED, &[&[8], &get("/")[..], &[0; 8]].concat()).served(1)
    }),
    ("generic/3.2/3", "HEADERS with a priority", |w| {
        w.headers(1, WHOLE | WITH_PRIORITY, &[&dependency(0, 255), &get("/")[..]].concat()).served(1)
    }),
    ("generic/3.3/1", "PRIORITY 1", |w| w.priority(1, 0, 0).headers(1, WHOLE, &get("/")).served(1)),
    ("generic/3.3/2", "PRIORITY 256", |w| w.priority(1, 0, 255).headers(1, WHOLE, &get("/")).served(1)),
    ("generic/3.3/3", "PRIORITY with a dependency", |w| w.priority(3, 1, 0).headers(1, WHOLE, &get("/")).served(1)),
    ("generic/3.3/4", "PRIORITY, exclusive", |w| w.priority(1, 1 << 31, 0).headers(1, WHOLE, &get("/")).served(1)),
    ("generic/3.3/5", "PRIORITY of an idle stream, and HEADERS of a lower one", |w| {
        w.priority(3, 0, 255).headers(1, WHOLE, &get("/")).served(1)
    }),
    ("generic/3.4/1", "RST_STREAM", |w| {
        w.headers(1, END_HEADERS, &get("/")).reset(1, CANCEL).ping(b"a reset!").pong(b"a reset!")
    }),
    ("generic/3.5/1", "SETTINGS", |w| {
        w.settings(&[
            (HEADER_TABLE_SIZE, 4_096),
            (ENABLE_PUSH, 1),
            (MAX_CONCURRENT_STREAMS, 100),
            (INITIAL_WINDOW_SIZE, 65_535),
            (MAX_FRAME_SIZE, 16_384),
            (MAX_HEADER_LIST_SIZE, 100),
        ])
        .gets(SETTINGS, ACK)
    }),
    ("generic/3.7/1", "PING", |w| w.ping(b"a ping!!").pong(b"a ping!!")),
    ("generic/3.8/1", "GOAWAY", |w| w.frame(GOAWAY, NONE, 0, b"\0\0\0\0\0\0\0\0bye").closes()),
    ("generic/3.9/1", "WINDOW_UPDATE of the connection", |w| w.window(0, 1).ping(b"a window").pong(b"a window")),
    ("generic/3.9/2", "WINDOW_UPDATE of a stream", |w| w.headers(1, WHOLE, &get("/")).window(1, 1).served(1)),
    ("generic/3.10/1", "CONTINUATION", |w| {
        let block = get("/");
        w.headers(1, END_STREAM, &block[..5]).continuation(1, END_HEADERS, &block[5..]).served(1)
    }),
    ("generic/3.10/2", "CONTINUATION twice", |w| {
        let block = get("/");
        w.headers(1, END_STREAM, &block[..5]).continuation(1, NONE, &block[5..10]);
        w.continuation(1, END_HEADERS, &block[10..]).served(1)
    }),
    ("generic/4/1", "GET", |w| w.headers(1, WHOLE, &get("/")).served(1)),
    ("generic/4/2", "HEAD", |w| {
        w.headers(1, WHOLE, &[field(":method", "HEAD"), get("/")[1..].to_vec()].concat()).served(1)
    }),
    ("generic/4/3", "POST", |w| {
        w.headers(1, END_HEADERS, &post("/")).data(1, END_STREAM, b"test").served(1)
    }),
    ("generic/4/4", "POST with trailers", |w| {
        w.headers(1, END_HEADERS, &post_with("trailer", "x-test")).data(1, NONE, b"test");
        w.headers(1, WHOLE, &field("x-test", "ok")).served(1)
    }),
];
