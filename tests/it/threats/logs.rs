//! Logs that a stranger would like to write, or to fill.

use std::time::Instant;

use crate::support::client::{Client, Request};
use crate::support::sidecar::{log_field, log_lines};
use crate::support::upstream::Answer;
use crate::support::world::{NEVER, World};

/// Targets with bytes that a terminal or a line reader would obey.
fn targets() -> Vec<Vec<u8>> {
    let mut targets: Vec<Vec<u8>> = [
        "/%0d%0a{\"level\":\"ERROR\",\"message\":\"forged\"}",
        "/\"}{\"forged\":true",
        "/a\\nb\\u001b[31m",
        "/\u{9b}31m\u{85}\u{2028}\u{202e}",
        "/\u{1b}[2J",
        "/a\rb",
        "/a\tb",
        "/\u{7f}\u{8}",
    ]
    .iter()
    .map(|target| target.as_bytes().to_vec())
    .collect();
    targets.push([b"/".as_slice(), &[0x80, 0x9b, 0xff, 0xc2]].concat());
    targets
}

/// Every byte of the log is text, the ends of lines apart.
#[track_caller]
fn check_no_control(log: &str) {
    for line in log.lines() {
        let bad: Vec<char> =
            line.chars().filter(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')).collect();
        assert!(bad.is_empty(), "{bad:?} in {line:?}");
    }
}

#[track_caller]
fn log_of_hostile_requests(format: &str) -> String {
    let mut world = World::start(|options| {
        options.rules(NEVER).args(&["--access-log", "all", "--log-level", "trace", "--log-format", format])
    });
    for target in targets() {
        for method in ["GET", "BREW"] {
            let mut client = Client::connect(world.sidecar.listen);
            let request = [
                method.as_bytes(),
                b" ",
                &target,
                b" HTTP/1.1\r\nHost: app.test\r\nUser-Agent: \x1b[31m\xc2\x9b\r\n\r\n",
            ]
            .concat();
            client.say(&request).unwrap();
            drop(client.read(method));
            let request = [
                method.as_bytes(),
                b" ",
                &target,
                b" HTTP/1.1\r\nHost: app\xc2\x9b.test\r\nUser-Agent: \xc2\x9b\xe2\x80\xa8\r\n\r\n",
            ]
            .concat();
            let mut client = Client::connect(world.sidecar.listen);
            client.say(&request).unwrap();
            drop(client.read(method));
        }
    }
    world.forward(&Request::get("/an-honest-one"));
    let exit = world.sidecar.stop();
    exit.check(0);
    assert!(exit.stderr.contains("/an-honest-one"), "{}", exit.stderr);
    exit.stderr
}

#[test]
fn json_logs_hold_no_control_byte_and_no_forged_line() {
    let log = log_of_hostile_requests("json");
    check_no_control(&log);
    for line in log_lines(&log) {
        assert!(log_field(&line, "forged").is_none(), "{line}");
        assert_ne!(log_field(&line, "message").and_then(|message| message.as_str()), Some("forged"));
    }
}

#[test]
fn text_logs_hold_no_control_byte() {
    check_no_control(&log_of_hostile_requests("text"));
}

#[test]
fn a_flood_of_failures_is_ten_lines_a_second_and_a_count() {
    const REQUESTS: usize = 3_000;
    let mut world =
        World::with(crate::support::upstream::Upstream::start(|_| Answer::status(500)), |options| {
            options.rules(NEVER).args(&["--workers", "2"])
        });
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| world.burst_any(REQUESTS / 6, &Request::get("/")));
        }
    });
    let seconds = start.elapsed().as_secs() + 2;
    // After a quiet second there is a place again, and with that line comes the count of those left out.
    crate::support::eventually("a second has passed", || {
        start.elapsed().as_secs_f64() > seconds as f64 - 0.5
    });
    world.burst_any(1, &Request::get("/last"));
    let exit = world.sidecar.stop();
    let lines: Vec<_> =
        log_lines(&exit.stderr).into_iter().filter(|line| line["target"] == "access").collect();
    assert!(lines.len() as u64 <= 10 * (seconds + 1), "{} lines in {seconds} s", lines.len());
    let left_out: u64 = lines.iter().filter_map(|line| log_field(line, "lines_left_out")?.as_u64()).sum();
    assert_eq!(lines.len() as u64 + left_out, REQUESTS as u64 + 1, "what was left out is counted");
    eprintln!("{} lines for {REQUESTS} failures in {seconds} s, {left_out} counted", lines.len());
}
