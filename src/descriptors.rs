//! File descriptors: takes as many as the system gives, and shares them out.
//!
//! A connection that is accepted when none are left for the application is a request refused. So some are set aside
//! before the first client comes, and clients beyond that are told that there are too many of them.
//!
//! ```text
//!   all ─┬─ own      listeners, runtimes, sinks
//!        ├─ side     those who look at admin and metrics
//!        ├─ refusals clients that are being told so
//!        ├─ upstream one for each client, up to a number that is enough for anybody
//!        └─ clients
//! ```

/// What the process itself needs, and each worker beside it.
const OWN: usize = 32;
const OWN_OF_WORKER: usize = 4;
/// The most connections of admin and metrics together.
const MOST_SIDE: usize = 128;
/// The most refusals under way in one worker.
const MOST_REFUSALS: usize = 64;
/// The most connections to the application that are provided for.
const MOST_UPSTREAM: usize = 4096;

/// How many of each there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Clients at one time, at least 1.
    pub clients: usize,
    /// Refusals at one time in each worker, at least 1.
    pub refusals: usize,
}

/// Raises the soft limit to the hard one, and shares out what that gives; as if there were no limit where the system
/// does not say.
pub fn claim(n_workers: usize) -> Share {
    let limit = match rlimit::getrlimit(rlimit::Resource::NOFILE) {
        Ok((soft, hard)) => match rlimit::setrlimit(rlimit::Resource::NOFILE, hard, hard) {
            Ok(()) => hard,
            Err(_) => soft,
        },
        Err(_) => u64::MAX,
    };
    share_out(usize::try_from(limit).unwrap_or(usize::MAX), n_workers)
}

fn share_out(limit: usize, n_workers: usize) -> Share {
    let refusals = (limit / 16 / n_workers.max(1)).clamp(1, MOST_REFUSALS);
    let side = (limit / 8).min(MOST_SIDE);
    let rest = limit.saturating_sub(OWN + side + n_workers * (OWN_OF_WORKER + refusals));
    let clients = rest - (rest / 2).min(MOST_UPSTREAM);
    Share { clients: clients.max(1), refusals }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(limit: usize, n_workers: usize, clients: usize, refusals: usize) {
        assert_eq!(share_out(limit, n_workers), Share { clients, refusals }, "{limit} for {n_workers}");
    }

    #[test]
    fn every_client_has_one_for_the_application_while_there_are_few() {
        check(128, 1, 34, 8);
        check(1024, 2, 396, 32);
        check(20_000, 2, 15_608, 64);
        check(1 << 20, 64, 1_039_968, 64);
    }

    #[test]
    fn no_limit_is_too_small_to_start_with() {
        check(0, 1, 1, 1);
        check(33, 4, 1, 1);
        assert!(share_out(usize::MAX, 1).clients > 1 << 40);
    }
}
