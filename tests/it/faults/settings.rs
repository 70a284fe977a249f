//! The settings file changes while requests pass.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::reload::replace;
use crate::support::client::{Client, Request};
use crate::support::eventually;
use crate::support::load::{Load, check_answered};
use crate::support::sidecar::{Options, Sidecar};
use crate::support::sink::{Datagram, Sink};
use crate::support::upstream::Upstream;
use crate::support::world::ALWAYS;

/// A sidecar before a plain application, with these settings in a file beside what every test's sidecar is told.
fn start(settings: &str) -> (Sidecar, Upstream) {
    let upstream = Upstream::plain();
    let options = Options::run().upstream(upstream.address()).rules(ALWAYS);
    (options.file("settings.yaml", settings).args(&["--config", "settings.yaml"]).start(), upstream)
}

fn limited(connections: usize) -> String {
    format!("sinks: [none]\nlimits: {{ connections: {connections} }}\n")
}

/// The answer of `POST /reload` after the file has changed.
fn reload(sidecar: &Sidecar, settings: &str) -> (u16, String) {
    replace(&sidecar.path("settings.yaml"), settings);
    let response = sidecar.admin("POST", "/reload");
    (response.status, response.text())
}

/// A setting in force, as `GET /config` tells it.
fn in_force(sidecar: &Sidecar, key: &str) -> String {
    let config = sidecar.admin("GET", "/config").json();
    let entries = config["settings"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["key"] == key).unwrap();
    entry["value"].as_str().unwrap().to_owned()
}

fn segment_ids(datagrams: &[Datagram]) -> BTreeSet<String> {
    datagrams.iter().map(|datagram| datagram.document()["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn sinks_and_limits_change_under_load_and_neither_request_nor_segment_is_lost() {
    let (a, b) = (Sink::start(), Sink::start());
    let files = [
        format!("sinks: [\"{}\"]\nlimits: {{ connections: 50 }}\n", b.url()),
        format!("sinks: [\"{}\", \"{}\"]\nlog: {{ access: off }}\n", b.url(), a.url()),
        format!("sinks: [\"{}\"]\nlimits: {{ connections: 2000 }}\n", a.url()),
    ];
    let (mut sidecar, _upstream) = start(&files[2]);
    let request = |_, _| Request::get("/");
    let load = Load { address: sidecar.listen, n_clients: 4, pause: Duration::ZERO, request: &request };
    let (asked, ()) = load.during(|_| {
        for file in files.iter().cycle().take(30) {
            let (status, told) = reload(&sidecar, file);
            assert_eq!(status, 200, "{told}");
            assert!(told.contains("settings: sinks "), "{told}");
        }
    });
    check_answered(&asked, &[200]);
    sidecar.stop().check(0);
    let (to_a, to_b) = (a.settle(), b.settle());
    let (ids_a, ids_b) = (segment_ids(&to_a), segment_ids(&to_b));
    assert_eq!((ids_a.len(), ids_b.len()), (to_a.len(), to_b.len()), "none is sent twice to one sink");
    assert_eq!(ids_a.union(&ids_b).count(), asked.len(), "every request has its segment");
    assert!(ids_a.intersection(&ids_b).count() > 0, "both were in force for a while");
}

#[test]
fn a_hangup_reads_the_settings_again() {
    let (sidecar, _upstream) = start("log: { access: off }\n");
    replace(&sidecar.path("settings.yaml"), "log: { access: all }\n");
    sidecar.signal("HUP");
    eventually("the access log is on", || in_force(&sidecar, "log.access") == "all");
    assert_eq!(sidecar.send(&Request::get("/told")).status, 200);
    eventually("the request has its line", || sidecar.logged().contains("/told"));
}

#[test]
fn a_limit_that_changes_holds_for_who_comes_next() {
    let (sidecar, _upstream) = start(&limited(10));
    let mut clients: Vec<Client> = (0..3).map(|_| sidecar.client()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.send(&Request::get("/")).status, 200));
    let (_, told) = reload(&sidecar, &limited(3));
    assert!(told.starts_with("settings: limits.connections 10 → 3\n"), "{told}");
    assert_eq!(sidecar.client().send(&Request::get("/")).status, 503);
    clients.iter_mut().for_each(|client| assert_eq!(client.send(&Request::get("/")).status, 200));
    reload(&sidecar, &limited(4));
    assert_eq!(sidecar.client().send(&Request::get("/")).status, 200);
}

#[test]
fn broken_settings_change_nothing_and_say_where_they_are_broken() {
    let (sidecar, _upstream) = start(&limited(10));
    let (status, told) = reload(&sidecar, "sinks: [none]\nlimits: { connections: many }\n");
    assert!(status >= 400, "{status}: {told}");
    assert!(told.contains("settings.yaml:2:24"), "{told}");
    assert_eq!(in_force(&sidecar, "limits.connections"), "10");
    eventually("it is told", || sidecar.logged().contains("those in force stay"));
    std::fs::remove_file(sidecar.path("settings.yaml")).unwrap();
    let response = sidecar.admin("POST", "/reload");
    assert!(response.status >= 400 && response.text().contains("no such file"), "{}", response.text());
    // A pipe that nobody writes to is not waited for.
    assert!(
        std::process::Command::new("mkfifo").arg(sidecar.path("settings.yaml")).status().unwrap().success()
    );
    let response = sidecar.admin("POST", "/reload");
    assert!(response.status >= 400 && response.text().contains("this is no file"), "{}", response.text());
    assert_eq!(sidecar.send(&Request::get("/")).status, 200);
    let (status, told) = reload(&sidecar, &limited(20));
    assert_eq!(status, 200, "{told}");
    assert_eq!(in_force(&sidecar, "limits.connections"), "20");
}

#[test]
fn what_takes_a_restart_is_named_and_stays_as_it_is() {
    let (sidecar, _upstream) = start(&limited(10));
    let (status, told) = reload(&sidecar, &(limited(10) + "connect_timeout: 9s\n"));
    assert_eq!(status, 200, "{told}");
    assert!(told.starts_with("settings: connect_timeout changed and takes a restart\n"), "{told}");
    assert_eq!(in_force(&sidecar, "connect_timeout"), "2s");
    let (_, told) = reload(&sidecar, &limited(10));
    assert!(told.starts_with("settings unchanged\n"), "{told}");
}
