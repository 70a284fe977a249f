//! Stops and starts under load: nobody is cut, nobody is closed without notice, and what was killed is soon back.

use std::io::ErrorKind;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::support::client::{Client, Request};
use crate::support::load::Load;
use crate::support::sidecar::Options;
use crate::support::upstream::Upstream;
use crate::support::world::{ALWAYS, World};
use crate::support::{PATIENCE, eventually, wait_until};

/// How one keep-alive client's connection ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Announced,
    Unannounced,
    Cut,
}

/// Asks now and then on one connection until that connection ends.
fn ask_until_the_end(mut client: Client, pause: Duration) -> Ended {
    loop {
        match client.try_send(&Request::get("/")) {
            Ok(response) if response.closes() => return Ended::Announced,
            Ok(response) if response.status == 200 => std::thread::sleep(pause),
            Ok(_) => return Ended::Cut,
            Err(error) if error.kind() == ErrorKind::InvalidData => return Ended::Cut,
            Err(_) => return Ended::Unannounced,
        }
    }
}

#[test]
fn a_stop_closes_no_keep_alive_connection_unannounced() {
    const DELAY: Duration = Duration::from_millis(1500);
    let mut world =
        World::start(|options| options.rules(ALWAYS).args(&["--drain-delay", "1500ms", "--workers", "2"]));
    let clients: Vec<Client> = (0..20).map(|_| world.sidecar.client()).collect();
    let mut idle = world.sidecar.client();
    assert!(!idle.send(&Request::get("/")).closes());
    let ended = Mutex::new(Vec::new());
    let before = world.upstream.n_seen();
    let idle_lived = std::thread::scope(|scope| {
        for client in clients {
            // They ask ten times in the drain delay, and are idle nearly all the time.
            scope.spawn(|| ended.lock().unwrap().push(ask_until_the_end(client, DELAY / 10)));
        }
        eventually("the load runs", || world.upstream.n_seen() >= before + 40);
        let terminated = Instant::now();
        world.sidecar.terminate();
        assert!(idle.ends_silently(), "the one that says nothing is closed in the end");
        terminated.elapsed()
    });
    let ended = ended.into_inner().unwrap();
    let of = |kind: Ended| ended.iter().filter(|ended| **ended == kind).count();
    assert_eq!((of(Ended::Announced), of(Ended::Unannounced), of(Ended::Cut)), (20, 0, 0));
    assert!(idle_lived >= DELAY, "an idle connection was closed after {idle_lived:?}");
    world.sidecar.wait().check(0);
    assert_eq!(world.sink.settle().len(), world.upstream.n_seen(), "everything recorded was sent");
}

/// An address that was free a moment ago, to be listened on more than once.
fn fixed_address() -> String {
    crate::support::vacant_address().to_string()
}

#[test]
fn after_a_kill_under_load_the_next_one_serves_at_once() {
    let upstream = Upstream::plain();
    let listen = fixed_address();
    let start = || {
        let ports = ["run", "--listen", &listen, "--admin", "127.0.0.1:0", "--metrics", "127.0.0.1:0"];
        Options::bare(&ports).rules(ALWAYS).upstream(upstream.address())
    };
    let first = start().start();
    let load = Load {
        address: first.listen,
        n_clients: 4,
        pause: Duration::from_millis(2),
        request: &|_, n| Request::get(&format!("/{n}")),
    };
    let (asked, (back, took)) = load.during(|answers| {
        eventually("the load runs", || answers.load(std::sync::atomic::Ordering::Relaxed) > 100);
        first.signal("KILL");
        let address = first.listen;
        drop(first);
        let started = Instant::now();
        let waiting = std::thread::spawn(move || {
            let answered = wait_until(PATIENCE, || {
                let sent = Client::try_connect(address)
                    .and_then(|mut client| client.try_send(&Request::get("/first")));
                sent.is_ok_and(|response| response.status == 200)
            });
            assert!(answered, "it never came back");
            started.elapsed()
        });
        let back = start().start();
        (back, waiting.join().unwrap())
    });
    // 100 ms are the promise of a release build; an unoptimized one on a busy machine may take longer to load.
    assert!(took < Duration::from_secs(1), "the first answer took {took:?}");
    let last = asked.iter().filter(|asked| asked.status == Some(200)).map(|asked| asked.started).max();
    assert!(last.is_some() && back.scrape().sum("collimator_requests_total", &[]) > 0.0);
    eprintln!("first answer {took:?} after the start that followed the kill");
}

#[test]
fn who_is_let_in_at_the_last_moment_is_answered() {
    const N_CLIENTS: usize = 8;
    for workers in ["1", "2"] {
        let mut world = World::start(|options| {
            options.rules(ALWAYS).args(&["--drain-delay", "1s", "--workers", workers])
        });
        assert_eq!(world.send(&Request::get("/")).status, 200);
        world.sidecar.terminate();
        world.sidecar.scrape_until("it drains", |scrape| scrape.sum("collimator_draining", &[]) == 1.0);
        // Its time stands still while they come; when it goes on, all is over at once.
        world.sidecar.signal("STOP");
        let mut clients: Vec<Client> = (0..N_CLIENTS).map(|_| world.sidecar.client()).collect();
        for client in &mut clients {
            client.say(&Request::get("/").header("Host", "a").to_bytes()).unwrap();
        }
        std::thread::sleep(Duration::from_millis(1100));
        world.sidecar.signal("CONT");
        for (n, mut client) in clients.into_iter().enumerate() {
            assert_eq!(client.read("GET").unwrap().status, 200, "client {n} of {workers} workers");
        }
        world.sidecar.wait().check(0);
    }
}
