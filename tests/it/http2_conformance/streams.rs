//! RFC 9113, sections 5 and 8: what may come when on a stream, and what a request is.

use super::Case;
use super::hpack::{bulky, field, fields, get, get_with, post, post_with};
use super::wire::*;

const EITHER: &[u32] = &[STREAM_CLOSED, PROTOCOL_ERROR];

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    ("http2/5.1/1", "idle: DATA", |w| w.data(1, END_STREAM, b"test").connection_error(&[PROTOCOL_ERROR])),
    ("http2/5.1/2", "idle: RST_STREAM", |w| w.reset(1, CANCEL).connection_error(&[PROTOCOL_ERROR])),
    ("http2/5.1/3", "idle: WINDOW_UPDATE", |w| w.window(1, 100).connection_error(&[PROTOCOL_ERROR])),
    ("http2/5.1/4", "idle: CONTINUATION", |w| w.continuation(1, END_HEADERS, &get("/")).connection_error(&[PROTOCOL_ERROR])),
    ("http2/5.1/5", "half-closed: DATA", |w| {
        w.headers(1, WHOLE, &get("/")).data(1, END_STREAM, b"test").stream_error(&[STREAM_CLOSED])
    }),
    ("http2/5.1/6", "half-closed: HEADERS", |w| {
        w.headers(1, WHOLE, &get("/")).headers(1, WHOLE, &get("/")).stream_error(&[STREAM_CLOSED])
    }),
    ("http2/5.1/7", "half-closed: CONTINUATION", |w| {
        w.headers(1, WHOLE, &get("/")).continuation(1, END_HEADERS, &get("/")).stream_error(EITHER)
    }),
    ("http2/5.1/8", "reset: DATA", |w| {
        w.headers(1, END_HEADERS, &get("/")).reset(1, CANCEL).data(1, END_STREAM, b"test").stream_error(&[STREAM_CLOSED])
    }),
    ("http2/5.1/9", "reset: HEADERS", |w| {
        w.headers(1, END_HEADERS, &get("/")).reset(1, CANCEL).headers(1, WHOLE, &get("/")).stream_error(&[STREAM_CLOSED])
    }),
    ("http2/5.1/10", "reset: CONTINUATION", |w| {
        w.headers(1, END_HEADERS, &get("/")).reset(1, CANCEL).continuation(1, END_HEADERS, &bulky(1)).stream_error(EITHER)
    }),
    ("http2/5.1/11", "closed: DATA", |w| {
        w.headers(1, WHOLE, &get("/")).ends()?.data(1, END_STREAM, b"test").stream_error(&[STREAM_CLOSED])
    }),
    ("http2/5.1/12", "closed: HEADERS", |w| {
        w.headers(1, WHOLE, &get("/")).ends()?.headers(1, WHOLE, &get("/")).connection_error(&[STREAM_CLOSED])
    }),
    ("http2/5.1/13", "closed: CONTINUATION", |w| {
        w.headers(1, WHOLE, &get("/")).ends()?.continuation(1, END_HEADERS, &bulky(1)).connection_error(EITHER)
    }),
    ("http2/5.1.1/1", "a stream with an even number", |w| {
        w.headers(2, WHOLE, &get("/")).connection_error(&[PROTOCOL_ERROR])
    }),
    ("http2/5.1.1/2", "a stream with a lower number than the one before", |w| {
        w.headers(5, WHOLE, &get("/")).headers(3, WHOLE, &get("/")).connection_error(&[PROTOCOL_ERROR])
    }),
    ("http2/5.1.2/1", "more streams than are allowed", |w| {
        w.settings(&[(INITIAL_WINDOW_SIZE, 0)]);
        for n in 0..=w.max_streams {
            w.headers(2 * n + 1, WHOLE, &get("/"));
        }
        w.stream_error(&[PROTOCOL_ERROR, REFUSED_STREAM])
    }),
    ("http2/5.3.1/1", "HEADERS that depend on themselves", |w| {
        w.headers(1, WHOLE | WITH_PRIORITY, &[&dependency(1, 255), &get("/")[..]].concat()).stream_error(&[PROTOCOL_ERROR])
    }),
    ("http2/5.3.1/2", "PRIORITY that depends on itself", |w| w.priority(1, 1, 255).stream_error(&[PROTOCOL_ERROR])),
    ("http2/5.4.1/1", "an error closes the connection", |w| w.frame(PING, NONE, 3, &[0; 8]).closes()),
    ("http2/5.4.1/2", "an error is told by GOAWAY", |w| w.frame(PING, NONE, 3, &[0; 8]).gets(GOAWAY, NONE)),
    ("http2/5.5/1", "a frame of no known kind", |w| w.frame(0x16, NONE, 0, &[0; 8]).ping(b"unknown!").pong(b"unknown!")),
    ("http2/5.5/2", "a frame of no known kind between HEADERS and CONTINUATION", |w| {
        w.headers(1, END_STREAM, &get("/")).frame(0x16, NONE, 0, &[0; 8]).connection_error(&[PROTOCOL_ERROR])
    }),
    ("http2/8.2/1", "PUSH_PROMISE", |w| {
        w.frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 3], &get("/")[..]].concat()).connection_error(&[PROTOCOL_ERROR])
    }),
];

/// The four that every request has, less one.
fn without(name: &str) -> Vec<u8> {
    let mut all = vec![(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "shop.test")];
    all.retain(|(other, _)| *other != name);
    fields(&all)
}

#[rustfmt::skip]
pub(super) const MALFORMED: &[Case] = &[
    ("http2/8.1/1", "trailers that are not the end", |w| {
        w.headers(1, END_HEADERS, &post("/")).data(1, NONE, b"test").headers(1, END_HEADERS, &field("x-test", "ok"))
            .stream_error(&[PROTOCOL_ERROR])
    }),
    ("http2/8.1.2/1", "a name in capitals", |w| {
        w.headers(1, WHOLE, &get_with("X-TEST", "ok")).stream_error(&[PROTOCOL_ERROR])
    }),
    ("http2/8.1.2.1/1", "a pseudo-header that is not known", |w| {
        w.headers(1, WHOLE, &get_with(":test", "ok")).stream_error(&[PROTOCOL_ERROR])
    }),
    ("http2/8.1.2.1/2", "an answer's pseudo-header", |w| {
        w.headers(1, WHOLE, &get_with(":status", "200")).stream_error(&[PROTOCOL_ERROR])
    }),
    ("http2/8.1.2.1/3", "a pseudo-header in trailers", |w| {
        w.headers(1, END_HEADERS, &post("/")).data(1, NONE, b"test").headers(1, END_HEADERS, &field(":method", "POST"))
            .stream_error(&[PROTOCOL_ERROR])
    }),
    ("http2/8.1.2.1/4", "a pseudo-header after a header", |w| {
        w.headers(1, WHOLE, &[field("x-test", "ok"), get("/")].concat()).stream_error(&[PROTOCOL_ERROR])
    }),
    ("http2/8.1.2.2/1", "a header of the connection", |w| {
        w.headers(1, WHOLE, &get_with("connection", "keep-alive")).stream_error(&[PROTOCOL_ERROR])
    }),
    ("http2/8.1.2.2/2", "`te` with more than trailers", |w| {
        w.headers(1, WHOLE, &get_with("te", "trailers, deflate")).stream_error(&[PROTOCOL_ERROR])
    }),
    ("http2/8.1.2.3/1", "an empty :path", |w| {
        w.headers(1, WHOLE, &[without(":path"), field(":path", "")].concat()).stream_error(&[PROTOCOL_ERROR])
    }),
    ("http2/8.1.2.3/2", "no :method", |w| w.headers(1, WHOLE, &without(":method")).stream_error(&[PROTOCOL_ERROR])),
    ("http2/8.1.2.3/3", "no :scheme", |w| w.headers(1, WHOLE, &without(":scheme")).stream_error(&[PROTOCOL_ERROR])),
    ("http2/8.1.2.3/4", "no :path", |w| w.headers(1, WHOLE, &without(":path")).stream_error(&[PROTOCOL_ERROR])),
    ("http2/8.1.2.3/5", ":method twice", |w| {
        w.headers(1, WHOLE, &get_with(":method", "GET")).stream_error(&[PROTOCOL_ERROR])
    }),
    ("http2/8.1.2.3/6", ":scheme twice", |w| {
        w.headers(1, WHOLE, &get_with(":scheme", "http")).stream_error(&[PROTOCOL_ERROR])
    }),
    ("http2/8.1.2.3/7", ":path twice", |w| {
        w.headers(1, WHOLE, &get_with(":path", "/")).stream_error(&[PROTOCOL_ERROR])
    }),
    ("http2/8.1.2.6/1", "more DATA than Content-Length says", |w| {
        w.headers(1, END_HEADERS, &post_with("content-length", "1")).data(1, END_STREAM, b"test")
            .stream_error(&[PROTOCOL_ERROR])
    }),
    ("http2/8.1.2.6/2", "more DATA in several frames than Content-Length says", |w| {
        w.headers(1, END_HEADERS, &post_with("content-length", "1")).data(1, NONE, b"test").data(1, END_STREAM, b"test")
            .stream_error(&[PROTOCOL_ERROR])
    }),
];
