//! Changing the rules while requests pass: every way a file can change, and every way a change can be wrong.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::support::client::{Client, Request};
use crate::support::scrape::Scrape;
use crate::support::world::World;
use crate::support::{RaiseOnPanic, eventually, most_in};

/// Rules of one rule that records everything under this name.
pub(crate) fn named(name: &str) -> String {
    format!("rules_version: 1\nrules:\n  - {{ name: {name}, priority: 1, reservoir: 0, rate: 1 }}\n")
}

/// The rule that decides about a request now.
#[track_caller]
pub(crate) fn rule_in_force(world: &World) -> String {
    let document = world.record(&Request::get("/"));
    document["aws"]["xray"]["sampling_rule_name"].as_str().unwrap_or_default().to_owned()
}

#[track_caller]
fn check_in_force_soon(world: &World, rule: &str) {
    eventually(&format!("{rule} is in force"), || rule_in_force(world) == rule);
}

pub(crate) fn reloads(scrape: &Scrape, result: &str) -> f64 {
    scrape.sum("collimator_rules_reload_total", &[("result", result)])
}

/// Spoils the rules; the set in force must stay, the failure be counted, and a good file bring things right.
#[track_caller]
pub(crate) fn check_survives(spoil: impl FnOnce(&Path)) {
    let world = World::ruled(&named("good"));
    let path = world.sidecar.path("rules.yaml");
    let before = reloads(&world.scrape(), "failure");
    spoil(&path);
    let scrape = world.sidecar.scrape_until("the failure is counted", |s| reloads(s, "failure") > before);
    assert_eq!(scrape.value("collimator_rules_last_reload_success", &[]), Some(0.0));
    assert_eq!(rule_in_force(&world), "good");
    assert_eq!(world.sidecar.side("GET", "/readyz").status, 200, "old rules are rules");

    if path.is_dir() {
        std::fs::remove_dir_all(&path).unwrap();
    }
    replace(&path, &named("better"));
    check_in_force_soon(&world, "better");
    assert_eq!(world.scrape().value("collimator_rules_last_reload_success", &[]), Some(1.0));
}

/// Writes beside the file and renames over it, as editors and careful programs do.
pub(crate) fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, path).unwrap();
}

#[test]
fn a_file_edited_in_place_is_in_force_soon() {
    let world = World::ruled(&named("first"));
    assert_eq!(rule_in_force(&world), "first");
    std::fs::write(world.sidecar.path("rules.yaml"), named("second")).unwrap();
    check_in_force_soon(&world, "second");
}

#[test]
fn a_file_renamed_over_is_in_force_soon() {
    let world = World::ruled(&named("first"));
    replace(&world.sidecar.path("rules.yaml"), &named("second"));
    check_in_force_soon(&world, "second");
    // The second time the watched inode is another one than at the start.
    replace(&world.sidecar.path("rules.yaml"), &named("third"));
    check_in_force_soon(&world, "third");
}

#[test]
fn an_edit_of_the_same_length_and_time_is_seen() {
    let world = World::ruled(&named("first"));
    let path = world.sidecar.path("rules.yaml");
    let time = std::fs::metadata(&path).unwrap().modified().unwrap();
    std::fs::write(&path, named("furst")).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    check_in_force_soon(&world, "furst");
}

/// Lays a volume out as the kubelet does: real files in a dated directory, `..data` pointing to it, and the
/// visible name pointing through `..data`.
fn mount(volume: &Path, generation: &str, text: &str) {
    std::fs::create_dir_all(volume.join(generation)).unwrap();
    std::fs::write(volume.join(generation).join("rules.yaml"), text).unwrap();
    symlink(generation, volume.join("..data_tmp")).unwrap();
    std::fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    if !volume.join("rules.yaml").exists() {
        symlink("..data/rules.yaml", volume.join("rules.yaml")).unwrap();
    }
}

#[track_caller]
fn check_config_map_swap(rules: &str) {
    let world = World::start(|options| {
        mount(&options.directory().join("volume"), "..2026_01", &named("first"));
        options.args(&["--rules", rules])
    });
    assert_eq!(rule_in_force(&world), "first");
    let volume = world.sidecar.path("volume");
    for (generation, old, name) in [("..2026_02", "..2026_01", "second"), ("..2026_03", "..2026_02", "third")]
    {
        mount(&volume, generation, &named(name));
        std::fs::remove_dir_all(volume.join(old)).unwrap();
        check_in_force_soon(&world, name);
    }
}

#[test]
fn a_config_map_swap_under_a_file_is_in_force_soon() {
    check_config_map_swap("volume/rules.yaml");
}

#[test]
fn a_config_map_swap_under_a_directory_is_in_force_soon() {
    check_config_map_swap("volume");
}

#[test]
fn files_come_and_go_in_a_rules_directory() {
    let world = World::start(|options| {
        std::fs::create_dir(options.directory().join("rules")).unwrap();
        let late = named("late").replace("priority: 1", "priority: 9");
        options.file("rules/20-late.yaml", late).args(&["--rules", "rules"])
    });
    assert_eq!(rule_in_force(&world), "late");
    let early = world.sidecar.path("rules/10-early.yaml");
    std::fs::write(&early, named("early")).unwrap();
    check_in_force_soon(&world, "early");
    std::fs::remove_file(&early).unwrap();
    check_in_force_soon(&world, "late");
}

#[test]
fn a_hangup_reloads_also_what_did_not_change() {
    let world = World::ruled(&named("first"));
    let before = reloads(&world.scrape(), "success");
    world.sidecar.signal("HUP");
    world.sidecar.scrape_until("the reload is counted", |scrape| reloads(scrape, "success") > before);
    assert_eq!(rule_in_force(&world), "first");
}

#[test]
fn a_post_to_reload_answers_when_the_new_rules_are_in_force() {
    let world = World::ruled(&named("first"));
    std::fs::write(world.sidecar.path("rules.yaml"), named("second")).unwrap();
    let response = world.sidecar.admin("POST", "/reload");
    assert!((200..300).contains(&response.status), "{}: {}", response.status, response.text());
    assert_eq!(rule_in_force(&world), "second");
    assert_eq!(world.scrape().value("collimator_rules_last_reload_success", &[]), Some(1.0));
}

#[test]
fn a_post_to_reload_of_broken_rules_says_where_they_are_broken() {
    let world = World::ruled(&named("first"));
    std::fs::write(world.sidecar.path("rules.yaml"), named("second").replace("rate: 1", "rate: 5")).unwrap();
    let response = world.sidecar.admin("POST", "/reload");
    assert!(response.status >= 400, "{}: {}", response.status, response.text());
    assert!(response.text().contains("rules.yaml:3:"), "{}", response.text());
    assert_eq!(rule_in_force(&world), "first");
}

#[test]
fn a_rate_that_is_no_rate_keeps_the_old_rules() {
    check_survives(|path| std::fs::write(path, named("bad").replace("rate: 1", "rate: 5")).unwrap());
}

#[test]
fn text_that_is_no_yaml_keeps_the_old_rules() {
    check_survives(|path| std::fs::write(path, "rules_version: 1\nrules: [ {").unwrap());
}

#[test]
fn half_a_file_keeps_the_old_rules() {
    let whole = named("bad");
    check_survives(move |path| std::fs::write(path, &whole[..whole.len() - 12]).unwrap());
}

#[test]
fn an_empty_file_keeps_the_old_rules() {
    check_survives(|path| std::fs::write(path, "").unwrap());
}

#[test]
fn a_deleted_file_keeps_the_old_rules() {
    check_survives(|path| std::fs::remove_file(path).unwrap());
}

#[test]
fn a_directory_in_place_of_the_file_keeps_the_old_rules() {
    // An empty directory is a rules path that says nothing, which nobody means by it.
    check_survives(|path| {
        std::fs::remove_file(path).unwrap();
        std::fs::create_dir(path).unwrap();
    });
}

#[test]
fn a_file_of_ten_mebibytes_keeps_the_old_rules() {
    check_survives(|path| {
        let filler = "# a comment that goes on and on\n".repeat(10 * 1024 * 1024 / 32);
        std::fs::write(path, named("bad") + &filler).unwrap();
    });
}

#[test]
fn bytes_that_are_not_utf8_keep_the_old_rules() {
    check_survives(|path| std::fs::write(path, [0xff, 0xfe, 0x00, 0x80]).unwrap());
}

/// A good rule before a bad one: neither may come into force.
#[track_caller]
pub(crate) fn check_nothing_half_loaded() {
    check_survives(|path| {
        let bad = "  - { name: other, priority: 2, rate: many }\n";
        std::fs::write(path, named("half") + bad).unwrap();
    });
}

#[test]
fn a_good_rule_before_a_bad_one_does_not_come_into_force() {
    check_nothing_half_loaded();
}

/// Ten reloads within one burst: had the reservoir been refilled by each, eleven times as many would be kept.
#[track_caller]
pub(crate) fn check_reservoir_survives_reloads() {
    const PER_SECOND: u64 = 5;
    let rules = |description: &str| {
        let rule = format!("name: kept, priority: 1, reservoir: {PER_SECOND}, rate: 0");
        format!("rules_version: 1\nrules:\n  - {{ {rule}, description: {description} }}\n")
    };
    let world = World::ruled(&rules("d0"));
    let start = Instant::now();
    for reload in 1..=10 {
        world.burst(10, &Request::get("/"));
        std::fs::write(world.sidecar.path("rules.yaml"), rules(&format!("d{reload}"))).unwrap();
        assert!(world.sidecar.admin("POST", "/reload").status < 300);
    }
    world.burst(10, &Request::get("/"));
    let most = most_in(start.elapsed(), PER_SECOND) as f64;
    let scrape = world.scrape();
    let kept = scrape.decisions_of("kept", "reservoir");
    assert!((PER_SECOND as f64..=most).contains(&kept), "{kept} kept, at most {most} expected");
    let decided = kept + scrape.decisions_of("kept", "dropped");
    assert_eq!(decided, 110.0, "counters survive reloads");
}

#[test]
fn reservoir_and_counters_of_a_rule_survive_reloads_by_its_name() {
    check_reservoir_survives_reloads();
}

#[test]
fn reloads_under_load_fail_no_request() {
    let world = World::ruled(&named("first"));
    let done = AtomicBool::new(false);
    let (done, world) = (&done, &world);
    let n_requests = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(move || {
                    let mut client = Client::connect(world.sidecar.listen);
                    let mut n_sent = 0;
                    while !done.load(Ordering::Relaxed) {
                        assert_eq!(client.send(&Request::get("/")).status, 200);
                        n_sent += 1;
                    }
                    n_sent
                })
            })
            .collect();
        let _raise = RaiseOnPanic(done);
        for reload in 0..40 {
            let text = if reload % 2 == 0 { named(&format!("n{reload}")) } else { "broken: [".to_owned() };
            replace(&world.sidecar.path("rules.yaml"), &text);
            world.sidecar.admin("POST", "/reload");
        }
        done.store(true, Ordering::Relaxed);
        senders.into_iter().map(|sender| sender.join().unwrap()).sum::<usize>()
    });
    assert!(n_requests > 40, "only {n_requests} requests were sent beside the reloads");
    let scrape = world.scrape();
    assert!(reloads(&scrape, "success") >= 20.0 && reloads(&scrape, "failure") >= 20.0, "{}", scrape.text);
}

#[test]
fn with_a_fallback_broken_rules_start_built_in_and_heal() {
    let mut world =
        World::start(|options| options.rules("rules_version: 7\n").args(&["--rules-fallback", "default"]));
    let scrape = world.scrape();
    assert_eq!(scrape.value("collimator_rules_last_reload_success", &[]), Some(0.0));
    assert_eq!(
        (reloads(&scrape, "success"), reloads(&scrape, "failure")),
        (0.0, 0.0),
        "starting is no reload"
    );
    assert_eq!(scrape.sum("collimator_rules_info", &[("source", "built-in")]), 1.0);
    assert_eq!(world.sidecar.side("GET", "/readyz").status, 200);
    let told = world.sidecar.admin("GET", "/rules").json();
    assert_eq!((&told["count"], &told["list"][0]["rate"]), (&0.into(), &0.05.into()));
    assert!(told["last_error"].as_str().unwrap().contains("rules.yaml:1:16"), "{told}");
    assert_eq!(rule_in_force(&world), "Default");

    replace(&world.sidecar.path("rules.yaml"), &named("good"));
    eventually("the mended rules are in force", || {
        world.sidecar.admin("GET", "/rules").json()["list"][0]["name"] == "good"
    });
    assert_eq!(rule_in_force(&world), "good");
    let scrape = world.scrape();
    assert_eq!(scrape.value("collimator_rules_last_reload_success", &[]), Some(1.0));
    assert_eq!((reloads(&scrape, "success"), reloads(&scrape, "failure")), (1.0, 0.0));
    let exit = world.sidecar.stop();
    assert!(exit.stderr.contains("the built-in ones are in force"), "{}", exit.stderr);
}
