//! Clients that ask again and again while something happens, and remember each answer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::RaiseOnPanic;
use super::client::{Client, Request};

/// One request and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) started: Instant,
    pub(crate) took: Duration,
    /// `None` when the answer was cut or never came.
    pub(crate) status: Option<u16>,
}

/// Load on one address.
pub(crate) struct Load<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) n_clients: usize,
    /// Between an answer and the client's next request.
    pub(crate) pause: Duration,
    /// The request of a client, by both numbers.
    pub(crate) request: &'a (dyn Fn(usize, usize) -> Request + Sync),
}

impl Load<'_> {
    /// Runs `during` beside the load; `during` is given a count of the answers so far.
    pub(crate) fn during<T>(&self, during: impl FnOnce(&AtomicUsize) -> T) -> (Vec<Asked>, T) {
        let (done, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            let _raise = RaiseOnPanic(&done);
            let (done, answers) = (&done, &answers);
            let clients: Vec<_> = (0..self.n_clients)
                .map(|client| scope.spawn(move || self.ask(client, done, answers)))
                .collect();
            let result = during(answers);
            done.store(true, Ordering::Relaxed);
            let asked = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
            (asked, result)
        })
    }

    fn ask(&self, number: usize, done: &AtomicBool, answers: &AtomicUsize) -> Vec<Asked> {
        let (mut asked, mut client) = (Vec::new(), None);
        while !done.load(Ordering::Relaxed) {
            let started = Instant::now();
            let connected = client.take().map_or_else(|| Client::try_connect(self.address), Ok);
            let status = connected.and_then(|mut connected| {
                let response = connected.try_send(&(self.request)(number, asked.len()))?;
                if !response.closes() {
                    client = Some(connected);
                }
                Ok(response.status)
            });
            asked.push(Asked { started, took: started.elapsed(), status: status.ok() });
            answers.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(self.pause);
        }
        asked
    }
}

/// Every request must have been answered with one of these.
#[track_caller]
pub(crate) fn check_answered(asked: &[Asked], statuses: &[u16]) {
    let wrong: Vec<&Asked> =
        asked.iter().filter(|asked| asked.status.is_none_or(|status| !statuses.contains(&status))).collect();
    assert!(
        !asked.is_empty() && wrong.is_empty(),
        "{} of {} wrong or lost: {wrong:?}",
        wrong.len(),
        asked.len()
    );
}
