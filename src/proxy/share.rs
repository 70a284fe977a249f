//! Shares connections out among several workers.
//!
//! Listeners of their own, side by side on one port, would spread connections by a hash of their addresses: of eight
//! connections, one worker of two often gets six. So one task accepts, and the worker with the fewest connections gets
//! the next. A lone worker accepts for itself.

use super::Stage;
use super::accept::{next, take_the_last};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{mpsc, watch};

/// Connections that may wait for one worker to take them; beyond that they wait in the kernel.
const MAX_WAITING: usize = 256;

/// A connection that has been accepted, and where it comes from.
pub(super) type Knock = (TcpStream, SocketAddr);

/// Where a worker's connections come from.
#[derive(Debug)]
pub enum Door {
    /// It accepts them itself.
    Listener(TcpListener),
    /// They are handed to it, and it says how many it has.
    Handed(mpsc::Receiver<Knock>, Arc<AtomicUsize>),
}

/// The other end of a [`Door::Handed`].
#[derive(Debug)]
pub struct Hand {
    sender: mpsc::Sender<Knock>,
    /// Connections that it has or that wait for it.
    load: Arc<AtomicUsize>,
}

/// A hand for each of so many doors.
pub fn doors(n: usize) -> (Vec<Hand>, Vec<Door>) {
    let pair = || {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let load = Arc::new(AtomicUsize::new(0));
        (Hand { sender, load: Arc::clone(&load) }, Door::Handed(receiver, load))
    };
    (0..n).map(|_| pair()).unzip()
}

/// Accepts until it is told to stop, then takes what the kernel has completed, and ends; the doors end with it.
pub async fn share_out(listener: TcpListener, hands: Vec<Hand>, mut stage: watch::Receiver<Stage>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    tokio::select! {
        () = accept(&listener, &hands) => {}
        _ = stage.wait_for(|stage| *stage >= Stage::Finishing) => {}
    }
    let Ok(listener) = listener.into_std() else { return };
    for knock in take_the_last(listener) {
        hand_over(knock, &hands).await;
    }
}

async fn accept(listener: &tokio::net::TcpListener, hands: &[Hand]) {
    loop {
        let (stream, address) = next(listener).await;
        if let Ok(stream) = stream.into_std() {
            hand_over((stream, address), hands).await;
        }
    }
}

async fn hand_over(mut knock: Knock, hands: &[Hand]) {
    // A worker that could not start has left its door closed.
    let open = || hands.iter().filter(|hand| !hand.sender.is_closed());
    while let Some(hand) = open().min_by_key(|hand| hand.load.load(Ordering::Relaxed)) {
        hand.load.fetch_add(1, Ordering::Relaxed);
        match hand.sender.send(knock).await {
            Ok(()) => return,
            Err(refused) => knock = refused.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn few_connections_are_spread_evenly_and_the_last_are_not_lost() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (hands, doors) = doors(3);
        let (stage, staged) = watch::channel(Stage::Serving);
        let sharing = tokio::spawn(share_out(listener, hands, staged));
        let mut workers: Vec<_> = doors
            .into_iter()
            .map(|door| match door {
                Door::Handed(knocks, load) => (knocks, load),
                Door::Listener(_) => unreachable!("three workers share"),
            })
            .collect();
        let clients: Vec<TcpStream> = (0..9).map(|_| TcpStream::connect(address).unwrap()).collect();
        for (knocks, load) in &mut workers {
            for _ in 0..3 {
                knocks.recv().await.unwrap();
            }
            assert_eq!(load.load(Ordering::Relaxed), 3);
        }
        // One worker has lost two of its connections: the next two are its.
        workers[1].1.fetch_sub(2, Ordering::Relaxed);
        let more: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(address).unwrap()).collect();
        stage.send(Stage::Finishing).unwrap();
        sharing.await.unwrap();
        assert!(workers[1].0.recv().await.is_some() && workers[1].0.recv().await.is_some());
        assert!(workers[1].0.recv().await.is_none(), "the door is closed");
        drop((clients, more));
    }

    #[tokio::test]
    async fn a_worker_that_has_not_started_is_passed_over() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (hands, mut doors) = doors(2);
        drop(doors.remove(0));
        let Door::Handed(mut knocks, load) = doors.remove(0) else { unreachable!("two workers share") };
        for n in 1..=3 {
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            hand_over(listener.accept().unwrap(), &hands).await;
            assert!(knocks.recv().await.is_some());
            assert_eq!(load.load(Ordering::Relaxed), n);
        }
    }
}
