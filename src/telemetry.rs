//! What the sidecar counts of itself, where it is counted.
//!
//! Workers count into their own [`WorkerTally`]; rules and sinks count into theirs. `exposition` reads them all when
//! Prometheus asks. Nothing here knows names of metrics but where a label's values are fixed.

pub mod tally;
pub mod worker;

pub use tally::{Histogram, Merged, Tally};
pub use worker::{Handshake, Refusal, TlsSide, UpstreamError, WorkerTally};
