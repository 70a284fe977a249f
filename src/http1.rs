//! HTTP/1 between a client, us and the application.
//!
//! ```text
//!   bytes ─► receive ─► head::read ─► Request ─► service ─► Response ─► head::write ─► bytes      server
//!                          └ Decoder ─► Body                 Body ─► Encoder ─┘
//!   the same the other way round                                                                  client
//! ```
//!
//! httparse reads the heads and `http` holds them, as in hyper, which carries HTTP/2. What is written here is what lies
//! between: who reads when, how a body is framed, and what becomes of a connection after a message. hyper has it too, for
//! a server and for a client; a proxy made of one of each pays for what joins them, a third of the instructions of a
//! request (`benches/README.md`). Here one task carries both connections, so a piece of a body goes from one to the other
//! without a queue, a second task and its wake, and names go on as they were spelled without a map of them. What hyper
//! does not hand on goes on as well: the length that an answer without a body speaks of, and trailers that nobody announced.
//!
//! A connection without a request holds no buffer.

pub mod client;
pub mod server;

mod date;
mod decode;
mod encode;
mod head;
mod receive;
mod spelling;
mod upgraded;

pub use spelling::Spelling;
pub use upgraded::Upgraded;

use std::io;

/// The longest head, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// The most fields that a head may have.
const MAX_FIELDS: usize = 200;
/// The longest trailer section, in bytes.
const MAX_TRAILERS: usize = 16 * 1024;

/// Why a message is read or written no further.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// These bytes are none of HTTP/1.
    #[error("{0}")]
    Malformed(&'static str),
    /// A head of more than 64 KiB or 200 fields.
    #[error("a head of more than 64 KiB or 200 fields")]
    TooLarge,
    /// The other side ended within a message.
    #[error("connection closed before message completed")]
    Incomplete,
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The other body, which was to become this one, broke off.
    #[error("the body broke off")]
    BrokeOff,
}

#[cfg(test)]
mod tests;
