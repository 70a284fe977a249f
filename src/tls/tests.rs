//! Certificates made here, files written here, and handshakes in memory between what is built of them.

#[path = "../../tests/it/support/certificates.rs"]
mod certificates;

use super::*;
use crate::config::{Environment, RunFlags};
use base64::Engine as _;
use certificates::*;
use proptest::prelude::*;
use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection,
};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::sync::LazyLock;
use tempfile::TempDir;

/// 2026-11-22T00:00:00Z
const NOW: Moment = Moment::new(1_795_305_600_000_000, 0);
const INBOUND: [&str; 2] = ["--tls-cert=cert.pem", "--tls-key=key.pem"];
const MUTUAL: [&str; 3] = ["--tls-cert=cert.pem", "--tls-key=key.pem", "--tls-client-ca=ca.pem"];

static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::new("Test Root"));

/// Both sides by these flags, whose files stand in the directory; an `https` upstream unless told otherwise.
fn sides(directory: &TempDir, flags: &[&str], now: Moment) -> Result<Sides, Problems> {
    let mut said = RunFlags::new();
    if !flags.iter().any(|flag| flag.starts_with("--upstream=")) {
        said = said.with("upstream", "http://127.0.0.1:8080");
    }
    for flag in flags {
        let (flag, value) = flag.trim_start_matches('-').split_once('=').unwrap();
        let path = directory.path().join(value).display().to_string();
        said = said.with(flag, if value.ends_with(".pem") { &path } else { value });
    }
    let (settings, warnings) = Settings::resolve(&said, &Environment::default(), None).unwrap();
    assert!(warnings.is_empty(), "{warnings}");
    Sides::start(&settings, now)
}

/// An inbound side whose pair is in the directory.
#[track_caller]
fn inbound(directory: &TempDir) -> Arc<Inbound> {
    sides(directory, &INBOUND, NOW).unwrap_or_else(|problems| panic!("{problems}")).inbound.unwrap()
}

/// An outbound side that trusts the test's root.
#[track_caller]
fn outbound(flags: &[&str]) -> Arc<Outbound> {
    let directory = TempDir::new().unwrap();
    replace(directory.path(), "ca.pem", AUTHORITY.pem());
    AUTHORITY.issue(&["client.internal"]).write(directory.path());
    let flags = [&["--upstream-ca=ca.pem"], flags].concat();
    sides(&directory, &flags, NOW).unwrap_or_else(|problems| panic!("{problems}")).outbound.unwrap()
}

const LOCALHOST: &str = "--upstream=https://localhost:1";

fn with_pair(pair: &Pair) -> TempDir {
    let directory = TempDir::new().unwrap();
    pair.write(directory.path());
    directory
}

/// One line for each problem, without the directory's name.
fn told(directory: &TempDir, problems: &Problems) -> Vec<String> {
    let prefix = format!("{}/", directory.path().display());
    problems
        .iter()
        .map(|problem| format!("{} {}", problem.code, problem.one_line().replace(&prefix, "")))
        .collect()
}

/// A handshake in memory, until both sides are done, have exchanged a byte each, or one refuses.
fn shake(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    name: ServerName<'static>,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let mut client = ClientConnection::new(client, name)?;
    let mut server = ServerConnection::new(server)?;
    client.writer().write_all(b"?").unwrap();
    server.writer().write_all(b"!").unwrap();
    for _ in 0..10 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            server.read_tls(&mut wire).unwrap();
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            client.read_tls(&mut wire).unwrap();
            client.process_new_packets()?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    let mut byte = [0];
    server.reader().read_exact(&mut byte).unwrap();
    assert_eq!(byte, *b"?");
    client.reader().read_exact(&mut byte).unwrap();
    assert_eq!(byte, *b"!");
    Ok((client, server))
}

/// What a client that trusts the test's root gets.
fn shake_with(server: &Inbound) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let client = outbound(&[LOCALHOST]);
    shake(client.config(), server.config(), client.server_name())
}

#[test]
fn without_settings_there_is_no_tls() {
    let sides = sides(&TempDir::new().unwrap(), &[], NOW).unwrap();
    assert!(sides.inbound.is_none() && sides.outbound.is_none() && sides.warnings.is_empty());
    assert_eq!(sides.files(), 0);
}

#[test]
fn two_sides_agree_on_tls_1_3_and_http_2() {
    let directory = with_pair(&AUTHORITY.issue(&["localhost"]));
    let (client, server) = shake_with(&inbound(&directory)).unwrap();
    assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(client.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(server.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(server.server_name(), Some("localhost"));
}

#[test]
fn a_client_of_http_1_1_and_one_that_names_no_protocol_are_served() {
    let directory = with_pair(&AUTHORITY.issue(&["localhost"]));
    let (server, client) = (inbound(&directory), outbound(&[LOCALHOST]));
    for (offered, agreed) in [(vec![b"http/1.1".to_vec()], Some(&b"http/1.1"[..])), (Vec::new(), None)] {
        let mut config = ClientConfig::clone(&client.config());
        config.alpn_protocols = offered;
        let (_, server) = shake(Arc::new(config), server.config(), client.server_name()).unwrap();
        assert_eq!(server.alpn_protocol(), agreed);
    }
}

/// A hello such as a client sends that speaks nothing above this version.
fn old_hello(minor: u8) -> Vec<u8> {
    let mut hello = vec![3, minor];
    hello.extend([7; 32]);
    // No session; two ciphers; no compression; signatures by ECDSA, so that the version alone is wrong.
    hello.extend([0, 0, 4, 0xc0, 0x13, 0x00, 0x2f, 1, 0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
    let mut message = vec![1, 0, 0, u8::try_from(hello.len()).unwrap()];
    message.extend(hello);
    let mut record = vec![0x16, 3, 1, 0, u8::try_from(message.len()).unwrap()];
    record.extend(message);
    record
}

#[test]
fn versions_before_1_2_are_refused_and_1_2_is_served() {
    assert_eq!(VERSIONS.map(|version| version.version), [ProtocolVersion::TLSv1_3, ProtocolVersion::TLSv1_2]);
    let directory = with_pair(&AUTHORITY.issue(&["localhost"]));
    let server = inbound(&directory);
    for minor in [0, 1, 2] {
        let mut connection = ServerConnection::new(server.config()).unwrap();
        connection.read_tls(&mut old_hello(minor).as_slice()).unwrap();
        assert!(connection.process_new_packets().is_err());
        let mut alert = Vec::new();
        connection.write_tls(&mut alert).unwrap();
        // A fatal alert, "protocol version".
        assert_eq!(alert, [0x15, 3, 3, 0, 2, 2, 70]);
    }
    let mut roots = rustls::RootCertStore::empty();
    let authority = rustls::pki_types::pem::PemObject::from_pem_slice(AUTHORITY.pem().as_bytes()).unwrap();
    roots.add(authority).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let (_, connection) = shake(Arc::new(client), server.config(), name).unwrap();
    assert_eq!(connection.protocol_version(), Some(ProtocolVersion::TLSv1_2));
}

#[test]
fn every_usual_kind_of_key_serves() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519, &PKCS_RSA_SHA256] {
        let directory = with_pair(&AUTHORITY.issue_with(&["localhost"], algorithm, |_| {}));
        shake_with(&inbound(&directory)).unwrap();
    }
}

/// The key inside a PKCS#8 file, as a file of its own.
fn unwrapped(pair: &Pair, at: usize, label: &str) -> Pair {
    let body: String = pair.key.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::prelude::BASE64_STANDARD.decode(body).unwrap();
    assert_eq!(der[at], 0x30, "the key does not begin there");
    let inner = base64::prelude::BASE64_STANDARD.encode(&der[at..]);
    Pair { key: format!("-----BEGIN {label}-----\n{inner}\n-----END {label}-----\n"), ..pair.clone() }
}

#[test]
fn keys_of_older_formats_serve() {
    let ec = AUTHORITY.issue(&["localhost"]);
    let rsa = AUTHORITY.issue_with(&["localhost"], &PKCS_RSA_SHA256, |_| {});
    for pair in [unwrapped(&ec, 29, "EC PRIVATE KEY"), unwrapped(&rsa, 26, "RSA PRIVATE KEY")] {
        shake_with(&inbound(&with_pair(&pair))).unwrap();
    }
}

#[test]
fn a_chain_is_shown_whole() {
    let pair = AUTHORITY.issue(&["localhost"]);
    let chain = Pair { cert: pair.cert.clone() + &AUTHORITY.pem(), key: pair.key };
    let directory = with_pair(&chain);
    let server = inbound(&directory);
    let (client, _) = shake_with(&server).unwrap();
    assert_eq!(client.peer_certificates().unwrap().len(), 2);
    let subjects: Vec<String> =
        server.standing().certificates.iter().map(|certificate| certificate.subject.clone()).collect();
    assert_eq!(subjects, ["CN=localhost", "CN=Test Root"]);
}

#[test]
fn a_client_without_a_good_certificate_is_refused_where_one_is_asked_for() {
    let directory = with_pair(&AUTHORITY.issue(&["localhost"]));
    replace(directory.path(), "ca.pem", AUTHORITY.pem());
    let server = sides(&directory, &MUTUAL, NOW).unwrap().inbound.unwrap();
    assert!(shake_with(&server).is_err(), "without a certificate");

    let client = outbound(&[LOCALHOST, "--upstream-cert=cert.pem", "--upstream-key=key.pem"]);
    let (_, connection) = shake(client.config(), server.config(), client.server_name()).unwrap();
    assert!(connection.peer_certificates().is_some_and(|certificates| !certificates.is_empty()));

    let stranger = Authority::new("Another Root");
    let strangers = with_pair(&stranger.issue(&["client.internal"]));
    replace(strangers.path(), "ca.pem", AUTHORITY.pem());
    let flags = [LOCALHOST, "--upstream-ca=ca.pem", "--upstream-cert=cert.pem", "--upstream-key=key.pem"];
    let client = sides(&strangers, &flags, NOW).unwrap().outbound.unwrap();
    assert!(shake(client.config(), server.config(), client.server_name()).is_err(), "signed by another");
}

#[test]
fn sessions_are_resumed_but_not_where_clients_show_certificates() {
    let directory = with_pair(&AUTHORITY.issue(&["localhost"]));
    replace(directory.path(), "ca.pem", AUTHORITY.pem());
    let client = outbound(&[LOCALHOST, "--upstream-cert=cert.pem", "--upstream-key=key.pem"]);
    let kinds = |server: &Inbound| {
        [0, 1].map(|_| {
            let shaken = shake(client.config(), server.config(), client.server_name());
            let (_, connection) = shaken.unwrap();
            assert_eq!(connection.protocol_version(), Some(ProtocolVersion::TLSv1_3));
            connection.handshake_kind()
        })
    };
    let resumes = kinds(&inbound(&directory));
    assert_eq!(resumes[1], Some(HandshakeKind::Resumed), "{resumes:?}");
    let mutual = kinds(&sides(&directory, &MUTUAL, NOW).unwrap().inbound.unwrap());
    assert!(!mutual.contains(&Some(HandshakeKind::Resumed)), "{mutual:?}");
}

#[test]
fn the_application_must_be_who_it_should_be() {
    let check = |names: &[&str], flags: &[&str], good: bool| {
        let server = inbound(&with_pair(&AUTHORITY.issue(names)));
        let client = outbound(flags);
        let shaken = shake(client.config(), server.config(), client.server_name());
        assert_eq!(shaken.is_ok(), good, "{names:?} {flags:?}: {:?}", shaken.err());
    };
    check(&["localhost"], &[LOCALHOST], true);
    check(&["other.internal"], &[LOCALHOST], false);
    check(&["other.internal"], &[LOCALHOST, "--upstream-server-name=other.internal"], true);
    check(&["127.0.0.1"], &["--upstream=https://127.0.0.1:1"], true);
    check(&["127.0.0.2"], &["--upstream=https://127.0.0.1:1"], false);
    check(&["::1"], &["--upstream=https://[::1]:1"], true);
    // Nobody vouches for it.
    let server = inbound(&with_pair(&Pair::self_signed(&["localhost"])));
    assert!(shake_with(&server).is_err());
    // It is over.
    let expired = AUTHORITY.issue_with(&["localhost"], &PKCS_ECDSA_P256_SHA256, |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    assert!(shake_with(&inbound(&with_pair(&expired))).is_err());
}

#[test]
fn without_an_own_authority_the_systems_roots_count() {
    let client = sides(&TempDir::new().unwrap(), &[LOCALHOST], NOW).unwrap().outbound.unwrap();
    let server = inbound(&with_pair(&AUTHORITY.issue(&["localhost"])));
    assert!(shake(client.config(), server.config(), client.server_name()).is_err());
}

/// What is wrong with the pair whose files these are.
#[track_caller]
fn check_wrong(cert: impl AsRef<[u8]>, key: impl AsRef<[u8]>, expected: &[&str]) {
    let directory = TempDir::new().unwrap();
    replace(directory.path(), "cert.pem", cert);
    replace(directory.path(), "key.pem", key);
    let problems = sides(&directory, &INBOUND, NOW).expect_err("expected problems");
    assert_eq!(told(&directory, &problems), expected);
}

#[test]
fn whatever_is_wrong_with_a_pair_is_told_with_a_remedy() {
    let (pair, other) = (AUTHORITY.issue(&["localhost"]), AUTHORITY.issue(&["localhost"]));
    let (cert, key) = (&pair.cert, &pair.key);
    check_wrong(
        cert,
        &other.key,
        &["S011 key.pem: this is not the private key of the certificate `CN=localhost` in `cert.pem`; \
           write certificate and key of one pair into the files of `tls.cert` and `tls.key`"],
    );
    check_wrong(
        AUTHORITY.pem() + cert,
        key,
        &["S011 key.pem: this is not the private key of the certificate `CN=Test Root` in `cert.pem`; \
           it is that of certificate 2 in that file; that one must come first"],
    );
    check_wrong(
        key,
        cert,
        &[
            "S010 cert.pem: it holds a private key and no certificate; `tls.cert` names the certificate; \
             are certificate and key swapped?",
            "S010 key.pem: it holds a certificate and no private key; `tls.key` names the private key; \
             are certificate and key swapped?",
        ],
    );
    check_wrong(
        &cert[..cert.len() / 2],
        "",
        &[
            "S010 cert.pem: its last section has no end; it was perhaps caught half-written: write a new file \
             beside it and rename it over `cert.pem` of `tls.cert`",
            "S010 key.pem: it is empty; it was perhaps caught half-written: write a new file beside it and rename \
             it over `key.pem` of `tls.key`",
        ],
    );
    check_wrong(
        cert,
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        &["S010 key.pem: the private key in it is encrypted; decrypt it once: \
           openssl pkey -in key.pem -out key.pem.plain"],
    );
    check_wrong(
        b"\x30\x82\x01\x00",
        "hello",
        &[
            "S010 cert.pem: there is no certificate in it; it looks like DER: convert it to PEM with openssl",
            "S010 key.pem: there is no private key in it; `tls.key` names a PEM file with \
             -----BEGIN PRIVATE KEY-----",
        ],
    );
    check_wrong(
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        key,
        &["S010 cert.pem: its section 1 is no X.509 certificate; export the certificate anew"],
    );
    check_wrong(
        cert,
        vec![b'a'; 1024 * 1024 + 1],
        &[
            "S009 key.pem: it is larger than 1 MiB; name a PEM file with only what is needed (setting `tls.key`)",
        ],
    );
}

#[test]
fn files_that_are_not_there_are_told_with_their_settings() {
    let directory = TempDir::new().unwrap();
    std::fs::create_dir(directory.path().join("key.pem")).unwrap();
    let flags = [&MUTUAL[..], &[LOCALHOST, "--upstream-ca=up.pem"]].concat();
    let problems = sides(&directory, &flags, NOW).unwrap_err();
    assert_eq!(
        told(&directory, &problems),
        [
            "S009 cert.pem: there is no such file; check the path and the mount (setting `tls.cert`)",
            "S009 ca.pem: there is no such file; check the path and the mount (setting `tls.client_ca`)",
            "S009 key.pem: this is no file; name a PEM file (setting `tls.key`)",
            "S009 up.pem: there is no such file; check the path and the mount (setting `upstream_tls.ca`)",
        ]
    );
}

#[test]
fn a_key_that_others_may_read_and_a_certificate_near_its_end_are_warned_of() {
    let pair = AUTHORITY.issue_with(&["localhost"], &PKCS_ECDSA_P256_SHA256, |params| {
        params.not_before = rcgen::date_time_ymd(2026, 11, 20);
        params.not_after = rcgen::date_time_ymd(2026, 12, 20);
    });
    let directory = with_pair(&pair);
    let day = |day: u64| Moment::new((1_795_305_600 + day * 86_400) * 1_000_000, 0);
    let check = |now: Moment, expected: &[&str]| {
        let sides = sides(&directory, &INBOUND, now).unwrap();
        assert_eq!(told(&directory, &sides.warnings), expected);
        assert_eq!(sides.files(), 2);
    };
    const REMEDY: &str = "put a renewed one into the file of `tls.cert`; it is taken over without a restart";
    check(day(0), &[]);
    check(day(13), &[]);
    let near =
        "S104 cert.pem: the certificate `CN=localhost` expires at 2026-12-20T00:00:00Z, within 14 days";
    check(day(15), &[&format!("{near}; {REMEDY}")]);
    let over = "S104 cert.pem: the certificate `CN=localhost` has expired at 2026-12-20T00:00:00Z";
    check(day(29), &[&format!("{over}; {REMEDY}")]);
    let early = "S104 cert.pem: the certificate `CN=localhost` is not valid before 2026-11-20T00:00:00Z";
    check(Moment::new(1_700_000_000_000_000, 0), &[&format!("{early}; {REMEDY}")]);
    for (mode, wide) in
        [(0o400, false), (0o600, false), (0o640, false), (0o644, true), (0o660, true), (0o604, true)]
    {
        std::fs::set_permissions(directory.path().join("key.pem"), std::fs::Permissions::from_mode(mode))
            .unwrap();
        let expected = format!(
            "S105 key.pem: others may read the private key: its mode is {mode:04o}; \
             make it 0640 or narrower: chmod 0600, or defaultMode in a volume of secrets"
        );
        let expected = [expected.as_str()];
        check(day(0), if wide { &expected } else { &[] });
    }
}

#[test]
fn a_changed_pair_is_taken_over_and_a_broken_one_never() {
    let (first, second) = (AUTHORITY.issue(&["localhost", "a"]), AUTHORITY.issue(&["localhost", "b"]));
    let directory = with_pair(&first);
    let side = inbound(&directory);
    let names = || side.standing().certificates[0].names[1].clone();
    let counts = || (side.standing().successes, side.standing().failures);
    let start = side.config();
    assert_eq!(side.poll(NOW), Reloaded::Unchanged);
    assert!(Arc::ptr_eq(&start, &side.config()));
    assert_eq!(counts(), (0, 0));

    // Only the certificate has come yet; then a key that is cut anywhere; then the whole key.
    replace(directory.path(), "cert.pem", &second.cert);
    let n_cuts = second.key.len() / 7;
    for cut in 0..n_cuts {
        let outcome = side.poll(NOW);
        assert!(matches!(outcome, Reloaded::Kept(_)), "{cut}: {outcome:?}");
        assert_eq!(side.poll(NOW), Reloaded::Unchanged, "told once");
        assert!(Arc::ptr_eq(&start, &side.config()));
        replace(directory.path(), "key.pem", &second.key[..cut * 7]);
    }
    assert!(side.standing().last_error.is_some());
    assert_eq!(names(), "a");
    assert_eq!(counts(), (0, n_cuts as u64));
    replace(directory.path(), "key.pem", &second.key);
    let expected = "CN=localhost, valid until 4096-01-01T00:00:00Z".to_owned();
    assert_eq!(side.poll(NOW), Reloaded::Swapped { now: expected, warnings: Problems::new() });
    assert_eq!((names(), counts()), ("b".to_owned(), (1, n_cuts as u64)));
    assert_eq!(side.standing().last_error, None);
    let (client, _) = shake_with(&side).unwrap();
    let shown = Certificate::read(&client.peer_certificates().unwrap()[0]).unwrap();
    assert_eq!(shown.names, ["localhost", "b"]);
}

#[test]
fn a_deleted_pair_stays_in_force_and_heals() {
    let pair = AUTHORITY.issue(&["localhost"]);
    let directory = with_pair(&pair);
    let side = inbound(&directory);
    std::fs::remove_file(directory.path().join("key.pem")).unwrap();
    assert!(matches!(side.poll(NOW), Reloaded::Kept(_)));
    assert!(matches!(side.reload(NOW), Reloaded::Kept(_)), "whoever asks is told again");
    shake_with(&side).unwrap();
    pair.write(directory.path());
    assert!(matches!(side.poll(NOW), Reloaded::Swapped { .. }));
    assert_eq!(side.reload(NOW), Reloaded::Unchanged);
    assert_eq!((side.standing().successes, side.standing().failures), (2, 2));
}

#[test]
fn the_authorities_of_the_application_are_taken_over_too() {
    let (old, new) = (Authority::new("Old"), Authority::new("New"));
    let directory = TempDir::new().unwrap();
    replace(directory.path(), "ca.pem", old.pem());
    let client = sides(&directory, &[LOCALHOST, "--upstream-ca=ca.pem"], NOW).unwrap().outbound.unwrap();
    let server = inbound(&with_pair(&new.issue(&["localhost"])));
    assert!(shake(client.config(), server.config(), client.server_name()).is_err());
    replace(directory.path(), "ca.pem", old.pem() + &new.pem());
    let expected = Reloaded::Swapped { now: "other authorities".to_owned(), warnings: Problems::new() };
    assert_eq!(client.poll(NOW), expected);
    shake(client.config(), server.config(), client.server_name()).unwrap();
    assert_eq!(client.standing().expires_epoch(), None);
}

#[test]
fn the_first_end_of_a_chain_counts() {
    let pair = AUTHORITY.issue_with(&["localhost"], &PKCS_ECDSA_P256_SHA256, |params| {
        params.not_after = rcgen::date_time_ymd(2031, 1, 1);
    });
    let directory = with_pair(&Pair { cert: pair.cert + &AUTHORITY.pem(), key: pair.key });
    assert_eq!(inbound(&directory).standing().expires_epoch(), Some(1_924_992_000));
}

#[test]
fn nothing_printed_holds_a_key() {
    let pair = AUTHORITY.issue(&["localhost"]);
    let directory = with_pair(&pair);
    let printed = format!("{:?}", inbound(&directory));
    let secret = pair.key.lines().nth(1).unwrap();
    assert!(!printed.contains(secret) && printed.contains("localhost"), "{printed}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_panic(cert in proptest::collection::vec(any::<u8>(), 0..300), key in "(-----(BEGIN|END) (CERTIFICATE|PRIVATE KEY|EC PRIVATE KEY)-----\n|[A-Za-z0-9+/=]{0,8}\n){0,6}") {
        let directory = TempDir::new().unwrap();
        replace(directory.path(), "cert.pem", &cert);
        replace(directory.path(), "key.pem", &key);
        prop_assert!(sides(&directory, &INBOUND, NOW).is_err());
    }

    #[test]
    fn a_pair_with_a_changed_byte_is_refused_or_still_a_pair(at in 0_usize..2000, byte in any::<u8>()) {
        static PAIR: LazyLock<Pair> = LazyLock::new(|| AUTHORITY.issue(&["localhost"]));
        let directory = with_pair(&PAIR);
        let (mut cert, mut key) = (PAIR.cert.clone().into_bytes(), PAIR.key.clone().into_bytes());
        match cert.get_mut(at) {
            Some(changed) => *changed = byte,
            None => {
                let at = (at - cert.len()) % key.len();
                key[at] = byte;
            }
        }
        replace(directory.path(), "cert.pem", &cert);
        replace(directory.path(), "key.pem", &key);
        let _ = sides(&directory, &INBOUND, NOW);
    }
}
