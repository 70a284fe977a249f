//! Files change under a running set.

use super::*;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

fn at(seconds: u64) -> Moment {
    Moment::new(seconds * 1_000_000, seconds * 1_000_000_000)
}

fn rules(rules: &[&str]) -> String {
    let rules: String = rules.iter().map(|rule| format!("  - {{ {rule} }}\n")).collect();
    format!("rules_version: 1\nrules:\n{rules}")
}

fn one(rate: &str) -> String {
    rules(&[&format!("name: api, priority: 1, reservoir: 1, rate: {rate}")])
}

/// Rules at `rules.yaml` in a directory of their own.
fn start(text: &str) -> (TempDir, PathBuf, Arc<LiveRules>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rules.yaml");
    fs::write(&path, text).unwrap();
    let live = LiveRules::start(RulesSource::Path(path.clone()), at(1)).unwrap();
    (directory, path, live)
}

fn rate(live: &LiveRules) -> f64 {
    live.current().iter().next().unwrap().rate.get()
}

#[track_caller]
fn check_swapped(live: &LiveRules, expected: &str) {
    match live.poll(at(9)) {
        Reloaded::Swapped(change) => {
            let told = change.to_string();
            let (_, told) = told.split_once(": ").unwrap();
            assert_eq!(told, expected);
            assert_eq!(live.hash(), change.new_hash);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(live.poll(at(9)), Reloaded::Unchanged);
}

/// The set stays, the problem is told once, and again to whoever asks.
#[track_caller]
fn check_kept(live: &LiveRules, path: &Path, expected: &str) {
    let (hash, failures) = (live.hash(), live.reloads().failures);
    let expected = format!("{}{expected}", path.display());
    match live.poll(at(9)) {
        Reloaded::Kept(problems) => assert_eq!(problems.first_line(), expected),
        other => panic!("{other:?}"),
    }
    assert_eq!(live.poll(at(9)), Reloaded::Unchanged, "told once");
    assert!(matches!(live.reload(at(9)), Reloaded::Kept(_)), "and again to whoever asks");
    let reloads = live.reloads();
    assert_eq!((reloads.failures, reloads.last_succeeded), (failures + 2, false));
    assert_eq!(reloads.last_error, Some(expected));
    assert_eq!(live.hash(), hash);
}

#[test]
fn a_file_edited_in_place_is_taken_over() {
    let (_directory, path, live) = start(&one("20%"));
    assert_eq!(live.poll(at(2)), Reloaded::Unchanged);
    fs::write(&path, one("50%")).unwrap();
    check_swapped(&live, "~api rate 20% → 50%");
    assert_eq!(rate(&live), 0.5);
    let reloads = live.reloads();
    assert_eq!((reloads.successes, reloads.last_success_epoch, reloads.last_succeeded), (1, 9, true));
    assert_eq!((live.source(), live.files()), (path.display().to_string(), 1));
}

#[test]
fn a_file_renamed_over_is_taken_over() {
    let (directory, path, live) = start(&one("20%"));
    let beside = directory.path().join("rules.yaml.new");
    fs::write(&beside, one("50%")).unwrap();
    fs::rename(&beside, &path).unwrap();
    check_swapped(&live, "~api rate 20% → 50%");
}

#[test]
fn a_config_map_swapped_by_its_data_link_is_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let in_directory = |name: &str| directory.path().join(name);
    for (version, rate) in [("..2026_a", "20%"), ("..2026_b", "50%")] {
        fs::create_dir(in_directory(version)).unwrap();
        fs::write(in_directory(version).join("rules.yaml"), one(rate)).unwrap();
    }
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, in_directory(name)).unwrap();
    link("..2026_a", "..data");
    link("..data/rules.yaml", "rules.yaml");
    let live = LiveRules::start(RulesSource::Path(directory.path().into()), at(1)).unwrap();
    assert_eq!(live.poll(at(2)), Reloaded::Unchanged);
    link("..2026_b", "..data_tmp");
    fs::rename(in_directory("..data_tmp"), in_directory("..data")).unwrap();
    fs::remove_dir_all(in_directory("..2026_a")).unwrap();
    check_swapped(&live, "~api rate 20% → 50%");
}

#[test]
fn files_that_come_and_go_are_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.yaml"), rules(&["name: a, priority: 1, rate: 0"])).unwrap();
    let live = LiveRules::start(RulesSource::Path(directory.path().into()), at(1)).unwrap();
    fs::write(directory.path().join("b.yaml"), rules(&["name: b, priority: 1, rate: 0"])).unwrap();
    check_swapped(&live, "+b");
    assert_eq!(live.files(), 2);
    fs::remove_file(directory.path().join("a.yaml")).unwrap();
    check_swapped(&live, "−a");
    fs::rename(directory.path().join("b.yaml"), directory.path().join("c.yaml")).unwrap();
    check_swapped(&live, "no rule changed");
    fs::remove_file(directory.path().join("c.yaml")).unwrap();
    check_kept(
        &live,
        directory.path(),
        ": the directory has no rule files; put a *.yaml, *.yml or *.json file there; dot files and *.test.yaml do not count",
    );
}

#[test]
fn wrong_files_keep_the_old_set_and_heal() {
    let (_directory, path, live) = start(&one("20%"));
    fs::write(&path, one("5")).unwrap();
    check_kept(
        &live,
        &path,
        ":3:51: rate 5 is above 1; X-Ray's API takes 0–1, its console takes percent; did you mean 5% (0.05)?",
    );
    let half = &one("50%")[..25];
    fs::write(&path, half).unwrap();
    assert!(matches!(live.poll(at(9)), Reloaded::Kept(_)), "half-written");
    fs::write(&path, one("50%")).unwrap();
    check_swapped(&live, "~api rate 20% → 50%");
    assert_eq!(live.reloads().last_error, None);
    fs::write(&path, "").unwrap();
    check_kept(&live, &path, ":1:1: the file is empty; begin the file with `rules_version: 1`");
    fs::write(&path, one("50%")).unwrap();
    check_swapped(&live, "no rule changed");
    assert!(live.reloads().last_succeeded);
}

#[test]
fn missing_and_unreadable_files_keep_the_old_set() {
    let (_directory, path, live) = start(&one("20%"));
    fs::remove_file(&path).unwrap();
    check_kept(&live, &path, ": there is no such file or directory; check the setting `rules` and the mount");
    fs::create_dir(&path).unwrap();
    check_kept(
        &live,
        &path,
        ": the directory has no rule files; put a *.yaml, *.yml or *.json file there; dot files and *.test.yaml do not count",
    );
    fs::remove_dir(&path).unwrap();
    fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
    check_kept(&live, &path, ":1:1: the file is larger than 1 MiB; split it into several files");
    fs::write(&path, b"rules_version: 1\n\xff").unwrap();
    check_kept(&live, &path, ":2:1: the text is not UTF-8 from here on; save the file as UTF-8");
    fs::write(&path, one("20%")).unwrap();
    check_swapped(&live, "no rule changed");
}

#[test]
fn start_refuses_wrong_rules() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none.yaml");
    let problems = LiveRules::start(RulesSource::Path(path.clone()), at(1)).unwrap_err();
    assert!(problems.first_line().starts_with(&path.display().to_string()), "{problems}");
}

#[test]
fn rules_without_files_never_change() {
    for (source, text, rate) in
        [(RulesSource::BuiltIn, "built-in", 0.05), (RulesSource::SampleAll, "sample-all", 1.0)]
    {
        let live = LiveRules::start(source, at(1)).unwrap();
        assert_eq!((live.source().as_str(), live.files()), (text, 0));
        assert_eq!(live.poll(at(2)), Reloaded::Unchanged);
        assert_eq!(live.reload(at(2)), Reloaded::Unchanged);
        assert_eq!(live.current().default_rule().rate.get(), rate);
        assert_eq!(live.reloads().successes, 1);
    }
}

#[test]
fn reservoirs_and_counts_survive_also_of_rules_that_leave_and_return() {
    let (_directory, path, live) = start(&one("0"));
    let take = |second: u64| {
        let current = live.current();
        let rule = current.iter().next().unwrap();
        let taken = rule.state.reservoir.take(rule.reservoir, at(second));
        if taken {
            rule.state.by_reservoir.increment();
        }
        taken
    };
    assert!(take(5));
    fs::write(&path, one("1%")).unwrap();
    check_swapped(&live, "~api rate 0% → 1%");
    assert!(!take(5), "a reload hands out no second burst");
    fs::write(&path, rules(&["name: other, priority: 1, reservoir: 9, rate: 0"])).unwrap();
    check_swapped(&live, "+other, −api");
    let states: Vec<(String, u64)> =
        live.states().iter().map(|(name, state)| (name.to_string(), state.by_reservoir.get())).collect();
    assert_eq!(states, [("other".into(), 0), ("Default".into(), 0), ("api".into(), 1)]);
    fs::write(&path, one("1%")).unwrap();
    check_swapped(&live, "+api, −other");
    assert!(!take(5), "nor does a rule that was away");
    assert!(take(6));
    assert_eq!(live.states()[0].1.by_reservoir.get(), 2);
}

#[test]
fn a_worker_sees_a_swap_through_its_own_cache() {
    let (_directory, path, live) = start(&one("20%"));
    let mut cache = arc_swap::Cache::new(live.shared());
    assert_eq!(cache.load().iter().next().unwrap().rate.get(), 0.2);
    fs::write(&path, one("50%")).unwrap();
    check_swapped(&live, "~api rate 20% → 50%");
    assert_eq!(cache.load().iter().next().unwrap().rate.get(), 0.5);
}

#[test]
fn states_are_bounded_and_the_longest_gone_are_forgotten() {
    let (_directory, path, live) = start(&one("0"));
    for generation in 0..5 {
        let names: Vec<String> =
            (0..900).map(|n| format!("name: g{generation}-{n}, priority: 1, rate: 0")).collect();
        fs::write(&path, rules(&names.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
        assert!(matches!(live.poll(at(9)), Reloaded::Swapped(_)));
    }
    let states = live.states();
    assert_eq!(states.len(), MAX_STATES);
    let of =
        |generation: &str| states.iter().filter(|(name, _)| name.as_str().starts_with(generation)).count();
    assert_eq!((of("g4-"), of("g3-"), of("g2-"), of("g1-")), (900, 900, 199, 0));
}

#[test]
fn a_change_is_told_field_by_field_and_stays_one_line() {
    let set = |text: &str| rules::from_sources(vec![("r.yaml".into(), text.into())]).unwrap().rules;
    let old = set(&rules(&[
        "name: checkout, priority: 1, rate: 20%, host: a",
        "name: legacy, priority: 2, rate: 0",
        "name: same, priority: 3, rate: 0, attributes: { x: a, y: b }",
    ]));
    let new = set(&format!(
        "{}default: {{ reservoir: 2, rate: 5% }}\n",
        rules(&[
            "name: checkout, priority: 7, rate: 50%, host: [a, b], attributes: { x: y }",
            "name: static, priority: 2, rate: 0",
            "name: same, priority: 3, rate: 0, attributes: { y: b, x: a }",
        ])
    ));
    let change = Change::between(&old, &new);
    assert_eq!(
        change.to_string(),
        format!(
            "rules {} → {}: ~checkout priority 1 → 7 and rate 20% → 50% and host \"a\" → \"a\" | \"b\" and \
             attributes {{}} → {{x: \"y\"}}, ~Default reservoir 1 → 2, +static, −legacy",
            old.hash(),
            new.hash()
        )
    );
    let old = set(&rules(&["name: a, priority: 1, rate: 0, capture: { status: [5xx, 429], limit: 2/s }"]));
    let new = set(&rules(&["name: a, priority: 1, rate: 0, mode: observe, expires: 2028-02-29T23:59:58Z"]));
    assert_eq!(
        Change::between(&old, &new).rules,
        [
            "~a mode enforce → observe and expires never → 2028-02-29T23:59:58Z and capture status 500–599, 429, at most \
          2/s → none"
        ]
    );
    let many: Vec<String> = (0..30).map(|n| format!("name: r{n}, priority: 1, rate: 0")).collect();
    let many = set(&rules(&many.iter().map(String::as_str).collect::<Vec<_>>()));
    let told = Change::between(&RuleSet::built_in(), &many).to_string();
    assert!(told.ends_with(" and 10 more"), "{told}");
}

#[test]
fn a_directory_swapped_while_being_read_is_read_again() {
    let source = |text: &str| Source { path: "r.yaml".into(), bytes: text.as_bytes().to_vec() };
    let readings = std::cell::RefCell::new(vec![source("new"), source("new"), source("mixed")]);
    let read = || Ok(vec![readings.borrow_mut().pop().unwrap()]);
    let (got, _) = read_settled(read, fingerprint, &Fingerprint::of(&()));
    assert_eq!(got.unwrap()[0].bytes, b"new");
}

#[test]
fn what_came_of_the_last_look_is_told_while_the_next_one_lasts() {
    let live = LiveRules::start(RulesSource::BuiltIn, at(1)).unwrap();
    let _looking = lock(&live.seen);
    assert!(live.reloads().last_succeeded);
    assert_eq!(live.files(), 0);
}
