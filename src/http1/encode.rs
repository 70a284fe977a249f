//! Frames a body and writes it.

use super::head::write_fields;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// What is written together with what goes before it, in bytes: to copy it costs less than a system call.
const TOGETHER: usize = 16 * 1024;
/// What is kept of the room for the next message, in bytes; nearly every head is shorter.
const KEPT: usize = 1024;
/// From here on what waits is written before more is asked for, in bytes.
const FULL: usize = 32 * 1024;

/// How a body is framed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Encoder {
    /// So many bytes are still to come.
    Length(u64),
    Chunked,
    /// All that goes until the connection ends.
    UntilEnd,
}

impl Encoder {
    /// A piece of the body goes. Of what is more than was announced nothing goes.
    pub(super) fn data(&mut self, mut data: Bytes, out: &mut Out) {
        if data.is_empty() {
            // As a chunk it would be the last.
            return;
        }
        match self {
            Encoder::Length(left) => {
                data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= data.len() as u64;
                out.push(data);
            }
            Encoder::Chunked => {
                out.bytes.extend_from_slice(format_size(data.len(), &mut [0; 18]));
                out.push(data);
                out.after(b"\r\n");
            }
            Encoder::UntilEnd => out.push(data),
        }
    }

    /// Nothing more goes but the end. Whether that is the end that was announced.
    pub(super) fn end(&self, trailers: Option<&HeaderMap>, out: &mut Out) -> bool {
        match self {
            Encoder::Chunked => {
                out.after(b"0\r\n");
                if let Some(trailers) = trailers {
                    let mut fields = Vec::new();
                    write_fields(None, trailers, &mut fields, |name, _| is_trailer(name));
                    out.after(&fields);
                }
                out.after(b"\r\n");
                true
            }
            Encoder::Length(left) => *left == 0,
            Encoder::UntilEnd => true,
        }
    }
}

/// Whether a field may stand after a body: none does by which a message is framed, routed, understood or let in, and none
/// that asks for something (RFC 9110 6.5.1).
fn is_trailer(name: &HeaderName) -> bool {
    !matches!(name.as_str(), "keep-alive" | "proxy-connection")
        && !matches!(
            *name,
            header::AUTHORIZATION
                | header::CACHE_CONTROL
                | header::CONNECTION
                | header::CONTENT_ENCODING
                | header::CONTENT_LENGTH
                | header::CONTENT_RANGE
                | header::CONTENT_TYPE
                | header::COOKIE
                | header::EXPECT
                | header::HOST
                | header::IF_MATCH
                | header::IF_MODIFIED_SINCE
                | header::IF_NONE_MATCH
                | header::IF_RANGE
                | header::IF_UNMODIFIED_SINCE
                | header::MAX_FORWARDS
                | header::PROXY_AUTHENTICATE
                | header::PROXY_AUTHORIZATION
                | header::RANGE
                | header::SET_COOKIE
                | header::TE
                | header::TRAILER
                | header::TRANSFER_ENCODING
                | header::UPGRADE
                | header::WWW_AUTHENTICATE
        )
}

/// A chunk's length in hexadecimal, and the end of its line.
fn format_size(length: usize, room: &mut [u8; 18]) -> &[u8] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    room[16..].copy_from_slice(b"\r\n");
    let (mut at, mut left) = (16, length);
    loop {
        at -= 1;
        room[at] = DIGITS[left % 16];
        left /= 16;
        if left == 0 {
            return &room[at..];
        }
    }
}

/// What is to be written: bytes, then a piece that is too long to be copied, then what comes after that.
#[derive(Debug, Default)]
pub(super) struct Out {
    pub(super) bytes: Vec<u8>,
    /// So many of them have been written.
    written: usize,
    /// So many of this message have been written, those included that are forgotten by now.
    taken: u64,
    piece: Bytes,
    end: Vec<u8>,
    /// What was written may still be with the writer: TLS takes bytes that its socket has no room for.
    is_held: bool,
}

impl Out {
    fn push(&mut self, data: Bytes) {
        if self.piece.is_empty() && data.len() >= TOGETHER {
            self.piece = data;
        } else {
            self.after(&data);
        }
    }

    fn after(&mut self, bytes: &[u8]) {
        let end = if self.piece.is_empty() { &mut self.bytes } else { &mut self.end };
        end.extend_from_slice(bytes);
    }

    fn len(&self) -> usize {
        self.bytes.len() + self.piece.len() + self.end.len()
    }

    /// Whether nothing waits, here or with the writer.
    pub(super) fn is_empty(&self) -> bool {
        self.written == self.len() && !self.is_held
    }

    /// Whether to write before more is asked for.
    pub(super) fn is_full(&self) -> bool {
        !self.piece.is_empty() || self.bytes.len() >= FULL
    }

    /// How much of the message has been written, in bytes.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Another message begins.
    pub(super) fn begin(&mut self) {
        self.clear();
        self.taken = 0;
    }

    /// The same message begins again: as if nothing had been written.
    pub(super) fn begin_again(&mut self) {
        (self.written, self.taken, self.is_held) = (0, 0, false);
    }

    /// Writes what waits. It is kept until it is forgotten.
    pub(super) fn poll_write<I: AsyncWrite + Unpin>(
        &mut self,
        io: &mut I,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.written < self.len() {
            let mut io = Pin::new(&mut *io);
            let n = if self.piece.is_empty() {
                ready!(io.as_mut().poll_write(cx, &self.bytes[self.written..]))?
            } else {
                let mut slices =
                    [IoSlice::new(&self.bytes), IoSlice::new(&self.piece), IoSlice::new(&self.end)];
                let mut left = &mut slices[..];
                IoSlice::advance_slices(&mut left, self.written);
                ready!(io.as_mut().poll_write_vectored(cx, left))?
            };
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += n;
            self.taken += n as u64;
            self.is_held = true;
        }
        ready!(Pin::new(io).poll_flush(cx))?;
        self.is_held = false;
        Poll::Ready(Ok(()))
    }

    /// Forgets what has been written, once all has.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
        self.piece = Bytes::new();
        self.end.clear();
        self.end.shrink_to(KEPT);
        (self.written, self.is_held) = (0, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;

    /// What a body of these pieces becomes, written to somebody who takes little at a time.
    async fn write(
        mut encoder: Encoder,
        pieces: &[Bytes],
        trailers: Option<&HeaderMap>,
        room: usize,
    ) -> (Vec<u8>, bool) {
        let (mut io, mut other) = tokio::io::duplex(room);
        let pieces = pieces.to_vec();
        let trailers = trailers.cloned();
        let writing = async move {
            let mut out = Out::default();
            for piece in pieces {
                encoder.data(piece, &mut out);
                if out.is_full() {
                    std::future::poll_fn(|cx| out.poll_write(&mut io, cx)).await.unwrap();
                    assert!(out.is_empty());
                    out.clear();
                }
            }
            let ended = encoder.end(trailers.as_ref(), &mut out);
            std::future::poll_fn(|cx| out.poll_write(&mut io, cx)).await.unwrap();
            ended
        };
        let mut written = Vec::new();
        let (ended, read) = tokio::join!(writing, other.read_to_end(&mut written));
        read.unwrap();
        (written, ended)
    }

    /// Takes whatever it is given, and sends it on when it is asked to for the second time.
    #[derive(Default)]
    struct Holding {
        held: Vec<u8>,
        sent: Vec<u8>,
        was_asked: bool,
    }

    impl AsyncWrite for Holding {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.held.extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.was_asked = !self.was_asked;
            if self.was_asked {
                return Poll::Pending;
            }
            let held = std::mem::take(&mut self.held);
            self.sent.extend(held);
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn what_a_writer_holds_waits_until_it_is_sent() {
        let (mut out, mut io) = (Out::default(), Holding::default());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for turn in 1..=2 {
            assert!(out.is_empty(), "turn {turn}");
            out.bytes.extend_from_slice(b"bytes");
            assert!(out.poll_write(&mut io, &mut cx).is_pending());
            assert!(!out.is_empty(), "it has gone no further than the writer");
            assert!(out.poll_write(&mut io, &mut cx).is_ready());
            assert!(out.is_empty());
            assert_eq!(io.sent, b"bytes".repeat(turn));
            out.clear();
        }
    }

    fn text(pieces: &[&'static str]) -> Vec<Bytes> {
        pieces.iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect()
    }

    #[tokio::test]
    async fn bodies_are_framed_as_announced() {
        let pieces = text(&["hello", "", " there, world"]);
        let chunks = b"5\r\nhello\r\nd\r\n there, world\r\n0\r\n\r\n";
        assert_eq!(write(Encoder::Chunked, &pieces, None, 3).await, (chunks.to_vec(), true));
        let all = b"hello there, world";
        assert_eq!(write(Encoder::Length(18), &pieces, None, 3).await, (all.to_vec(), true));
        assert_eq!(
            write(Encoder::Length(19), &pieces, None, 3).await,
            (all.to_vec(), false),
            "one is missing"
        );
        assert_eq!(
            write(Encoder::Length(7), &pieces, None, 3).await,
            (all[..7].to_vec(), true),
            "and no more"
        );
        assert_eq!(write(Encoder::UntilEnd, &pieces, None, 3).await, (all.to_vec(), true));
        let mut trailers = HeaderMap::new();
        trailers.append("grpc-status", "0".parse().unwrap());
        trailers.append("content-length", "5".parse().unwrap());
        let expected = b"0\r\ngrpc-status: 0\r\n\r\n";
        assert_eq!(write(Encoder::Chunked, &[], Some(&trailers), 3).await, (expected.to_vec(), true));
        assert_eq!(write(Encoder::Length(0), &[], Some(&trailers), 3).await, (Vec::new(), true));
    }

    proptest! {
        #[test]
        fn pieces_of_any_length_come_out_in_order(lengths in proptest::collection::vec(0usize..40_000, 0..8), room in 1usize..70_000) {
            let pieces: Vec<Bytes> =
                lengths.iter().zip(b'a'..).map(|(&length, byte)| Bytes::from(vec![byte; length])).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (written, ended) = runtime.block_on(write(Encoder::UntilEnd, &pieces, None, room));
            prop_assert!(ended && written == pieces.concat());
            let (written, ended) = runtime.block_on(write(Encoder::Chunked, &pieces, None, room));
            let chunks: Vec<u8> = pieces.iter().filter(|piece| !piece.is_empty()).flat_map(|piece| {
                [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()
            }).collect();
            prop_assert!(ended && written == [&chunks[..], b"0\r\n\r\n"].concat());
        }
    }
}
