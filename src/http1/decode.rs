//! Where a body ends, and what of it is chunks.
//!
//! Only what RFC 9112 7.1 writes is a chunk: two readers that differ over where one ends differ over what the next
//! request is.

use super::head::has_lone_feed;
use super::{Error, MAX_FIELDS, MAX_TRAILERS};
use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The longest line that says how long a chunk is, in bytes.
const MAX_SIZE_LINE: usize = 4 * 1024;
/// What all the extensions of a body's chunks may take together, in bytes: nobody has a use for them.
const MAX_EXTENSIONS: usize = 16 * 1024;
/// The longest size of a chunk in hexadecimal digits, as many as 64 bits have.
const MAX_DIGITS: usize = 16;

/// Takes a body off a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoder {
    /// So many bytes are still to come.
    Length(u64),
    Chunked(Chunks),
    /// All that comes until the connection ends.
    UntilEnd,
    /// That end has come.
    Ended,
}

/// Where in a chunked body one is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunks {
    place: Place,
    extensions: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Size,
    /// So many bytes of the chunk are still to come.
    Data(u64),
    AfterData,
    Trailers,
    End,
}

/// What the bytes at hand lead to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    Data(Bytes),
    Trailers(HeaderMap),
    /// Nothing: more has to come.
    More,
    End,
}

impl Decoder {
    pub(super) const NOTHING: Decoder = Decoder::Length(0);

    pub(super) fn chunked() -> Decoder {
        Decoder::Chunked(Chunks { place: Place::Size, extensions: 0 })
    }

    /// Whether the body has come to its end.
    pub(super) fn is_end(&self) -> bool {
        matches!(
            self,
            Decoder::Length(0) | Decoder::Chunked(Chunks { place: Place::End, .. }) | Decoder::Ended
        )
    }

    /// How long the body is from here on, if that is known.
    pub(super) fn exact(&self) -> Option<u64> {
        match self {
            Decoder::Length(left) => Some(*left),
            Decoder::Ended | Decoder::Chunked(Chunks { place: Place::End, .. }) => Some(0),
            _ => None,
        }
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// The body had not.
    pub(super) fn connection_ended(&mut self) -> Result<(), Error> {
        if *self == Decoder::UntilEnd {
            *self = Decoder::Ended;
        }
        if self.is_end() { Ok(()) } else { Err(Error::Incomplete) }
    }

    /// Takes from what has come what belongs to the body.
    pub(super) fn decode(&mut self, ahead: &mut Bytes) -> Result<Decoded, Error> {
        match self {
            Decoder::Length(0) | Decoder::Ended => Ok(Decoded::End),
            Decoder::Length(left) => Ok(take(ahead, left)),
            Decoder::UntilEnd if ahead.is_empty() => Ok(Decoded::More),
            Decoder::UntilEnd => Ok(Decoded::Data(std::mem::take(ahead))),
            Decoder::Chunked(chunks) => chunks.decode(ahead),
        }
    }
}

/// The next bytes, as far as they belong to a part of which so much is left.
fn take(ahead: &mut Bytes, left: &mut u64) -> Decoded {
    if ahead.is_empty() {
        return Decoded::More;
    }
    let n = usize::try_from(*left).unwrap_or(usize::MAX).min(ahead.len());
    *left -= n as u64;
    Decoded::Data(if n == ahead.len() { std::mem::take(ahead) } else { ahead.split_to(n) })
}

impl Chunks {
    fn decode(&mut self, ahead: &mut Bytes) -> Result<Decoded, Error> {
        loop {
            match &mut self.place {
                Place::Size => {
                    let Some(line) = SizeLine::read(ahead)? else { return Ok(Decoded::More) };
                    self.extensions += line.extension;
                    if self.extensions > MAX_EXTENSIONS {
                        return Err(Error::Malformed("chunk extensions of more than 16 KiB"));
                    }
                    ahead.advance(line.length);
                    self.place = if line.size == 0 { Place::Trailers } else { Place::Data(line.size) };
                }
                Place::Data(0) => self.place = Place::AfterData,
                Place::Data(left) => return Ok(take(ahead, left)),
                Place::AfterData => match &ahead[..] {
                    [b'\r', b'\n', ..] => {
                        ahead.advance(2);
                        self.place = Place::Size;
                    }
                    [] | [b'\r'] => return Ok(Decoded::More),
                    _ => return Err(Error::Malformed("a chunk that is longer than its size says")),
                },
                Place::Trailers => match &ahead[..] {
                    [b'\r', b'\n', ..] => {
                        ahead.advance(2);
                        self.place = Place::End;
                    }
                    [] | [b'\r'] => return Ok(Decoded::More),
                    _ => {
                        let Some((trailers, end)) = trailers(ahead)? else { return Ok(Decoded::More) };
                        ahead.advance(end);
                        self.place = Place::End;
                        return Ok(Decoded::Trailers(trailers));
                    }
                },
                Place::End => return Ok(Decoded::End),
            }
        }
    }
}

/// The line before a chunk.
struct SizeLine {
    size: u64,
    /// How long what follows the size is.
    extension: usize,
    /// How long the line is, with its end.
    length: usize,
}

impl SizeLine {
    /// Reads one; nothing if its end has not come.
    ///
    /// # Errors
    /// It is none, which is told by the first byte that cannot be part of one: its end may never come.
    fn read(ahead: &[u8]) -> Result<Option<SizeLine>, Error> {
        const BAD: Error = Error::Malformed("a chunk's size that is none");
        let digits = ahead.iter().take(MAX_DIGITS).take_while(|byte| byte.is_ascii_hexdigit()).count();
        let mut size = 0u64;
        for digit in ahead[..digits].iter().filter_map(|&byte| char::from(byte).to_digit(16)) {
            size = size.checked_mul(16).ok_or(BAD)? | u64::from(digit);
        }
        let mut is_extension = false;
        for (at, &byte) in ahead.iter().enumerate().skip(digits).take(MAX_SIZE_LINE) {
            match byte {
                _ if digits == 0 => return Err(BAD),
                b'\r' => {
                    return match ahead.get(at + 1) {
                        None => Ok(None),
                        Some(b'\n') => Ok(Some(SizeLine { size, extension: at - digits, length: at + 2 })),
                        Some(_) => Err(BAD),
                    };
                }
                b' ' | b'\t' => {}
                b';' => is_extension = true,
                byte if !is_extension || byte.is_ascii_control() => return Err(BAD),
                _ => {}
            }
        }
        if ahead.len() - digits < MAX_SIZE_LINE {
            Ok(None)
        } else {
            Err(Error::Malformed("a chunk's size that does not end"))
        }
    }
}

/// The trailers, and how long they and their end are; nothing if their end has not come.
fn trailers(ahead: &[u8]) -> Result<Option<(HeaderMap, usize)>, Error> {
    const BAD: Error = Error::Malformed("trailers that are none");
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let parsed = match httparse::parse_headers(ahead, &mut fields) {
        Ok(parsed) => parsed,
        Err(httparse::Error::TooManyHeaders) => return Err(Error::Malformed("more than 200 trailers")),
        Err(_) => return Err(BAD),
    };
    let httparse::Status::Complete((end, fields)) = parsed else {
        return if ahead.len() > MAX_TRAILERS {
            Err(Error::Malformed("trailers of more than 16 KiB"))
        } else {
            Ok(None)
        };
    };
    if has_lone_feed(&ahead[..end]) {
        return Err(BAD);
    }
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| BAD)?;
        trailers.append(name, HeaderValue::from_bytes(field.value).map_err(|_| BAD)?);
    }
    Ok(Some((trailers, end)))
}

#[cfg(test)]
mod tests;
