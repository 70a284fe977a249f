//! Where the application's name leads.
//!
//! The system is asked on a thread of its own, which nobody can call back: an answer that is slow to come is waited for by
//! all who want it, and nobody asks a second time meanwhile.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use tokio::net::lookup_host;
use tokio::sync::watch;

type Found = Result<Rc<[SocketAddr]>, (io::ErrorKind, Rc<str>)>;

/// Looks up one name, once at a time.
#[derive(Debug)]
pub(super) struct Names {
    host: Rc<str>,
    port: u16,
    /// There while the system is being asked.
    asked: Rc<RefCell<Option<watch::Receiver<Option<Found>>>>>,
}

impl Names {
    pub(super) fn new(host: &str, port: u16) -> Names {
        Names { host: host.into(), port, asked: Rc::default() }
    }

    /// The addresses of the name, in the system's order.
    ///
    /// # Errors
    /// The system's; it may take long to find them.
    pub(super) async fn look_up(&self) -> io::Result<Rc<[SocketAddr]>> {
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return Ok([SocketAddr::new(address, self.port)].into());
        }
        let mut asked = self.ask();
        let found = asked.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
        match found {
            Some(Ok(addresses)) => Ok(addresses),
            Some(Err((kind, text))) => Err(io::Error::new(kind, text.to_string())),
            None => Err(io::ErrorKind::Interrupted.into()),
        }
    }

    /// Asks the system, unless it is being asked.
    fn ask(&self) -> watch::Receiver<Option<Found>> {
        // If whoever asked has failed, the system is asked again.
        if let Some(asked) = &*self.asked.borrow()
            && asked.has_changed().is_ok()
        {
            return asked.clone();
        }
        let (answer, asked) = watch::channel(None);
        *self.asked.borrow_mut() = Some(asked.clone());
        let (host, port, under_way) = (Rc::clone(&self.host), self.port, Rc::clone(&self.asked));
        tokio::task::spawn_local(async move {
            let found = lookup_host((&*host, port)).await;
            let found =
                found.map(Iterator::collect).map_err(|error| (error.kind(), error.to_string().into()));
            // Who comes from here on asks anew.
            under_way.take();
            answer.send_replace(Some(found));
        });
        asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_question_answers_all_who_ask_meanwhile_and_the_next_is_asked_anew() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let names = Names::new("localhost", 80);
            for _ in 0..2 {
                let (first, second) = (names.ask(), names.ask());
                assert!(first.same_channel(&second));
                let (one, other) = tokio::join!(names.look_up(), names.look_up());
                let (one, other) = (one.unwrap(), other.unwrap());
                assert!(Rc::ptr_eq(&one, &other) && one.iter().all(|found| found.ip().is_loopback()));
                assert!(names.asked.borrow().is_none());
            }
        });
    }

    #[test]
    fn a_question_whose_asker_has_failed_is_asked_anew() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let names = Names::new("localhost", 80);
            drop(names.asked.replace(Some(watch::channel(None).1)));
            assert!(names.look_up().await.is_ok());
        });
    }

    #[test]
    fn addresses_are_no_question_and_names_that_are_none_are_told() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            for address in ["127.0.0.1", "::1"] {
                let names = Names::new(address, 8080);
                let found = names.look_up().await.unwrap();
                assert_eq!(*found, [SocketAddr::new(address.parse().unwrap(), 8080)]);
            }
            assert!(Names::new("no such name", 80).look_up().await.is_err());
        });
    }
}
