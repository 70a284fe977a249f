//! When descriptors or memory run out: refusals that say so, no exit, no spinning, and service again at once.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::client::{Client, Request};
use crate::support::load::{Load, check_answered};
use crate::support::process::{Process, own_descriptor_limit};
use crate::support::sidecar::{Options, Sidecar};
use crate::support::upstream::Upstream;
use crate::support::world::NEVER;
use crate::support::{PATIENCE, RaiseOnPanic, by_hand, eventually, read_head, wait_until};

/// A sidecar in a shell that first sets this limit of descriptors, soft and hard.
fn limited(limit: usize, upstream: &Upstream) -> Sidecar {
    let options = Options::run().rules(NEVER).upstream(upstream.address()).args(&["--sink", "none"]);
    options.through(&format!("ulimit -n {limit} && exec \"$0\" \"$@\"")).start()
}

#[test]
fn five_hundred_clients_on_128_descriptors_are_served_or_told() {
    let upstream = Upstream::plain();
    let mut sidecar = limited(128, &upstream);
    let mut clients: Vec<Client> = (0..500).map(|_| sidecar.client()).collect();
    for client in &mut clients {
        drop(client.say(&Request::get("/").to_bytes()));
    }
    let answers: Vec<_> = clients.iter_mut().map(|client| client.read("GET").ok()).collect();
    let with = |status| answers.iter().flatten().filter(|answer| answer.status == status).count();
    let (served, told) = (with(200), with(503));
    assert_eq!(answers.iter().flatten().count(), served + told, "nobody who was let in got anything else");
    assert!(served >= 30, "{served} were served at once");
    assert_eq!(served + told, 500, "whoever was not let in was told");
    for answer in answers.iter().flatten().filter(|answer| answer.status == 503) {
        assert_eq!(answer.header("collimator-error").as_deref(), Some("overloaded"));
        assert!(answer.header("retry-after").is_some() && answer.closes());
    }

    // Those inside go on, all of them at once, while the others knock in vain.
    let before = sidecar.process().processor_time();
    let start = Instant::now();
    for (client, _) in clients
        .iter_mut()
        .zip(&answers)
        .filter(|(_, answer)| answer.as_ref().is_some_and(|a| a.status == 200))
    {
        client.say(&Request::get("/again").to_bytes()).unwrap();
    }
    for (client, _) in clients
        .iter_mut()
        .zip(&answers)
        .filter(|(_, answer)| answer.as_ref().is_some_and(|a| a.status == 200))
    {
        assert_eq!(client.read("GET").unwrap().status, 200);
    }
    eventually("a second has passed", || start.elapsed() > Duration::from_secs(1));
    let spent = sidecar.process().processor_time() - before;
    assert!(spent < start.elapsed() / 5, "{spent:?} of processor time in {:?}", start.elapsed());
    let descriptors = sidecar.process().n_descriptors();

    drop(clients);
    let start = Instant::now();
    eventually("there is room again", || {
        Client::try_connect(sidecar.listen)
            .and_then(|mut client| client.try_send(&Request::get("/")))
            .is_ok_and(|a| a.status == 200)
    });
    let recovered = start.elapsed();
    assert!(recovered < Duration::from_secs(1), "it took {recovered:?}");
    let refused = sidecar.scrape().sum("collimator_connections_refused_total", &[("reason", "overloaded")]);
    assert!(refused >= (500 - served) as f64, "{refused} refusals were counted");
    sidecar.stop().check(0);
    eprintln!(
        "{served} served, {told} told 503, {} closed; {spent:?} of processor time in a second, {descriptors} descriptors, recovered in {recovered:?}",
        500 - served - told
    );
}

#[test]
fn without_any_descriptor_left_open_connections_go_on_and_the_processor_rests() {
    let upstream = Upstream::plain();
    let mut sidecar = limited(64, &upstream);
    let mut inside = sidecar.client();
    assert_eq!(inside.send(&Request::get("/")).status, 200);
    // The side doors have limits of their own, which together are more than there is.
    let crowd: Vec<TcpStream> = [sidecar.admin, sidecar.metrics]
        .into_iter()
        .flat_map(|address| (0..50).map(move |_| TcpStream::connect(address).unwrap()))
        .collect();
    let process = sidecar.process();
    eventually("there is none left", || {
        drop(inside.send(&Request::get("/")));
        process.n_descriptors() >= 63
    });
    let outside: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(sidecar.listen).unwrap()).collect();
    let (before, start) = (process.processor_time(), Instant::now());
    let mut n_answers = 0;
    while start.elapsed() < Duration::from_millis(1500) {
        assert_eq!(inside.send(&Request::get("/")).status, 200);
        n_answers += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
    let (spent, took) = (process.processor_time() - before, start.elapsed());
    assert!(n_answers > 5 && spent < took / 5, "{spent:?} of processor time in {took:?}");
    drop((crowd, outside));
    let start = Instant::now();
    eventually("others are let in again", || {
        Client::try_connect(sidecar.listen)
            .and_then(|mut client| client.try_send(&Request::get("/")))
            .is_ok_and(|a| a.status == 200)
    });
    let recovered = start.elapsed();
    assert!(recovered < Duration::from_secs(1), "it took {recovered:?}");
    sidecar.stop().check(0);
    eprintln!("{spent:?} of processor time in {took:?} without a descriptor; recovered in {recovered:?}");
}

/// The shell's part of a memory cgroup of 64 MiB, where this system lets us make one; else nothing is added.
const CAPPED: &str = "cg=/sys/fs/cgroup/memory/collimator-test-$$; \
    if mkdir $cg 2>/dev/null && echo 67108864 > $cg/memory.limit_in_bytes && echo $$ > $cg/cgroup.procs; \
    then echo $cg > cgroup; fi; exec \"$0\" \"$@\"";

/// Removes the group once its process is gone, however the test ends.
struct RemoveGroup(Option<String>);

impl Drop for RemoveGroup {
    fn drop(&mut self) {
        if let Some(group) = &self.0 {
            wait_until(Duration::from_secs(2), || std::fs::remove_dir(group.trim()).is_ok());
        }
    }
}

/// The highest memory of a process while something happens.
fn peak<T>(process: Process, during: impl FnOnce() -> T) -> (u64, T) {
    let (done, most) = (AtomicBool::new(false), AtomicU64::new(0));
    let result = std::thread::scope(|scope| {
        let _raise = RaiseOnPanic(&done);
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                most.fetch_max(process.memory(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let result = during();
        done.store(true, Ordering::Relaxed);
        result
    });
    (most.into_inner(), result)
}

/// A head of nearly 64 KiB, its end included or not.
fn large_head(ended: bool) -> Vec<u8> {
    let mut head = b"GET /large HTTP/1.1\r\nHost: app\r\n".to_vec();
    for n in 0..62 {
        head.extend_from_slice(format!("X-Filler-{n}: {}\r\n", "f".repeat(1024)).as_bytes());
    }
    if ended {
        head.extend_from_slice(b"\r\n");
    }
    head
}

/// What a client gets within the time, without waiting for the end.
fn first_line(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = [0; 1024];
    stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let n = stream.read(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes[..n]).lines().next().unwrap_or_default().to_owned())
}

/// Opens a thousand connections, says this on each, and keeps them.
fn a_thousand(address: SocketAddr, said: &[u8]) -> Vec<TcpStream> {
    (0..1000)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
            drop(stream.write_all(said));
            stream
        })
        .collect()
}

/// How a large head comes.
#[derive(Clone, Copy, PartialEq)]
enum Large {
    Endless,
    Whole,
    /// Endless, behind a request that is whole.
    Behind,
}

/// A thousand clients with heads of 64 KiB, and ordinary ones beside them: none of these may fail.
#[track_caller]
fn check_large_heads(large: Large) {
    let ended = large == Large::Whole;
    let mut said = large_head(ended);
    if large == Large::Behind {
        said.splice(..0, *b"GET /before HTTP/1.1\r\nHost: app\r\n\r\n");
    }
    const MOST: u64 = 60 << 20;
    let upstream = Upstream::plain();
    let options = Options::run().rules(NEVER).upstream(upstream.address()).args(&["--sink", "none"]);
    // Declared before the sidecar, and so dropped after it.
    let mut group = RemoveGroup(None);
    let mut sidecar = options.through(CAPPED).start();
    group.0 = std::fs::read_to_string(sidecar.path("cgroup")).ok();
    let capped = group.0.is_some();
    let load = Load {
        address: sidecar.listen,
        n_clients: 2,
        pause: Duration::from_millis(5),
        request: &|_, n| Request::get(&format!("/{n}")),
    };
    let (asked, (most, (served, told))) = load.during(|answers| {
        peak(sidecar.process(), || {
            let mut streams = a_thousand(sidecar.listen, &said);
            let seen = answers.load(Ordering::Relaxed);
            eventually("ordinary requests go on", || answers.load(Ordering::Relaxed) > seen + 100);
            let lines: Vec<String> = streams.iter_mut().filter_map(first_line).collect();
            let with = |status: &str| {
                lines.iter().filter(|line| line.starts_with(&format!("HTTP/1.1 {status}"))).count()
            };
            assert_eq!(
                with("200") + with("503"),
                lines.iter().filter(|line| !line.is_empty()).count(),
                "{lines:?}"
            );
            (with("200"), with("503"))
        })
    });
    check_answered(&asked, &[200]);
    assert!(most < MOST, "{} KiB at the most", most / 1024);
    assert!(told > 0 || large != Large::Endless, "nobody was refused: the limit was not reached");
    assert!(!ended || served > 100, "{served} served");
    let refused = sidecar.scrape().sum("collimator_connections_refused_total", &[("reason", "head_bytes")]);
    assert!(refused >= told as f64, "{refused} refusals were counted");
    assert!(refused > 0.0 || large != Large::Behind, "the limit was not reached");
    // They are gone, and with them what they took.
    eventually("there is room for a large head again", || {
        let mut stream = TcpStream::connect(sidecar.listen).unwrap();
        stream.write_all(&large_head(true)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let mut bytes = [0; 12];
        stream.read_exact(&mut bytes).is_ok() && &bytes == b"HTTP/1.1 200"
    });
    sidecar.stop().check(0);
    eprintln!(
        "at most {} KiB (cgroup of 64 MiB: {capped}); {served} served, {refused} refused; {} ordinary requests, 0 lost",
        most / 1024,
        asked.len()
    );
}

#[test]
fn a_thousand_heads_of_64_kib_that_never_end_take_a_bounded_part_of_memory() {
    check_large_heads(Large::Endless);
}

#[test]
fn a_thousand_requests_with_heads_of_64_kib_take_a_bounded_part_of_memory() {
    check_large_heads(Large::Whole);
}

#[test]
fn a_thousand_heads_of_64_kib_behind_a_request_take_a_bounded_part_of_memory() {
    check_large_heads(Large::Behind);
}

#[test]
fn ten_thousand_idle_connections_are_held_and_served() {
    const IDLE: usize = 10_000;
    if own_descriptor_limit() < IDLE + 500 {
        eprintln!("this shell allows {} open files; nothing was tested", own_descriptor_limit());
        return;
    }
    let upstream = Upstream::plain();
    let options = Options::run().rules(NEVER).upstream(upstream.address());
    let sidecar = options.args(&["--sink", "none", "--max-connections", "11000"]).start();
    for _ in 0..100 {
        assert_eq!(sidecar.send(&Request::get("/")).status, 200);
    }
    let before = sidecar.process().memory();
    let mut idle: Vec<Client> = (0..IDLE)
        .map(|_| {
            let mut client = sidecar.client();
            assert_eq!(client.send(&Request::get("/")).status, 200);
            client
        })
        .collect();
    let each = (sidecar.process().memory() - before) / IDLE as u64;
    let connections = sidecar.scrape().sum("collimator_connections", &[]);
    assert_eq!(connections, IDLE as f64);
    let start = Instant::now();
    assert_eq!(sidecar.send(&Request::get("/another")).status, 200);
    let another = start.elapsed();
    for client in idle.iter_mut().step_by(100) {
        assert_eq!(client.send(&Request::get("/still-there")).status, 200);
    }
    // 12 KiB are the aim of a release build; an unoptimized one has larger futures.
    assert!(each < 24 * 1024, "{each} bytes for each idle connection");
    eprintln!(
        "{each} bytes for each of {IDLE} idle connections; another request beside them took {another:?}"
    );
}

#[test]
fn what_goes_through_tunnels_is_no_head_and_takes_no_room_from_heads() {
    // More than there is room for heads of the largest size.
    const TUNNELS: usize = 130;
    const BYTES: usize = 100_000;
    let app = by_hand(|head, mut stream| {
        if !head.to_lowercase().contains("\nupgrade:") {
            return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        }
        stream.write_all(b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n").unwrap();
        stream.read_exact(&mut vec![0; BYTES]).unwrap();
        stream.write_all(b"whole").unwrap();
        // The tunnel stays open for as long as the client wants.
        let _ = stream.read(&mut [0]);
    });
    let sidecar = Options::run().rules(NEVER).upstream(app).args(&["--sink", "none"]).start();
    let mut tunnels: Vec<TcpStream> = (0..TUNNELS)
        .map(|_| {
            let mut client = TcpStream::connect(sidecar.listen).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            let head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
            client.write_all(head.as_bytes()).unwrap();
            client
        })
        .collect();
    for client in &mut tunnels {
        read_head(client);
        client.write_all(&vec![7; BYTES]).unwrap();
        let mut answer = [0; 5];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"whole");
    }
    let heavy = "v".repeat(60_000);
    assert_eq!(sidecar.client().send(&Request::get("/").header("X-Heavy", &heavy)).status, 200);
    assert_eq!(sidecar.scrape().sum("collimator_connections_refused_total", &[]), 0.0);
}
