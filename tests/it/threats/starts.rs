//! A sidecar that finds nothing around it still starts and still carries.

use std::process::Command;

use crate::support::client::Request;
use crate::support::eventually;
use crate::support::sidecar::Options;
use crate::support::upstream::Upstream;

#[test]
fn without_sink_rules_and_names_it_starts_and_carries() {
    let upstream = Upstream::plain();
    let options = Options::run()
        .upstream(upstream.address())
        .args(&["--sink", "udp://no-such-host.invalid:2000", "--sink", "store"])
        .env("ECS_CONTAINER_METADATA_URI_V4", "http://no-such-host.invalid/v4")
        .env("AWS_XRAY_DAEMON_ADDRESS", "no-such-host.invalid:2000");
    let mut sidecar = options.start();
    for _ in 0..100 {
        assert_eq!(sidecar.send(&Request::get("/")).status, 200);
    }
    assert_eq!(sidecar.side("GET", "/readyz").status, 200);
    sidecar.stop().check(0);
}

#[test]
fn without_any_network_it_listens_and_stops_in_order() {
    // A network namespace of its own, where not even loopback is up.
    if !Command::new("unshare").args(["-n", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("this system lets us make no network namespace; nothing was tested");
        return;
    }
    let options = Options::run().args(&["--upstream", "http://application.invalid:8080"]);
    let options = options.args(&["--sink", "udp://daemon.invalid:2000", "--sink", "store"]);
    let mut sidecar = options.through("exec unshare -n \"$0\" \"$@\"").start();
    eventually("it says that it listens", || sidecar.logged().contains("\"listening\""));
    sidecar.stop().check(0);
}

#[test]
fn without_a_place_to_log_it_starts_and_carries() {
    let upstream = Upstream::plain();
    let options = Options::run().upstream(upstream.address()).args(&["--access-log", "all"]);
    let mut sidecar = options.through("exec \"$0\" \"$@\" >&- 2>&- <&-").start();
    for _ in 0..100 {
        assert_eq!(sidecar.send(&Request::get("/")).status, 200);
    }
    sidecar.stop().check(0);
}
