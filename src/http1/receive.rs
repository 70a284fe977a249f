//! Reads from a connection as much as has a use.

use super::Error;
use super::decode::{Decoded, Decoder};
use bytes::{Bytes, BytesMut};
use http_body::Frame;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

/// The most that is read at one time of a client's head and what follows it, in bytes.
pub(super) const OF_REQUESTS: usize = 8 * 1024;
/// The same of the application's: most answers as a whole.
pub(super) const OF_ANSWERS: usize = 16 * 1024;
/// Read at one time of an answer of which it is not known how long it is. Of such a request no more is read than
/// [`OF_REQUESTS`]: behind its end the next one may begin, and every connection may hold so much of that.
pub(super) const PIECE: usize = 32 * 1024;
/// Read at one time of one that is known to be longer.
const MOST: usize = 64 * 1024;

/// Reads what there is and appends it. Tells how much it was; nothing is the end.
///
/// It is read onto the stack first: who waits for a head, and most connections do nothing else, then holds no room for it.
pub(super) fn poll_more<const ROOM: usize, I: AsyncRead + Unpin>(
    io: &mut I,
    ahead: &mut Bytes,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut room = [MaybeUninit::uninit(); ROOM];
    let mut buffer = ReadBuf::uninit(&mut room);
    ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
    let came = buffer.filled();
    if ahead.is_empty() {
        *ahead = Bytes::copy_from_slice(came);
    } else {
        append(ahead, came);
    }
    Poll::Ready(Ok(came.len()))
}

/// Appends what came.
fn append(ahead: &mut Bytes, came: &[u8]) {
    // Its own room grows if nobody else has a part of it.
    let mut all = std::mem::take(ahead).try_into_mut().unwrap_or_else(|ahead| BytesMut::from(&ahead[..]));
    all.extend_from_slice(came);
    *ahead = all.freeze();
}

/// The next piece of a body, of what has come or of what comes; a connection that is gone has ended.
pub(super) fn poll_frame<const UNKNOWN: usize, I: AsyncRead + Unpin>(
    io: Option<&mut I>,
    decoder: &mut Decoder,
    ahead: &mut Bytes,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
    let mut io = io;
    loop {
        match decoder.decode(ahead)? {
            Decoded::Data(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
            Decoded::Trailers(trailers) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Decoded::End => return Poll::Ready(None),
            Decoded::More => {}
        }
        let piece = match &mut io {
            Some(io) => ready!(poll_piece(*io, decoder.exact(), UNKNOWN, cx))?,
            None => Bytes::new(),
        };
        if piece.is_empty() {
            decoder.connection_ended()?;
        } else if ahead.is_empty() {
            *ahead = piece;
        } else {
            append(ahead, &piece);
        }
    }
}

/// Reads a piece of a body of which so much is still to come, if that is known. An empty one is the end.
fn poll_piece<I: AsyncRead + Unpin>(
    io: &mut I,
    left: Option<u64>,
    unknown: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Bytes>> {
    let room = left.map_or(unknown, |left| usize::try_from(left).unwrap_or(MOST).min(MOST));
    let mut piece = BytesMut::with_capacity(room);
    ready!(pin!(io.read_buf(&mut piece)).poll(cx))?;
    Poll::Ready(Ok(piece.freeze()))
}
