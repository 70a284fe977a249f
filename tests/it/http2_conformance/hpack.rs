//! RFC 7541: the smallest encoder there is, and h2spec's cases of it.
//!
//! The strings in Huffman's code are from the examples of RFC 7541, appendix C.

use super::Case;
use super::wire::{COMPRESSION_ERROR, WHOLE};

const KEY: &[u8] = &[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f];
const VALUE: &[u8] = &[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf];
/// `private`, which leaves a single bit of its last byte to be padded.
const PRIVATE: [u8; 5] = [0xae, 0xc3, 0x77, 0x1a, 0x4b];
const USER_AGENT: u8 = 58;

/// `:method: GET`, `:scheme: http`, `:path: /`, and the authority as a literal that is remembered.
pub(super) fn get(path: &str) -> Vec<u8> {
    request(0x82, path)
}

pub(super) fn post(path: &str) -> Vec<u8> {
    request(0x83, path)
}

fn request(method: u8, path: &str) -> Vec<u8> {
    let mut block = vec![method, 0x86];
    block.extend(if path == "/" { vec![0x84] } else { field(":path", path) });
    block.extend([0x41, 9]);
    block.extend(b"shop.test");
    block
}

/// A literal that is not remembered, name and value as they are.
pub(super) fn field(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name.as_ref(), value.as_ref()] {
        bytes.extend(integer(text.len(), 7));
        bytes.extend(text);
    }
    bytes
}

/// Several literals.
pub(super) fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// A GET with one more header.
pub(super) fn get_with(name: &str, value: &str) -> Vec<u8> {
    [get("/"), field(name, value)].concat()
}

/// A POST with one more header.
pub(super) fn post_with(name: &str, value: &str) -> Vec<u8> {
    [post("/"), field(name, value)].concat()
}

/// As many headers of 4,000 bytes each.
pub(super) fn bulky(n: usize) -> Vec<u8> {
    (0..n).flat_map(|n| field(format!("x-dummy{n}"), "x".repeat(4_000))).collect()
}

fn integer(value: usize, prefix: u32) -> Vec<u8> {
    let most = (1 << prefix) - 1;
    if value < most {
        return vec![u8::try_from(value).unwrap()];
    }
    let (mut bytes, mut rest) = (vec![u8::try_from(most).unwrap()], value - most);
    while rest >= 128 {
        bytes.push((rest % 128) as u8 | 0x80);
        rest /= 128;
    }
    bytes.push(rest as u8);
    bytes
}

fn plain(text: &str) -> Vec<u8> {
    [&[text.len() as u8], text.as_bytes()].concat()
}

fn huffman(code: &[u8]) -> Vec<u8> {
    [&[code.len() as u8 | 0x80], code].concat()
}

/// The index of `user-agent` in a prefix of so many bits, below these high bits.
fn named(high: u8, prefix: u32) -> Vec<u8> {
    let mut bytes = integer(usize::from(USER_AGENT), prefix);
    bytes[0] |= high;
    bytes
}

/// A GET, and this after it.
fn and(more: &[&[u8]]) -> Vec<u8> {
    [get("/"), more.concat()].concat()
}

/// The bytes of a change of the dynamic table's size.
fn resize(size: usize) -> Vec<u8> {
    let mut bytes = integer(size, 5);
    bytes[0] |= 0x20;
    bytes
}

const REMEMBERED: u8 = 0x40;
const FORGOTTEN: u8 = 0x00;
const SECRET: u8 = 0x10;

#[rustfmt::skip]
pub(super) const REPRESENTATIONS: &[Case] = &[
    ("generic/5/1", "an indexed field", |w| {
        w.headers(1, WHOLE, &and(&[&[0x80 | USER_AGENT]])).served(1)
    }),
    ("generic/5/2", "a remembered literal with an indexed name", |w| {
        w.headers(1, WHOLE, &and(&[&named(REMEMBERED, 6), &plain("custom-value")])).served(1)
    }),
    ("generic/5/3", "a remembered literal with an indexed name, by Huffman", |w| {
        w.headers(1, WHOLE, &and(&[&named(REMEMBERED, 6), &huffman(VALUE)])).served(1)
    }),
    ("generic/5/4", "a remembered literal with a new name", |w| {
        w.headers(1, WHOLE, &and(&[&[REMEMBERED], &plain("custom-key"), &plain("custom-value")])).served(1)
    }),
    ("generic/5/5", "a remembered literal with a new name, by Huffman", |w| {
        w.headers(1, WHOLE, &and(&[&[REMEMBERED], &huffman(KEY), &huffman(VALUE)])).served(1)
    }),
    ("generic/5/6", "a literal with an indexed name", |w| {
        w.headers(1, WHOLE, &and(&[&named(FORGOTTEN, 4), &plain("custom-value")])).served(1)
    }),
    ("generic/5/7", "a literal with an indexed name, by Huffman", |w| {
        w.headers(1, WHOLE, &and(&[&named(FORGOTTEN, 4), &huffman(VALUE)])).served(1)
    }),
    ("generic/5/8", "a literal with a new name", |w| {
        w.headers(1, WHOLE, &and(&[&[FORGOTTEN], &plain("custom-key"), &plain("custom-value")])).served(1)
    }),
    ("generic/5/9", "a literal with a new name, by Huffman", |w| {
        w.headers(1, WHOLE, &and(&[&[FORGOTTEN], &huffman(KEY), &huffman(VALUE)])).served(1)
    }),
    ("generic/5/10", "a secret literal with an indexed name", |w| {
        w.headers(1, WHOLE, &and(&[&named(SECRET, 4), &plain("custom-value")])).served(1)
    }),
    ("generic/5/11", "a secret literal with an indexed name, by Huffman", |w| {
        w.headers(1, WHOLE, &and(&[&named(SECRET, 4), &huffman(VALUE)])).served(1)
    }),
    ("generic/5/12", "a secret literal with a new name", |w| {
        w.headers(1, WHOLE, &and(&[&[SECRET], &plain("custom-key"), &plain("custom-value")])).served(1)
    }),
    ("generic/5/13", "a secret literal with a new name, by Huffman", |w| {
        w.headers(1, WHOLE, &and(&[&[SECRET], &huffman(KEY), &huffman(VALUE)])).served(1)
    }),
    ("generic/5/14", "a change of the table's size", |w| {
        w.headers(1, WHOLE, &[resize(0), get_with("x-said", "plainly")].concat()).served(1)
    }),
    ("generic/5/15", "two changes of the table's size", |w| {
        w.headers(1, WHOLE, &[resize(128), resize(4096), get_with("x-said", "plainly")].concat()).served(1)
    }),
];

#[rustfmt::skip]
pub(super) const DECODING_ERRORS: &[Case] = &[
    ("hpack/2.3.3/1", "an indexed field beyond the tables", |w| {
        w.headers(1, WHOLE, &and(&[&[0x80 | 70]])).connection_error(&[COMPRESSION_ERROR])
    }),
    ("hpack/2.3.3/2", "a literal whose name is beyond the tables", |w| {
        w.headers(1, WHOLE, &and(&[&[0x7f, 70 - 63], &plain("")])).connection_error(&[COMPRESSION_ERROR])
    }),
    ("hpack/4.2/1", "a change of the table's size at the end", |w| {
        w.headers(1, WHOLE, &and(&[&resize(1)])).connection_error(&[COMPRESSION_ERROR])
    }),
    ("hpack/5.2/1", "Huffman's code padded by more than 7 bits", |w| {
        let padded = [KEY, &[0xff]].concat();
        w.headers(1, WHOLE, &and(&[&[FORGOTTEN], &huffman(KEY), &huffman(&padded)]))
            .connection_error(&[COMPRESSION_ERROR])
    }),
    ("hpack/5.2/2", "Huffman's code padded by zeros", |w| {
        let mut padded = PRIVATE;
        padded[4] &= 0xfe;
        w.headers(1, WHOLE, &and(&[&[FORGOTTEN], &huffman(KEY), &huffman(&padded)]))
            .connection_error(&[COMPRESSION_ERROR])
    }),
    ("hpack/5.2/3", "Huffman's code with the end of the string in it", |w| {
        let ended = [&[0xff; 4], VALUE].concat();
        w.headers(1, WHOLE, &and(&[&[FORGOTTEN], &huffman(KEY), &huffman(&ended)]))
            .connection_error(&[COMPRESSION_ERROR])
    }),
    ("hpack/6.1/1", "an indexed field with index 0", |w| {
        w.headers(1, WHOLE, &and(&[&[0x80]])).connection_error(&[COMPRESSION_ERROR])
    }),
    ("hpack/6.3/1", "a table larger than was allowed", |w| {
        w.headers(1, WHOLE, &[resize(4097), get("/")].concat()).connection_error(&[COMPRESSION_ERROR])
    }),
];
