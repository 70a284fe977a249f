//! Both trace headers read, decided upon and written again.

use crate::Measure;
use collimator::trace::{Arrived, Leaving, SegmentId};
use std::hint::black_box;

pub(crate) fn cases(measure: &mut impl Measure) {
    const ARRIVED: &[u8] =
        b"Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=a87bd80c:1";
    const LEFT: &[u8] =
        b"Root=1-5759e988-bd862e3fe1be46a994272793;Parent=00f067aa0ba902b7;Sampled=1;Lineage=a87bd80c:1";
    let mut out = Vec::with_capacity(256);
    measure.case("headers/xray_roundtrip", || {
        let arrived = Arrived::read([black_box(ARRIVED)].into_iter(), std::iter::empty());
        let trace = arrived.trace.expect("a trace");
        let parent = SegmentId::new(black_box(0x00f0_67aa_0ba9_02b7));
        let leaving = Leaving {
            trace,
            parent,
            sampled: true,
            extras: &arrived.extras,
            random: arrived.random,
            state: arrived.state,
        };
        out.clear();
        leaving.write_xray(&mut out);
        let traceparent = leaving.traceparent();
        assert_eq!(out, LEFT);
        assert_eq!(&traceparent, b"00-5759e988bd862e3fe1be46a994272793-00f067aa0ba902b7-01");
    });
}
