//! A client of HTTP/2 that says whatever frames it is told to, and waits for what must come of it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::support::PATIENCE;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const NONE: u8 = 0;
pub(super) const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const WITH_PRIORITY: u8 = 32;
/// A request without a body, whole.
pub(super) const WHOLE: u8 = END_STREAM | END_HEADERS;

pub(super) const PROTOCOL_ERROR: u32 = 1;
pub(super) const FLOW_CONTROL_ERROR: u32 = 3;
pub(super) const STREAM_CLOSED: u32 = 5;
pub(super) const FRAME_SIZE_ERROR: u32 = 6;
pub(super) const REFUSED_STREAM: u32 = 7;
pub(super) const CANCEL: u32 = 8;
pub(super) const COMPRESSION_ERROR: u32 = 9;

pub(super) const HEADER_TABLE_SIZE: u16 = 1;
pub(super) const ENABLE_PUSH: u16 = 2;
pub(super) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(super) const INITIAL_WINDOW_SIZE: u16 = 4;
pub(super) const MAX_FRAME_SIZE: u16 = 5;
pub(super) const MAX_HEADER_LIST_SIZE: u16 = 6;

/// What did not come as it must.
pub(super) type Checked = Result<(), String>;

#[derive(Debug)]
enum Event {
    Frame { kind: u8, flags: u8, stream: u32, payload: Vec<u8> },
    Closed,
}

pub(super) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What the server said of itself: `SETTINGS_MAX_CONCURRENT_STREAMS`.
    pub(super) max_streams: u32,
}

impl Wire {
    /// Connects and says nothing yet.
    pub(super) fn connect(address: SocketAddr) -> Result<Wire, String> {
        let stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Ok(Wire { stream, buffer: Vec::new(), max_streams: 0 })
    }

    /// Connects and exchanges settings, which both sides acknowledge.
    pub(super) fn greet(address: SocketAddr) -> Result<Wire, String> {
        let mut wire = Wire::connect(address)?;
        wire.preface().settings(&[]);
        let (mut theirs, mut ours) = (false, false);
        while !(theirs && ours) {
            match wire.next()? {
                Event::Frame { kind: SETTINGS, flags: ACK, .. } => ours = true,
                Event::Frame { kind: SETTINGS, payload, .. } => {
                    let setting = payload.chunks(6).find(|setting| setting[..2] == [0, 3]);
                    wire.max_streams = setting.map_or(0, |s| u32::from_be_bytes(s[2..6].try_into().unwrap()));
                    wire.frame(SETTINGS, ACK, 0, b"");
                    theirs = true;
                }
                Event::Frame { .. } => {}
                Event::Closed => return Err("closed before the settings were exchanged".to_owned()),
            }
        }
        Ok(wire)
    }

    /// Says bytes. That the other side may have gone is for whoever waits to find out.
    pub(super) fn say(&mut self, bytes: &[u8]) -> &mut Wire {
        let _ = self.stream.write_all(bytes);
        self
    }

    pub(super) fn preface(&mut self) -> &mut Wire {
        self.say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    }

    pub(super) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> &mut Wire {
        let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        self.say(&bytes)
    }

    pub(super) fn headers(&mut self, stream: u32, flags: u8, block: &[u8]) -> &mut Wire {
        self.frame(HEADERS, flags, stream, block)
    }

    pub(super) fn continuation(&mut self, stream: u32, flags: u8, block: &[u8]) -> &mut Wire {
        self.frame(CONTINUATION, flags, stream, block)
    }

    pub(super) fn data(&mut self, stream: u32, flags: u8, data: &[u8]) -> &mut Wire {
        self.frame(DATA, flags, stream, data)
    }

    pub(super) fn reset(&mut self, stream: u32, code: u32) -> &mut Wire {
        self.frame(RST_STREAM, NONE, stream, &code.to_be_bytes())
    }

    pub(super) fn priority(&mut self, stream: u32, on: u32, weight: u8) -> &mut Wire {
        self.frame(PRIORITY, NONE, stream, &dependency(on, weight))
    }

    pub(super) fn window(&mut self, stream: u32, more: u32) -> &mut Wire {
        self.frame(WINDOW_UPDATE, NONE, stream, &more.to_be_bytes())
    }

    pub(super) fn settings(&mut self, settings: &[(u16, u32)]) -> &mut Wire {
        let mut payload = Vec::new();
        for (identifier, value) in settings {
            payload.extend(identifier.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        self.frame(SETTINGS, NONE, 0, &payload)
    }

    pub(super) fn ping(&mut self, data: &[u8; 8]) -> &mut Wire {
        self.frame(PING, NONE, 0, data)
    }

    fn next(&mut self) -> Result<Event, String> {
        let mut chunk = [0; 16_384];
        loop {
            if self.buffer.len() >= 9 {
                let word = |at: usize| u32::from_be_bytes(self.buffer[at..at + 4].try_into().unwrap());
                let (length, stream) = ((word(0) >> 8) as usize, word(5) & 0x7fff_ffff);
                if self.buffer.len() >= 9 + length {
                    let bytes: Vec<u8> = self.buffer.drain(..9 + length).collect();
                    return Ok(Event::Frame {
                        kind: bytes[3],
                        flags: bytes[4],
                        stream,
                        payload: bytes[9..].to_vec(),
                    });
                }
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(Event::Closed),
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(Event::Closed),
                Err(error) => return Err(format!("nothing more came: {error}")),
            }
        }
    }

    /// Passes over everything until `wanted` says what it thinks.
    fn until(&mut self, mut wanted: impl FnMut(&Event) -> Option<Checked>) -> Checked {
        let mut passed = Vec::new();
        loop {
            let event = self.next().map_err(|error| format!("{error}; before: {passed:?}"))?;
            match wanted(&event) {
                Some(Err(why)) => return Err(format!("{why}: {event:?}; before: {passed:?}")),
                Some(Ok(())) => return Ok(()),
                None if matches!(event, Event::Closed) => return Err(format!("closed; before: {passed:?}")),
                None => passed.push(event),
            }
        }
    }

    /// The connection is closed, whatever is said before.
    pub(super) fn closes(&mut self) -> Checked {
        self.until(|event| matches!(event, Event::Closed).then_some(Ok(())))
    }

    /// The connection is closed, by someone who takes this for another protocol.
    pub(super) fn closes_without_frames(&mut self) -> Checked {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The connection has an error of one of these codes.
    pub(super) fn connection_error(&mut self, codes: &[u32]) -> Checked {
        self.until(|event| match event {
            Event::Closed => Some(Ok(())),
            Event::Frame { kind: GOAWAY, payload, .. } => {
                codes.contains(&code(&payload[4..])).then_some(Ok(()))
            }
            Event::Frame { .. } => None,
        })
    }

    /// Some stream has an error of one of these codes, or the connection has.
    pub(super) fn stream_error(&mut self, codes: &[u32]) -> Checked {
        self.until(|event| match event {
            Event::Closed => Some(Ok(())),
            Event::Frame { kind: GOAWAY, payload, .. } => {
                codes.contains(&code(&payload[4..])).then_some(Ok(()))
            }
            Event::Frame { kind: RST_STREAM, payload, .. } => {
                codes.contains(&code(payload)).then_some(Ok(()))
            }
            Event::Frame { .. } => None,
        })
    }

    /// The connection has this error, and it is told.
    pub(super) fn connection_ends(&mut self, wanted: u32) -> Checked {
        self.until(|event| match event {
            Event::Frame { kind: GOAWAY, payload, .. } => Some(same(code(&payload[4..]), wanted, "the code")),
            _ => None,
        })
    }

    /// Refused, as a stream's error or by an answer of status 400; the connection goes on.
    pub(super) fn refused(&mut self) -> Checked {
        self.until(|event| match event {
            Event::Frame { kind: RST_STREAM, payload, .. } => {
                Some(same(code(payload), PROTOCOL_ERROR, "the code of the reset"))
            }
            // `:status` 400 is entry 12 of HPACK's table.
            Event::Frame { kind: HEADERS, payload, .. } => {
                Some(same(payload.first(), Some(&0x8c), "the status"))
            }
            _ => None,
        })?;
        self.headers(3, WHOLE, &super::hpack::get(super::SOUND)).served(3)
    }

    /// A frame like this comes.
    pub(super) fn gets(&mut self, wanted: u8, wanted_flags: u8) -> Checked {
        self.until(|event| match event {
            Event::Frame { kind, flags, .. } if *kind == wanted => {
                Some(same(*flags & wanted_flags, wanted_flags, "the flags"))
            }
            _ => None,
        })
    }

    /// The very first frame is the server's settings.
    pub(super) fn settings_first(&mut self) -> Checked {
        self.until(|event| {
            let settings = matches!(event, Event::Frame { kind: SETTINGS, flags: NONE, .. });
            Some(if settings { Ok(()) } else { Err("something else came first".to_owned()) })
        })
    }

    /// The first data that comes is of this length.
    pub(super) fn data_of(&mut self, length: usize) -> Checked {
        self.until(|event| match event {
            Event::Frame { kind: DATA, payload, .. } => Some(same(payload.len(), length, "the length")),
            _ => None,
        })
    }

    /// The first answer to a ping is the one to this.
    pub(super) fn pong(&mut self, data: &[u8; 8]) -> Checked {
        self.until(|event| match event {
            Event::Frame { kind: PING, flags: ACK, payload, .. } => {
                Some(same(&payload[..], &data[..], "the answer's data"))
            }
            _ => None,
        })
    }

    /// The request on this stream is answered, with status 200.
    pub(super) fn served(&mut self, wanted: u32) -> Checked {
        self.until(|event| match event {
            // `:status` 200 is entry 8 of HPACK's table.
            Event::Frame { kind: HEADERS, stream, payload, .. } if *stream == wanted => {
                Some(same(payload.first(), Some(&0x88), "the status"))
            }
            Event::Frame { kind: RST_STREAM, .. } => Some(Err("it is reset".to_owned())),
            _ => None,
        })
    }

    /// The answer on the first stream comes to its end.
    pub(super) fn ends(&mut self) -> Result<&mut Wire, String> {
        self.until(|event| match event {
            Event::Frame { kind: DATA | HEADERS, flags, .. } if flags & END_STREAM != 0 => Some(Ok(())),
            _ => None,
        })?;
        Ok(self)
    }

    /// Our settings are acknowledged.
    pub(super) fn acknowledges(&mut self) -> Result<&mut Wire, String> {
        self.gets(SETTINGS, ACK)?;
        Ok(self)
    }
}

fn code(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload[..4].try_into().unwrap())
}

fn same<T: PartialEq + std::fmt::Debug>(is: T, should: T, what: &str) -> Checked {
    if is == should { Ok(()) } else { Err(format!("{what} is {is:?} and should be {should:?}")) }
}

/// The five bytes that say on which stream another depends.
pub(super) fn dependency(on: u32, weight: u8) -> [u8; 5] {
    let [a, b, c, d] = on.to_be_bytes();
    [a, b, c, d, weight]
}
