//! Rules files that break while requests pass; what `reload.rs` does not already show.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use crate::reload::{check_survives, named, reloads, replace, rule_in_force};
use crate::support::client::Request;
use crate::support::eventually;
use crate::support::load::{Load, check_answered};
use crate::support::sidecar::{Options, Sidecar};
use crate::support::upstream::Upstream;
use crate::support::world::World;

#[test]
fn a_file_that_cannot_be_read_keeps_the_old_rules() {
    // Reading another process's memory at 0 is an error of the device, whoever asks.
    check_survives(|path| {
        std::fs::remove_file(path).unwrap();
        symlink("/proc/self/mem", path).unwrap();
    });
}

#[test]
fn a_link_to_itself_keeps_the_old_rules() {
    check_survives(|path| {
        std::fs::remove_file(path).unwrap();
        symlink("rules.yaml", path).unwrap();
    });
}

#[test]
fn a_pipe_in_place_of_the_file_keeps_the_old_rules_and_is_not_waited_for() {
    check_survives(|path| {
        std::fs::remove_file(path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    });
}

#[test]
fn a_file_that_may_not_be_read_keeps_the_old_rules() {
    // Modes mean nothing to root: where the tests run as root, the sidecar runs as nobody, from a copy that nobody
    // can reach.
    let become_nobody = "if [ \"$(id -u)\" = 0 ]; then chmod 777 . && cp \"$0\" ./collimator && chmod 755 ./collimator && \
                         exec setpriv --reuid=65534 --regid=65534 --clear-groups ./collimator \"$@\"; \
                         else exec \"$0\" \"$@\"; fi";
    let upstream = Upstream::plain();
    let options =
        Options::run().rules(&named("good")).upstream(upstream.address()).args(&["--sink", "store"]);
    let sidecar = options.through(become_nobody).start();
    let path = sidecar.path("rules.yaml");
    let forbid = std::process::Command::new("chmod").arg("000").arg(&path).status().unwrap();
    assert!(forbid.success());
    sidecar.scrape_until("the failure is counted", |scrape| reloads(scrape, "failure") > 0.0);
    assert_eq!(sidecar.send(&Request::get("/")).status, 200);
    assert!(in_force(&sidecar, "good"));
    eventually("it is told", || sidecar.logged().contains("permission denied"));
    replace(&path, &named("better"));
    eventually("the better rules are in force", || in_force(&sidecar, "better"));
}

fn in_force(sidecar: &Sidecar, rule: &str) -> bool {
    sidecar.admin("GET", "/rules").text().contains(&format!("\"{rule}\""))
}

/// The load beside which rules change: none of it may fail.
fn load(world: &World) -> Load<'_> {
    Load {
        address: world.sidecar.listen,
        n_clients: 2,
        pause: Duration::from_millis(2),
        request: &|_, _| Request::get("/"),
    }
}

#[test]
fn a_file_written_in_halves_is_never_half_in_force_and_whole_in_two_seconds() {
    let world = World::ruled(&named("first"));
    let path = world.sidecar.path("rules.yaml");
    let (asked, times) = load(&world).during(|_| {
        ["second", "third", "fourth"].map(|name| {
            // The first half alone is good YAML of one rule more: only the second says what it may not say.
            let whole = named(name) + "  - { name: other, priority: 2, rate: 0.5 }\n";
            let half = whole.len() - 12;
            let mut file = std::fs::File::create(&path).unwrap();
            file.write_all(&whole.as_bytes()[..half]).unwrap();
            std::thread::sleep(Duration::from_millis(200));
            file.write_all(&whole.as_bytes()[half..]).unwrap();
            let written = Instant::now();
            eventually("it is in force", || in_force(&world.sidecar, name));
            written.elapsed()
        })
    });
    check_answered(&asked, &[200]);
    assert!(times.iter().all(|time| *time < Duration::from_secs(2)), "{times:?}");
}

#[test]
fn a_good_file_after_a_bad_one_is_in_force_in_two_seconds() {
    let world = World::ruled(&named("first"));
    let path = world.sidecar.path("rules.yaml");
    let (asked, times) = load(&world).during(|_| {
        ["second", "third", "fourth"].map(|name| {
            let before = reloads(&world.scrape(), "failure");
            replace(&path, "rules: [");
            world
                .sidecar
                .scrape_until("the failure is counted", |scrape| reloads(scrape, "failure") > before);
            replace(&path, &named(name));
            let written = Instant::now();
            eventually("it is in force", || in_force(&world.sidecar, name));
            written.elapsed()
        })
    });
    check_answered(&asked, &[200]);
    assert!(times.iter().all(|time| *time < Duration::from_secs(2)), "{times:?}");
}

#[test]
fn a_thousand_reloads_under_load_lose_nothing_and_keep_no_memory() {
    let world = World::ruled(&named("first"));
    let path = world.sidecar.path("rules.yaml");
    let reload = |number: usize| {
        // The same rule with another description, ten others beside it, and now and then a file that is wrong.
        let others: String =
            (0..10).map(|n| format!("  - {{ name: r{n}, priority: {}, rate: 0.1 }}\n", n + 10)).collect();
        let text = match number % 10 {
            9 => "rules: [".to_owned(),
            _ => format!("{}{others}# {number}\n", named(&format!("n{}", number % 7))),
        };
        replace(&path, &text);
        world.sidecar.admin("POST", "/reload");
    };
    let (asked, (early, late)) = load(&world).during(|_| {
        (0..200).for_each(reload);
        let early = world.sidecar.process().memory();
        (200..1000).for_each(reload);
        (early, world.sidecar.process().memory())
    });
    check_answered(&asked, &[200]);
    let scrape = world.scrape();
    assert!(reloads(&scrape, "success") >= 900.0 && reloads(&scrape, "failure") >= 100.0);
    // Eleven rules are some 10 KiB: had 800 sets been kept, it would be 8 MiB.
    assert!(late < early + (3 << 20), "from {} to {} KiB in 800 reloads", early / 1024, late / 1024);
    assert!(!rule_in_force(&world).is_empty());
    eprintln!(
        "{} requests beside 1,000 reloads, 0 lost; {} then {} KiB",
        asked.len(),
        early / 1024,
        late / 1024
    );
}
