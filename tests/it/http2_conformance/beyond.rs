//! Malformed requests that h2spec does not ask for, and that an application of HTTP/1 could read as something else.

use super::Case;
use super::hpack::{field, fields, get, get_with, post, post_with};
use super::wire::*;

fn request(method: &str, scheme: &str, path: &str, authority: &str) -> Vec<u8> {
    fields(&[(":method", method), (":scheme", scheme), (":path", path), (":authority", authority)])
}

/// Where h2 cannot make a name, a value or a method of the bytes, it takes all that follows for garbage too.
#[rustfmt::skip]
pub(super) const MALFORMED: &[Case] = &[
    ("8.2.1", "a line break in a value", |w| {
        w.headers(1, WHOLE, &get_with("x", "1\r\ny: 2")).connection_ends(PROTOCOL_ERROR)
    }),
    ("8.2.1", "a line feed in a value", |w| {
        w.headers(1, WHOLE, &get_with("x", "1\ny: 2")).connection_ends(PROTOCOL_ERROR)
    }),
    ("8.2.1", "a NUL in a value", |w| w.headers(1, WHOLE, &get_with("x", "1\x002")).connection_ends(PROTOCOL_ERROR)),
    ("8.2.1", "a line break in a name", |w| {
        w.headers(1, WHOLE, &get_with("x: 1\r\ny", "2")).connection_ends(PROTOCOL_ERROR)
    }),
    ("8.2.1", "a colon in a name", |w| w.headers(1, WHOLE, &get_with("x:y", "2")).connection_ends(PROTOCOL_ERROR)),
    ("8.2.1", "a space in a name", |w| w.headers(1, WHOLE, &get_with("x y", "2")).connection_ends(PROTOCOL_ERROR)),
    ("8.2.1", "an empty name", |w| w.headers(1, WHOLE, &get_with("", "2")).connection_ends(PROTOCOL_ERROR)),
    ("8.2.1", "a capital within a name", |w| {
        w.headers(1, WHOLE, &get_with("content-Length", "0")).connection_ends(PROTOCOL_ERROR)
    }),
    ("8.2.2", "a coding", |w| {
        w.headers(1, END_HEADERS, &post_with("transfer-encoding", "chunked")).data(1, END_STREAM, b"0\r\n\r\n").refused()
    }),
    ("8.2.2", "an upgrade", |w| w.headers(1, WHOLE, &get_with("upgrade", "websocket")).refused()),
    ("8.2.2", "keep-alive", |w| w.headers(1, WHOLE, &get_with("keep-alive", "timeout=5")).refused()),
    ("8.2.2", "proxy-connection", |w| w.headers(1, WHOLE, &get_with("proxy-connection", "close")).refused()),
    ("8.2.2", "`te: gzip`", |w| w.headers(1, WHOLE, &get_with("te", "gzip")).refused()),
    ("8.3", "a coding in trailers", |w| {
        w.headers(1, END_HEADERS, &post("/")).data(1, NONE, b"test");
        w.headers(1, WHOLE, &field("transfer-encoding", "chunked")).refused()
    }),
    ("8.3.1", "a method with a space", |w| {
        w.headers(1, WHOLE, &request("GET /x", "http", "/", "a")).connection_ends(PROTOCOL_ERROR)
    }),
    ("8.3.1", "an empty method", |w| {
        w.headers(1, WHOLE, &request("", "http", "/", "a")).connection_ends(PROTOCOL_ERROR)
    }),
    ("8.3.1", "a line break in the path", |w| {
        w.headers(1, WHOLE, &request("GET", "http", "/ HTTP/1.1\r\nx: ", "a")).refused()
    }),
    ("8.3.1", "a space in the path", |w| w.headers(1, WHOLE, &request("GET", "http", "/a b", "a")).refused()),
    ("8.3.1", "a path without a slash", |w| w.headers(1, WHOLE, &request("GET", "http", "a", "a")).refused()),
    ("8.3.1", "a path that is a host", |w| w.headers(1, WHOLE, &request("GET", "http", "@b/", "a")).refused()),
    ("8.3.1", "a path that is a whole target", |w| {
        w.headers(1, WHOLE, &request("GET", "http", "http://b/", "a")).refused()
    }),
    ("8.3.1", "a path that is a query", |w| w.headers(1, WHOLE, &request("GET", "http", "?x", "a")).refused()),
    ("8.3.1", "a path of `*` with GET", |w| w.headers(1, WHOLE, &request("GET", "http", "*", "a")).refused()),
    ("8.3.1", "a path of `*` and more", |w| w.headers(1, WHOLE, &request("OPTIONS", "http", "*x", "a")).refused()),
    ("8.3.1", "another scheme", |w| w.headers(1, WHOLE, &request("GET", "ftp", "/", "a")).refused()),
    ("8.3.1", "a user in the authority", |w| w.headers(1, WHOLE, &request("GET", "http", "/", "me@a")).refused()),
    ("8.3.1", "a path in the authority", |w| w.headers(1, WHOLE, &request("GET", "http", "/", "a/b")).refused()),
    ("8.3.1", "an empty authority", |w| w.headers(1, WHOLE, &request("GET", "http", "/", "")).refused()),
    ("8.3.1", "no authority at all", |w| {
        w.headers(1, WHOLE, &fields(&[(":method", "GET"), (":scheme", "http"), (":path", "/")])).refused()
    }),
    ("8.3.1", ":authority twice", |w| w.headers(1, WHOLE, &get_with(":authority", "b")).refused()),
    ("8.3.1", "a Host of another name", |w| w.headers(1, WHOLE, &get_with("host", "b")).refused()),
    ("8.3.1", "two Hosts", |w| {
        w.headers(1, WHOLE, &[get("/"), fields(&[("host", "shop.test"), ("host", "shop.test")])].concat()).refused()
    }),
    ("8.3.1", "no :path, and a Host for the authority", |w| {
        w.headers(1, WHOLE, &fields(&[(":method", "GET"), (":scheme", "http"), ("host", "a")])).refused()
    }),
    ("8.3.1", ":protocol that was not offered", |w| w.headers(1, WHOLE, &[
        fields(&[(":method", "CONNECT"), (":protocol", "websocket")]), get("/")[1..].to_vec(),
    ].concat()).stream_error(&[PROTOCOL_ERROR, REFUSED_STREAM])),
    ("8.1.1", "less DATA than Content-Length says", |w| {
        w.headers(1, END_HEADERS, &post_with("content-length", "9")).data(1, END_STREAM, b"test").refused()
    }),
    ("8.1.1", "Content-Length, and no DATA", |w| w.headers(1, WHOLE, &post_with("content-length", "9")).refused()),
    ("8.1.1", "Content-Length, and trailers for DATA", |w| {
        w.headers(1, END_HEADERS, &post_with("content-length", "9")).headers(1, WHOLE, &field("x", "y")).refused()
    }),
    ("8.1.1", "two lengths", |w| {
        w.headers(1, END_HEADERS, &[post("/"), fields(&[("content-length", "4"), ("content-length", "9")])].concat())
            .data(1, END_STREAM, b"test").refused()
    }),
    ("8.1.1", "two lengths, the other way round", |w| {
        w.headers(1, END_HEADERS, &[post("/"), fields(&[("content-length", "9"), ("content-length", "4")])].concat())
            .data(1, END_STREAM, b"test").refused()
    }),
    ("8.1.1", "a list of lengths", |w| {
        w.headers(1, END_HEADERS, &post_with("content-length", "4, 4")).data(1, END_STREAM, b"test").refused()
    }),
    ("8.1.1", "a length with a sign", |w| {
        w.headers(1, END_HEADERS, &post_with("content-length", "+4")).data(1, END_STREAM, b"test").refused()
    }),
    ("8.1.1", "an empty length", |w| {
        w.headers(1, END_HEADERS, &post_with("content-length", "")).data(1, END_STREAM, b"test").refused()
    }),
];

#[rustfmt::skip]
pub(super) const SOUND: &[Case] = &[
    ("8.2.2", "`te: trailers`", |w| w.headers(1, WHOLE, &get_with("te", "trailers")).served(1)),
    ("8.2.1", "bytes beyond ASCII in a value", |w| {
        w.headers(1, WHOLE, &[get("/"), field("x", b"caf\xe9")].concat()).served(1)
    }),
    ("8.3.1", "a Host that says the same", |w| w.headers(1, WHOLE, &get_with("host", "shop.test")).served(1)),
    ("8.3.1", "a Host for the authority", |w| {
        w.headers(1, WHOLE, &fields(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "a")])).served(1)
    }),
    ("8.3.1", "OPTIONS of `*`", |w| w.headers(1, WHOLE, &request("OPTIONS", "http", "*", "a")).served(1)),
    ("8.3.1", "the other scheme", |w| w.headers(1, WHOLE, &request("GET", "https", "/", "a")).served(1)),
    ("8.1.1", "Content-Length of 0, and no DATA", |w| {
        w.headers(1, WHOLE, &post_with("content-length", "0")).served(1)
    }),
    ("8.1.1", "Content-Length, and trailers after as much DATA", |w| {
        w.headers(1, END_HEADERS, &post_with("content-length", "4")).data(1, NONE, b"test");
        w.headers(1, WHOLE, &field("x", "y")).served(1)
    }),
];
