//! What a connection is doing, and what came of it.

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::proxy) enum Phase {
    /// Between requests.
    Idle,
    /// Bytes of a head have come.
    ReadingHead,
    /// The application has the request, or owes us more of its answer; it may take its time.
    Application,
    /// The client owes us more of its body, or has not yet taken the bytes it was given.
    Client,
    /// The client has its answer and our end, and has not yet said the end of its body.
    Lingering,
    /// It carries something else than HTTP by now, which has no limits and no end that we would know.
    Tunnel,
}

/// What bytes that came belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Arrival {
    HeadBegins,
    Head,
    Body,
    Tunnel,
}

/// What a client did to the end of its request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::proxy) enum Unsaid {
    /// It went away.
    Gone = 1,
    /// It said something that is no body.
    Malformed,
    /// It said nothing for too long.
    Stalled,
}
