//! One document a line on stdout.
//!
//! A reader that does not read must hold up nothing else, so the writing is done on a blocking thread and the lane
//! waits for it; meanwhile its queue fills, and what does not fit is dropped and counted.

use super::counts::Complaints;
use super::{DropReason, Intake};
use std::io::Write;
use std::sync::Arc;

pub(super) async fn run(mut intake: Intake) {
    let mut batch = Vec::new();
    let counts = Arc::clone(&intake.counts);
    let mut complaints = Complaints::default();
    while intake.next(&mut batch).await {
        let mut lines = Vec::with_capacity(batch.len() * 1024);
        let mut lengths = Vec::with_capacity(batch.len());
        for segment in &batch {
            let start = lines.len();
            segment.write_json(&mut lines);
            lengths.push(lines.len() - start);
            lines.push(b'\n');
        }
        let written = tokio::task::spawn_blocking(move || {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(&lines).and_then(|()| stdout.flush())
        });
        match written.await {
            Ok(Ok(())) => lengths.into_iter().for_each(|length| counts.emitted(length)),
            _ => counts.dropped(DropReason::Error, lengths.len() as u64),
        }
        complaints.look(&counts, "stdout");
    }
}
