//! RFC 9113, sections 3, 4, 6 and 7: prefaces, frames, and what each kind may carry.

use super::Case;
use super::hpack::{bulky, get, post, post_with};
use super::wire::*;

#[rustfmt::skip]
pub(super) const BEFORE_GREETING: &[Case] = &[
    ("http2/3.5/1", "the preface", |w| w.preface().settings(&[(INITIAL_WINDOW_SIZE, 65_535)]).settings_first()),
    ("http2/3.5/2", "another preface", |w| w.say(b"INVALID CONNECTION PREFACE\r\n\r\n").closes_without_frames()),
];

const UNKNOWN: u8 = 0x16;
const MOST: u32 = (1 << 31) - 1;

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    ("http2/4.1/1", "a frame of no known kind", |w| {
        w.frame(UNKNOWN, NONE, 0, &[0; 8]).ping(b"unknown!").pong(b"unknown!")
    }),
    ("http2/4.1/2", "a frame with flags that are not defined", |w| w.frame(PING, 0x16, 0, b"flagged!").pong(b"flagged!")),
    ("http2/4.1/3", "a frame with the reserved bit", |w| w.frame(PING, 0x16, 1 << 31, b"reserved").pong(b"reserved")),
    ("http2/4.2/1", "DATA of 2^14 bytes", |w| {
        w.headers(1, END_HEADERS, &post("/")).data(1, END_STREAM, &[b'x'; 16_384]).served(1)
    }),
    ("http2/4.2/2", "DATA that is too large", |w| {
        w.headers(1, END_HEADERS, &post("/")).data(1, END_STREAM, &[b'x'; 16_385]).stream_error(&[FRAME_SIZE_ERROR])
    }),
    ("http2/4.2/3", "HEADERS that are too large", |w| {
        w.headers(1, WHOLE, &[get("/"), bulky(5)].concat()).connection_error(&[FRAME_SIZE_ERROR])
    }),
    ("http2/4.3/1", "a literal that is cut off", |w| w.headers(1, WHOLE, b"\x40").connection_error(&[COMPRESSION_ERROR])),
    ("http2/4.3/2", "PRIORITY between HEADERS and CONTINUATION", |w| {
        w.headers(1, NONE, &get("/")).priority(1, 0, 255).continuation(1, END_HEADERS, &bulky(1))
            .connection_error(&[PROTOCOL_ERROR])
    }),
    ("http2/4.3/3", "HEADERS of another stream between HEADERS and CONTINUATION", |w| {
        w.headers(1, NONE, &get("/")).headers(3, WHOLE, &get("/")).continuation(1, END_HEADERS, &bulky(1))
            .connection_error(&[PROTOCOL_ERROR])
    }),
    ("http2/6.1/1", "DATA without a stream", |w| w.data(0, END_STREAM, b"test").connection_error(&[PROTOCOL_ERROR])),
    ("http2/6.1/2", "DATA on a half-closed stream", |w| {
        w.headers(1, WHOLE, &post("/")).data(1, END_STREAM, b"test").stream_error(&[STREAM_CLOSED])
    }),
    ("http2/6.1/3", "DATA with more padding than there is", |w| {
        w.headers(1, END_HEADERS, &post_with("content-length", "4")).data(1, END_STREAM | PADDED, b"\x06test")
            .connection_error(&[PROTOCOL_ERROR])
    }),
    ("http2/6.2/1", "PRIORITY between HEADERS and CONTINUATION", |w| {
        w.headers(1, NONE, &get("/")).priority(1, 0, 255).continuation(1, END_HEADERS, &bulky(1))
            .connection_error(&[PROTOCOL_ERROR])
    }),
    ("http2/6.2/2", "HEADERS of another stream between HEADERS and CONTINUATION", |w| {
        w.headers(1, NONE, &get("/")).headers(3, WHOLE, &get("/")).continuation(1, END_HEADERS, &bulky(1))
            .connection_error(&[PROTOCOL_ERROR])
    }),
    ("http2/6.2/3", "HEADERS without a stream", |w| w.headers(0, WHOLE, &get("/")).connection_error(&[PROTOCOL_ERROR])),
    ("http2/6.2/4", "HEADERS with more padding than there is", |w| {
        let block = get("/");
        w.headers(1, WHOLE | PADDED, &[&[block.len() as u8 + 2], &block[..]].concat()).stream_error(&[PROTOCOL_ERROR])
    }),
    ("http2/6.3/1", "PRIORITY without a stream", |w| w.priority(0, 0, 255).connection_error(&[PROTOCOL_ERROR])),
    ("http2/6.3/2", "PRIORITY of another length than 5", |w| {
        w.headers(1, WHOLE, &get("/")).frame(PRIORITY, NONE, 1, &[0x80, 0, 0, 1]).stream_error(&[FRAME_SIZE_ERROR])
    }),
    ("http2/6.4/1", "RST_STREAM without a stream", |w| w.reset(0, CANCEL).connection_error(&[PROTOCOL_ERROR])),
    ("http2/6.4/2", "RST_STREAM of an idle stream", |w| w.reset(1, CANCEL).connection_error(&[PROTOCOL_ERROR])),
    ("http2/6.4/3", "RST_STREAM of another length than 4", |w| {
        w.headers(1, WHOLE, &get("/")).frame(RST_STREAM, NONE, 1, &[0; 3]).connection_error(&[FRAME_SIZE_ERROR])
    }),
    ("http2/6.5/1", "SETTINGS that acknowledge and carry", |w| {
        w.frame(SETTINGS, ACK, 0, &[0]).connection_error(&[FRAME_SIZE_ERROR])
    }),
    ("http2/6.5/2", "SETTINGS of a stream", |w| {
        w.frame(SETTINGS, NONE, 1, b"\0\x03\0\0\0\x64").connection_error(&[PROTOCOL_ERROR])
    }),
    ("http2/6.5/3", "SETTINGS of another length than a multiple of 6", |w| {
        w.frame(SETTINGS, NONE, 0, &[0, 3, 0]).connection_error(&[FRAME_SIZE_ERROR])
    }),
    ("http2/6.5.2/1", "ENABLE_PUSH of 2", |w| w.settings(&[(ENABLE_PUSH, 2)]).connection_error(&[PROTOCOL_ERROR])),
    ("http2/6.5.2/2", "an INITIAL_WINDOW_SIZE that is too large", |w| {
        w.settings(&[(INITIAL_WINDOW_SIZE, 1 << 31)]).connection_error(&[FLOW_CONTROL_ERROR])
    }),
    ("http2/6.5.2/3", "a MAX_FRAME_SIZE that is too small", |w| {
        w.settings(&[(MAX_FRAME_SIZE, 16_383)]).connection_error(&[PROTOCOL_ERROR])
    }),
    ("http2/6.5.2/4", "a MAX_FRAME_SIZE that is too large", |w| {
        w.settings(&[(MAX_FRAME_SIZE, 1 << 24)]).connection_error(&[PROTOCOL_ERROR])
    }),
    ("http2/6.5.2/5", "a setting that is not known", |w| w.settings(&[(0xff, 1)]).ping(b"unknown!").pong(b"unknown!")),
    ("http2/6.5.3/1", "one setting twice", |w| {
        w.settings(&[(INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)]).acknowledges()?
            .headers(1, WHOLE, &get("/")).data_of(1)
    }),
    ("http2/6.5.3/2", "SETTINGS are acknowledged", |w| w.settings(&[(ENABLE_PUSH, 0)]).gets(SETTINGS, ACK)),
    ("http2/6.7/1", "PING", |w| w.ping(b"h2spec\0\0").pong(b"h2spec\0\0")),
    ("http2/6.7/2", "PING that is an answer", |w| {
        w.frame(PING, ACK, 0, b"invalid\0").ping(b"h2spec\0\0").pong(b"h2spec\0\0")
    }),
    ("http2/6.7/3", "PING of a stream", |w| w.frame(PING, NONE, 1, &[0; 8]).connection_error(&[PROTOCOL_ERROR])),
    ("http2/6.7/4", "PING of another length than 8", |w| {
        w.frame(PING, NONE, 0, &[0; 6]).connection_error(&[FRAME_SIZE_ERROR])
    }),
    ("http2/6.8/1", "GOAWAY of a stream", |w| w.frame(GOAWAY, NONE, 1, &[0; 8]).connection_error(&[PROTOCOL_ERROR])),
    ("http2/6.9/1", "WINDOW_UPDATE of 0", |w| w.window(0, 0).connection_error(&[PROTOCOL_ERROR])),
    ("http2/6.9/2", "WINDOW_UPDATE of 0 for a stream", |w| {
        w.headers(1, END_HEADERS, &get("/")).window(1, 0).stream_error(&[PROTOCOL_ERROR])
    }),
    ("http2/6.9/3", "WINDOW_UPDATE of another length than 4", |w| {
        w.frame(WINDOW_UPDATE, NONE, 0, &[0, 0, 1]).connection_error(&[FRAME_SIZE_ERROR])
    }),
    ("http2/6.9.1/1", "a window of 1", |w| {
        w.settings(&[(INITIAL_WINDOW_SIZE, 1)]).acknowledges()?.headers(1, WHOLE, &get("/")).data_of(1)
    }),
    ("http2/6.9.1/2", "a window of more than 2^31-1", |w| {
        w.window(0, MOST).window(0, MOST).connection_error(&[FLOW_CONTROL_ERROR])
    }),
    ("http2/6.9.1/3", "a stream's window of more than 2^31-1", |w| {
        w.headers(1, END_HEADERS, &get("/")).window(1, MOST).window(1, MOST).stream_error(&[FLOW_CONTROL_ERROR])
    }),
    ("http2/6.9.2/1", "an INITIAL_WINDOW_SIZE that grows after HEADERS", |w| {
        w.settings(&[(INITIAL_WINDOW_SIZE, 0)]).acknowledges()?.headers(1, WHOLE, &get("/"));
        w.settings(&[(INITIAL_WINDOW_SIZE, 1)]).acknowledges()?.data_of(1)
    }),
    ("http2/6.9.2/2", "a window that becomes negative", |w| {
        w.settings(&[(INITIAL_WINDOW_SIZE, 3)]).acknowledges()?.headers(1, WHOLE, &get("/")).data_of(3)?;
        w.settings(&[(INITIAL_WINDOW_SIZE, 2)]).acknowledges()?.window(1, 2).data_of(1)
    }),
    ("http2/6.9.2/3", "an INITIAL_WINDOW_SIZE that is too large", |w| {
        w.frame(SETTINGS, NONE, 0, b"\0\x04\x80\0\0\0").connection_error(&[FLOW_CONTROL_ERROR])
    }),
    ("http2/6.10/1", "CONTINUATION twice", |w| {
        w.headers(1, END_STREAM, &get("/")).continuation(1, NONE, &bulky(1)).continuation(1, END_HEADERS, &bulky(1))
            .served(1)
    }),
    ("http2/6.10/2", "DATA after CONTINUATION that is not the last", |w| {
        w.headers(1, NONE, &post("/")).continuation(1, NONE, &bulky(1)).data(1, END_STREAM, b"test")
            .connection_error(&[PROTOCOL_ERROR])
    }),
    ("http2/6.10/3", "CONTINUATION without a stream", |w| {
        w.headers(1, END_STREAM, &get("/")).continuation(0, END_HEADERS, &bulky(1)).connection_error(&[PROTOCOL_ERROR])
    }),
    ("http2/6.10/4", "CONTINUATION after the last HEADERS", |w| {
        w.headers(1, WHOLE, &get("/")).continuation(1, END_HEADERS, &bulky(1)).connection_error(&[PROTOCOL_ERROR])
    }),
    ("http2/6.10/5", "CONTINUATION after the last CONTINUATION", |w| {
        w.headers(1, END_STREAM, &get("/")).continuation(1, END_HEADERS, &bulky(1));
        w.continuation(1, END_HEADERS, &bulky(1)).connection_error(&[PROTOCOL_ERROR])
    }),
    ("http2/6.10/6", "CONTINUATION after DATA", |w| {
        w.headers(1, NONE, &post("/")).data(1, END_STREAM, b"test").continuation(1, NONE, &bulky(1));
        w.continuation(0, END_HEADERS, &bulky(1)).connection_error(&[PROTOCOL_ERROR])
    }),
    ("http2/7/1", "GOAWAY with a code that is not known", |w| {
        w.frame(GOAWAY, NONE, 0, b"\0\0\0\0\0\0\0\xff").closes()
    }),
    ("http2/7/2", "RST_STREAM with a code that is not known", |w| {
        w.headers(1, END_HEADERS, &post("/")).reset(1, 0xff).ping(b"a reset!").pong(b"a reset!")
    }),
];
