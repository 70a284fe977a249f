//! Who asks, and whether its word counts.

use super::Worker;
use super::headers::Peer;
use crate::moment::Moment;
use crate::sampling::trust::Standing;
use crate::segment::Client;
use crate::trace::{Arrived, Said, TraceId};
use std::net::IpAddr;

/// Applies the trust policy to what arrived from a peer, behind which `nearest` may stand. Returns the Root of a caller
/// that may not name one.
pub(super) fn weigh(
    worker: &Worker,
    peer: &Peer,
    nearest: Option<IpAddr>,
    arrived: &mut Arrived,
    now: Moment,
) -> Option<TraceId> {
    match worker.shared.trust.weigh(peer.address, nearest, arrived.said, now) {
        Standing::Honoured => None,
        Standing::DecisionRefused => {
            worker.tally.trust_refused.add(1);
            arrived.said = Said::Nothing;
            None
        }
        Standing::TraceRefused => {
            worker.tally.trust_refused.add(u64::from(arrived.trace.is_some()));
            arrived.disown()
        }
    }
}

/// Who asked: the nearest address that is not one of ours, as far as the chain before us can be trusted to say it.
pub(super) fn client(worker: &Worker, peer: &Peer, mut chain: impl Iterator<Item = IpAddr>) -> Client {
    let trust = &worker.shared.trust;
    let mut client = Client { address: peer.address, forwarded: false };
    while trust.trusts(client.address) {
        let Some(address) = chain.next() else { break };
        client = Client { address, forwarded: true };
    }
    client
}
