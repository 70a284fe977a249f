//! TLS with clients and with the application: files that change, clients that are refused, and garbage.

mod crowd;
mod volume;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_rustls::TlsConnector;

use crate::support::certificates::{Authority, PKCS_ECDSA_P256_SHA256, Pair, replace};
use crate::support::client::Request;
use crate::support::scrape::Scrape;
use crate::support::secure::{SecureClient, SecureUpstream, block_on, trusting};
use crate::support::sidecar::{Options, Sidecar, log_field, log_lines};
use crate::support::upstream::Upstream;
use crate::support::world::{ALWAYS, NEVER, World};
use crate::support::{PATIENCE, RaiseOnPanic};

const PAIR: [&str; 4] = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];
/// A change is live within two seconds; the rest is the machine's.
const SOON: Duration = Duration::from_secs(8);

/// A pair for `localhost` that ends with this year.
fn pair_until(authority: &Authority, year: i32) -> Pair {
    authority.issue_with(&["localhost"], &PKCS_ECDSA_P256_SHA256, |params| {
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
    })
}

/// Seconds from 1970 to the first of January of a year after 2024 and before 2100.
fn new_year(year: i32) -> f64 {
    let years = f64::from(year - 1970);
    (years * 365.0 + f64::from((year - 1969) / 4)) * 86_400.0
}

/// A world whose sidecar speaks TLS by this pair.
#[track_caller]
fn world(authority: &Authority, pair: &Pair, more: &[&str]) -> World {
    world_before(Upstream::plain(), authority, pair, more)
}

/// The same before this application.
#[track_caller]
fn world_before(upstream: Upstream, authority: &Authority, pair: &Pair, more: &[&str]) -> World {
    World::with(upstream, |options| {
        pair.write(options.directory());
        replace(options.directory(), "ca.pem", authority.pem());
        options.rules(ALWAYS).args(&PAIR).args(more)
    })
}

fn expiry(scrape: &Scrape) -> Option<f64> {
    scrape.value("collimator_tls_certificate_expiry_timestamp_seconds", &[("side", "inbound")])
}

fn reloads(scrape: &Scrape, result: &str) -> f64 {
    scrape.sum("collimator_tls_reload_total", &[("result", result)])
}

fn handshakes(scrape: &Scrape, side: &str, result: &str) -> f64 {
    scrape.sum("collimator_tls_handshakes_total", &[("side", side), ("result", result)])
}

#[track_caller]
fn check_in_force_soon(world: &World, year: i32) {
    let start = Instant::now();
    world
        .sidecar
        .scrape_until("the new certificate is in force", |scrape| expiry(scrape) == Some(new_year(year)));
    assert!(start.elapsed() < SOON, "it took {:?}", start.elapsed());
}

#[test]
fn a_broken_pair_stops_the_start_and_says_why() {
    let (one, other) = (Pair::self_signed(&["localhost"]), Pair::self_signed(&["localhost"]));
    let options = Options::run().file("cert.pem", &one.cert).file("key.pem", &other.key).args(&PAIR);
    let exit = options.args(&["--upstream", "http://127.0.0.1:1"]).output();
    exit.check(2);
    assert!(
        exit.stderr.starts_with(
            "error[S011] key.pem: this is not the private key of the certificate `CN=localhost` in `cert.pem`"
        ),
        "{}",
        exit.stderr
    );
}

#[test]
fn check_reads_certificates_and_keys() {
    let authority = Authority::new("Root");
    let settings = "upstream: http://127.0.0.1:8080\ntls: { cert: cert.pem, key: key.pem }\n";
    let check = |pair: &Pair, key: &str| {
        let options =
            Options::bare(&["check", "--config", "collimator.yaml"]).file("collimator.yaml", settings);
        replace(options.directory(), "cert.pem", &pair.cert);
        replace(options.directory(), "key.pem", key);
        options.output()
    };
    let pair = pair_until(&authority, 2021);
    let exit = check(&pair, &pair.key);
    exit.check(0);
    assert!(
        exit.stdout.contains(
            "\n\nwarning[S104] cert.pem: the certificate `CN=localhost` has expired at 2021-01-01T00:00:00Z\n"
        ) && exit.stdout.ends_with("1 warning · 3 files, 0 rules · loadable\n"),
        "{}",
        exit.stdout
    );
    let exit = check(&pair, &pair.key[..100]);
    exit.check(1);
    assert!(exit.stdout.starts_with("error[S010] key.pem: its last section has no end\n"), "{}", exit.stdout);
}

#[test]
fn a_key_open_to_others_is_warned_of_at_each_start() {
    let pair = Pair::self_signed(&["localhost"]);
    // Written as any file is: others may read it.
    let options = Options::run().file("cert.pem", &pair.cert).file("key.pem", &pair.key).args(&PAIR);
    let upstream = Upstream::plain();
    let mut sidecar = options.upstream(upstream.address()).start();
    let exit = sidecar.stop();
    exit.check(0);
    let warned = log_lines(&exit.stderr).iter().any(|line| {
        log_field(line, "message")
            .and_then(Value::as_str)
            .is_some_and(|message| message.contains("mode is 0644"))
    });
    assert!(warned, "{}", exit.stderr);
}

#[test]
fn status_and_config_show_certificates_and_never_keys() {
    let authority = Authority::new("Root");
    let pair = pair_until(&authority, 2041);
    let world = world(&authority, &pair, &[]);
    let secret = pair.key.lines().nth(1).unwrap();
    for (path, inbound) in [("/status", "/tls/inbound"), ("/config", "/tls/inbound")] {
        let answer = world.sidecar.admin("GET", path);
        let json = answer.json();
        let certificate = json.pointer(inbound).unwrap()["certificates"][0].clone();
        assert_eq!(certificate["subject"], "CN=localhost");
        assert_eq!(certificate["names"], serde_json::json!(["localhost"]));
        assert_eq!(certificate["not_after"], "2041-01-01T00:00:00Z");
        assert_eq!(json["tls"]["upstream"], Value::Null);
        assert!(!answer.text().contains(secret) && !answer.text().contains("PRIVATE"), "{}", answer.text());
    }
    let scrape = world.scrape();
    assert_eq!(expiry(&scrape), Some(new_year(2041)));
    assert_eq!((reloads(&scrape, "success"), reloads(&scrape, "failure")), (0.0, 0.0));
}

#[test]
fn a_new_pair_is_in_force_soon_and_a_broken_one_never() {
    let authority = Authority::new("Root");
    let mut world = world(&authority, &pair_until(&authority, 2041), &[]);
    let second = pair_until(&authority, 2042);
    second.write(world.sidecar.directory());
    check_in_force_soon(&world, 2042);

    replace(world.sidecar.directory(), "key.pem", &second.key[..second.key.len() / 2]);
    let scrape =
        world.sidecar.scrape_until("the broken key is seen", |scrape| reloads(scrape, "failure") > 0.0);
    assert_eq!(scrape.value("collimator_tls_last_reload_success", &[]), Some(0.0));
    assert_eq!(expiry(&scrape), Some(new_year(2042)));
    let answer = world.sidecar.admin("POST", "/reload");
    assert!(
        answer.status >= 400 && answer.text().contains("key.pem"),
        "{}: {}",
        answer.status,
        answer.text()
    );
    let error = world.sidecar.admin("GET", "/status").json()["tls"]["inbound"]["last_error"].clone();
    assert!(error.as_str().unwrap().starts_with("key.pem: "), "{error}");

    pair_until(&authority, 2043).write(world.sidecar.directory());
    check_in_force_soon(&world, 2043);
    assert_eq!(world.scrape().value("collimator_tls_last_reload_success", &[]), Some(1.0));
    let exit = world.sidecar.stop();
    let told = log_lines(&exit.stderr);
    let problem = told.iter().find_map(|line| log_field(line, "problem")).and_then(Value::as_str);
    assert!(problem.is_some_and(|problem| problem.starts_with("key.pem: ")), "{}", exit.stderr);
    assert!(!exit.stderr.contains(second.key.lines().nth(1).unwrap()));
}

#[test]
fn a_hangup_and_a_post_reload_certificates_at_once() {
    let authority = Authority::new("Root");
    let world = world(&authority, &pair_until(&authority, 2041), &[]);
    pair_until(&authority, 2042).write(world.sidecar.directory());
    let answer = world.sidecar.admin("POST", "/reload");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("tls: "), "{}", answer.text());
    assert_eq!(expiry(&world.scrape()), Some(new_year(2042)));
    let before = reloads(&world.scrape(), "success");
    world.sidecar.signal("HUP");
    world.sidecar.scrape_until("the reload is counted", |scrape| reloads(scrape, "success") > before);
}

#[test]
fn http_1_1_is_served_over_tls_and_the_application_is_told() {
    let authority = Authority::new("Root");
    let world = world(&authority, &authority.issue(&["localhost"]), &[]);
    for protocols in [&["http/1.1"][..], &[]] {
        let config = trusting(&authority.pem(), None, protocols);
        let answer = SecureClient::once(world.sidecar.listen, &config, &Request::get("/a")).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(world.upstream.last().header("x-forwarded-proto").as_deref(), Some("https"));
    }
    let document = world.sink.wait_for(1).remove(0);
    assert_eq!(document["http"]["request"]["url"], "https://app.test/a");
    world.sidecar.scrape_until("handshakes are counted", |scrape| handshakes(scrape, "inbound", "ok") == 2.0);
}

#[test]
fn http_2_is_served_over_tls_to_those_who_offer_it() {
    let authority = Authority::new("Root");
    let world = world(&authority, &authority.issue(&["localhost"]), &[]);
    let config = trusting(&authority.pem(), None, &["h2", "http/1.1"]);
    block_on(async {
        let stream = tokio::net::TcpStream::connect(world.sidecar.listen).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(config).connect(name, stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get("https://app.test/").body(()).unwrap();
        let (answer, _) = sender.ready().await.unwrap().send_request(request, true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 200);
    });
    assert_eq!(world.upstream.last().header("x-forwarded-proto").as_deref(), Some("https"));
}

#[test]
fn who_finds_no_room_is_told_so_after_the_handshake() {
    let authority = Authority::new("Root");
    let world = world(&authority, &authority.issue(&["localhost"]), &["--max-connections", "1"]);
    let _inside = TcpStream::connect(world.sidecar.listen).unwrap();
    world.sidecar.scrape_until("one is inside", |scrape| scrape.sum("collimator_connections", &[]) == 1.0);
    let config = trusting(&authority.pem(), None, &["http/1.1"]);
    let answer = SecureClient::once(world.sidecar.listen, &config, &Request::get("/a")).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1"), "{answer}");
    assert!(answer.contains("collimator-error: overloaded"), "{answer}");
    let config = trusting(&authority.pem(), None, &["h2"]);
    block_on(async {
        let stream = tokio::net::TcpStream::connect(world.sidecar.listen).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(config).connect(name, stream).await.unwrap();
        let (_sender, connection) = h2::client::handshake(stream).await.unwrap();
        let error = connection.await.unwrap_err();
        assert!(error.is_go_away() && error.is_remote(), "{error}");
        assert_eq!(error.reason(), Some(h2::Reason::ENHANCE_YOUR_CALM));
    });
    assert_eq!(world.upstream.n_seen(), 0);
}

#[test]
fn plain_http_on_a_port_of_tls_is_refused() {
    let authority = Authority::new("Root");
    let world = world(&authority, &authority.issue(&["localhost"]), &[]);
    let mut stream = TcpStream::connect(world.sidecar.listen).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&Request::get("/").to_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains("200"), "{answer:?}");
    assert_eq!(world.upstream.n_seen(), 0);
    world.sidecar.scrape_until("it is counted", |scrape| handshakes(scrape, "inbound", "failed") == 1.0);
}

#[test]
fn clients_without_a_good_certificate_are_not_served_where_one_is_asked_for() {
    let authority = Authority::new("Root");
    let world = world(&authority, &authority.issue(&["localhost"]), &["--tls-client-ca", "ca.pem"]);
    let get = |shown: Option<&Pair>| {
        let config = trusting(&authority.pem(), shown, &["http/1.1"]);
        SecureClient::once(world.sidecar.listen, &config, &Request::get("/"))
    };
    assert!(get(None).is_err());
    assert!(get(Some(&Authority::new("Stranger").issue(&["client"]))).is_err());
    assert_eq!(world.upstream.n_seen(), 0);
    let answer = get(Some(&authority.issue(&["client"]))).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let scrape = world.scrape();
    assert_eq!((handshakes(&scrape, "inbound", "failed"), handshakes(&scrape, "inbound", "ok")), (2.0, 1.0));
}

#[test]
fn a_certificate_replaced_under_load_fails_no_handshake_and_no_request() {
    let authority = Authority::new("Root");
    let world = world(&authority, &pair_until(&authority, 2041), &[]);
    let (second, third) = (pair_until(&authority, 2042), pair_until(&authority, 2043));
    let done = AtomicBool::new(false);
    let (done, world, root) = (&done, &world, authority.pem());
    let config = &trusting(&root, None, &["http/1.1"]);
    let totals = std::thread::scope(|scope| {
        let fresh = scope.spawn(move || {
            let mut n = 0;
            while !done.load(Ordering::Relaxed) {
                let answer = SecureClient::once(world.sidecar.listen, config, &Request::get("/"));
                assert!(answer.unwrap().starts_with("HTTP/1.1 200 "));
                n += 1;
            }
            n
        });
        let kept = scope.spawn(move || {
            let mut client = SecureClient::connect(world.sidecar.listen, config).unwrap();
            let mut n = 0;
            while !done.load(Ordering::Relaxed) {
                assert!(client.send(&Request::get("/")).unwrap().starts_with("HTTP/1.1 200 "));
                n += 1;
            }
            n
        });
        let _raise = RaiseOnPanic(done);
        second.write(world.sidecar.directory());
        check_in_force_soon(world, 2042);
        let before = reloads(&world.scrape(), "failure");
        replace(world.sidecar.directory(), "key.pem", &second.key[..second.key.len() / 2]);
        world.sidecar.scrape_until("the broken key is seen", |scrape| reloads(scrape, "failure") > before);
        third.write(world.sidecar.directory());
        check_in_force_soon(world, 2043);
        let mut client = SecureClient::connect(world.sidecar.listen, config).unwrap();
        client.send(&Request::get("/")).unwrap();
        let pem = rustls::pki_types::pem::PemObject::from_pem_slice(third.cert.as_bytes());
        let expected: rustls::pki_types::CertificateDer<'_> = pem.unwrap();
        assert_eq!(client.shown(), expected.as_ref(), "a new connection sees the new certificate");
        done.store(true, Ordering::Relaxed);
        fresh.join().unwrap() + kept.join().unwrap()
    });
    assert!(totals > 50, "only {totals} requests beside the reloads");
    assert_eq!(handshakes(&world.scrape(), "inbound", "failed"), 0.0);
}

/// The first bytes of a hello that goes on.
fn half_hello() -> Vec<u8> {
    let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    hello.extend([9; 50]);
    hello
}

#[test]
fn garbage_is_closed_at_once_and_stalled_handshakes_within_ten_seconds() {
    const N_STALLED: usize = 300;
    let authority = Authority::new("Root");
    let world = world(&authority, &authority.issue(&["localhost"]), &[]);
    let connect = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(world.sidecar.listen).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    };
    let closed = |mut stream: TcpStream| {
        let mut rest = Vec::new();
        let result = stream.read_to_end(&mut rest);
        let timed_out = result.err().is_some_and(|error| {
            matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
        });
        assert!(!timed_out, "still open after {PATIENCE:?}");
    };
    let start = Instant::now();
    let stalled: Vec<TcpStream> = (0..N_STALLED).map(|n| connect(&half_hello()[..n % 2 * 61])).collect();

    // No record of TLS, one that is too long, and an alert out of turn.
    let mut seed = 7_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8 | 0x80
    })
    .take(4096)
    .collect();
    for garbage in
        [&noise[..], &[0x16, 3, 1, 0xff, 0xff, 1], &[0x15, 3, 3, 0, 2, 2, 40], b"\x80\x2e\x01\x00\x02"]
    {
        let begun = Instant::now();
        closed(connect(garbage));
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{garbage:02x?} was kept for {:?}",
            begun.elapsed()
        );
    }
    // Others are served meanwhile.
    let config = trusting(&authority.pem(), None, &["http/1.1"]);
    let answer = SecureClient::once(world.sidecar.listen, &config, &Request::get("/")).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    stalled.into_iter().for_each(closed);
    // Ten seconds, a tick of the sweep, and what the machine takes.
    assert!(start.elapsed() < Duration::from_secs(14), "{:?}", start.elapsed());
    let scrape = world.sidecar.scrape_until("all are counted", |scrape| {
        handshakes(scrape, "inbound", "timeout") == N_STALLED as f64
    });
    assert_eq!(handshakes(&scrape, "inbound", "failed"), 4.0);
    assert_eq!(scrape.sum("collimator_panics_total", &[]), 0.0);
    assert_eq!(scrape.sum("collimator_connections", &[]), 0.0);
}

/// A sidecar before an application behind TLS; `ca.pem` is what it trusts.
#[track_caller]
fn before(upstream: &SecureUpstream, trusted: &str, more: impl FnOnce(&Path) -> Vec<String>) -> Sidecar {
    let options = Options::run().rules(NEVER).file("ca.pem", trusted);
    let more = more(options.directory());
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    let address = format!("https://localhost:{}", upstream.port);
    options.args(&["--sink=none", "--upstream", &address, "--upstream-ca", "ca.pem"]).args(&more).start()
}

#[test]
fn an_application_behind_tls_is_reached_by_either_protocol() {
    let authority = Authority::new("Root");
    for (protocols, spoken) in
        [(&["h2", "http/1.1"][..], "h2"), (&["http/1.1"][..], "http/1.1"), (&[][..], "http/1.1")]
    {
        let upstream = SecureUpstream::start(&authority.issue(&["localhost"]), protocols, None);
        let sidecar = before(&upstream, &authority.pem(), |_| Vec::new());
        let answer = sidecar.send(&Request::get("/"));
        assert_eq!((answer.status, answer.text().as_str()), (200, "secret"));
        assert_eq!(answer.header("x-spoken").as_deref(), Some(spoken));
        assert!(handshakes(&sidecar.scrape(), "upstream", "ok") >= 1.0);
    }
}

/// An application that is not who it should be is not spoken to.
#[track_caller]
fn check_refused(upstream: &SecureUpstream, trusted: &str, more: &[&str]) {
    let sidecar = before(upstream, trusted, |_| more.iter().map(|&text| text.to_owned()).collect());
    let answer = sidecar.send(&Request::get("/"));
    assert_eq!((answer.status, answer.header("collimator-error").as_deref()), (502, Some("upstream-tls")));
    let scrape = sidecar.scrape();
    assert!(handshakes(&scrape, "upstream", "failed") >= 1.0, "{}", scrape.text);
    assert_eq!(handshakes(&scrape, "upstream", "ok"), 0.0);
}

#[test]
fn an_application_with_another_name_or_another_authority_is_refused() {
    let authority = Authority::new("Root");
    let upstream = SecureUpstream::start(&authority.issue(&["app.internal"]), &["http/1.1"], None);
    check_refused(&upstream, &authority.pem(), &[]);
    check_refused(&upstream, &authority.pem(), &["--upstream-server-name", "other.internal"]);
    check_refused(&upstream, &Authority::new("Stranger").pem(), &["--upstream-server-name", "app.internal"]);
    let named = |_: &Path| vec!["--upstream-server-name".to_owned(), "app.internal".to_owned()];
    let sidecar = before(&upstream, &authority.pem(), named);
    assert_eq!(sidecar.send(&Request::get("/")).status, 200);
}

#[test]
fn an_application_that_asks_for_a_certificate_is_shown_ours() {
    let authority = Authority::new("Root");
    let upstream =
        SecureUpstream::start(&authority.issue(&["localhost"]), &["http/1.1"], Some(&authority.pem()));
    let sidecar = before(&upstream, &authority.pem(), |directory| {
        authority.issue(&["sidecar"]).write(directory);
        ["--upstream-cert", "cert.pem", "--upstream-key", "key.pem"].map(str::to_owned).to_vec()
    });
    assert_eq!(sidecar.send(&Request::get("/")).status, 200);
    let certificate = sidecar.admin("GET", "/status").json()["tls"]["upstream"]["certificates"][0].clone();
    assert_eq!(certificate["subject"], "CN=sidecar");
}

#[test]
fn a_new_authority_of_the_application_is_believed_soon() {
    let (old, new) = (Authority::new("Old"), Authority::new("New"));
    let upstream = SecureUpstream::start(&new.issue(&["localhost"]), &["http/1.1"], None);
    let sidecar = before(&upstream, &old.pem(), |_| Vec::new());
    assert_eq!(sidecar.send(&Request::get("/")).status, 502);
    replace(sidecar.directory(), "ca.pem", new.pem());
    sidecar.scrape_until("it is taken over", |scrape| reloads(scrape, "success") >= 1.0);
    assert_eq!(sidecar.send(&Request::get("/")).status, 200);
}
