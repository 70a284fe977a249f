//! Clients and applications that are slow: each costs itself time and nobody else anything.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::support::client::Request;
use crate::support::load::{Load, check_answered};
use crate::support::sidecar::Options;
use crate::support::upstream::{Answer, Upstream};
use crate::support::world::{NEVER, World};
use crate::support::{PATIENCE, eventually, narrow};

fn load(world: &World) -> Load<'_> {
    Load {
        address: world.sidecar.listen,
        n_clients: 2,
        pause: Duration::from_millis(5),
        request: &|_, n| Request::get(&format!("/{n}")),
    }
}

#[test]
fn two_hundred_slow_senders_are_cut_after_ten_seconds_and_trouble_nobody() {
    let world = World::ruled(NEVER);
    let (asked, (first, last)) = load(&world).during(|_| {
        let start = Instant::now();
        let mut slow: Vec<TcpStream> =
            (0..200).map(|_| TcpStream::connect(world.sidecar.listen).unwrap()).collect();
        for stream in &mut slow {
            stream.set_nonblocking(true).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: slow\r\n").unwrap();
        }
        // A header line now and then, which is what makes them hard to tell from honest clients.
        let (mut ends, mut said) = (Vec::new(), Instant::now());
        eventually("all are cut", || {
            let speak = said.elapsed() > Duration::from_secs(1);
            said = if speak { Instant::now() } else { said };
            slow.retain_mut(|stream| {
                let goes_on = !speak || stream.write_all(b"X-Slow: 1\r\n").is_ok();
                let ended = !matches!(stream.read(&mut [0; 1024]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
                if ended || !goes_on {
                    ends.push(start.elapsed());
                }
                goes_on && !ended
            });
            slow.is_empty()
        });
        (ends[0], ends[ends.len() - 1])
    });
    check_answered(&asked, &[200]);
    assert!(first >= Duration::from_secs(9), "the first was cut after {first:?}");
    assert!(last < Duration::from_secs(14), "the last was cut after {last:?}");
    let slowest = asked.iter().map(|asked| asked.took).max().unwrap();
    eprintln!("cut after {first:?} to {last:?}; beside it {} requests, the slowest {slowest:?}", asked.len());
}

#[test]
fn an_answer_that_nobody_takes_stays_with_the_application() {
    const SIZE: usize = 48 << 20;
    let upstream = Upstream::start(|seen| match seen.target().as_str() {
        "/large" => Answer::with(200, &[], vec![b'x'; SIZE]),
        _ => Answer::ok(),
    });
    let world = World::with(upstream, |options| options.rules(NEVER));
    let before = world.sidecar.process().memory();
    let mut client = world.sidecar.client();
    client.say(&Request::get("/large").to_bytes()).unwrap();
    let (asked, most) = load(&world).during(|answers| {
        let mut most = 0;
        eventually("the load ran", || {
            most = most.max(world.sidecar.process().memory());
            answers.load(Ordering::Relaxed) > 300
        });
        most
    });
    check_answered(&asked, &[200]);
    assert!(most < before + (4 << 20), "from {} to {} KiB", before / 1024, most / 1024);
    let answer = client.read("GET").unwrap();
    assert_eq!(answer.body.len(), SIZE, "whoever takes it late still gets it whole");
}

#[test]
fn a_body_that_the_application_does_not_take_stays_with_the_client() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let options =
        Options::run().rules(NEVER).upstream(listener.local_addr().unwrap()).args(&["--sink", "none"]);
    let sidecar = options.start();
    let before = sidecar.process().memory();
    let mut stream = TcpStream::connect(sidecar.listen).unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 1000000000\r\n\r\n").unwrap();
    let (_held, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    let (chunk, mut sent, mut quiet_since) = (vec![b'x'; 1 << 20], 0, Instant::now());
    let deadline = Instant::now() + PATIENCE;
    // It takes what fits into socket buffers, and then no more.
    while quiet_since.elapsed() < Duration::from_millis(500) {
        assert!(Instant::now() < deadline && sent < 100 << 20, "{sent} bytes were taken");
        match stream.write(&chunk) {
            Ok(n) => (sent, quiet_since) = (sent + n, Instant::now()),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    let after = sidecar.process().memory();
    assert!(after < before + (4 << 20), "from {} to {} KiB", before / 1024, after / 1024);
}

#[test]
#[ignore = "waits for more than half a minute; `.ci/run` asks for it"]
fn who_takes_an_answer_slowly_but_steadily_gets_all_of_it() {
    const LENGTH: usize = 12 << 20;
    let world = World::scripted(|_| Answer::with(200, &[], vec![b'x'; LENGTH]));
    let mut stream = narrow(world.sidecar.listen);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&Request::get("/").header("Connection", "close").to_bytes()).unwrap();
    let (start, mut taken, mut bytes) = (Instant::now(), 0, [0; 4000]);
    while start.elapsed() < Duration::from_secs(45) {
        taken += stream.read(&mut bytes).unwrap();
        std::thread::sleep(Duration::from_millis(200));
    }
    let slowly = taken;
    taken += std::io::copy(&mut stream, &mut std::io::sink()).unwrap() as usize;
    assert!(taken > LENGTH, "{taken} of {LENGTH} and a head, {slowly} of them slowly");
}
