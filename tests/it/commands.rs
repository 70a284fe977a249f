//! What the commands about rules print, word for word: the pages of `tests/cmd` are run, so that they cannot drift.
//!
//! After a change that is meant, `TRYCMD=overwrite` writes the pages anew; read the difference.

/// Each page has its files in a directory of its name, and runs there.
#[test]
fn the_pages_of_the_commands_say_what_they_print() {
    trycmd::TestCases::new()
        .register_bin("collimator", std::path::Path::new(env!("CARGO_BIN_EXE_collimator")))
        .env("HOSTNAME", "here")
        .insert_var("[VERSION]", env!("CARGO_PKG_VERSION"))
        .unwrap()
        .case("tests/cmd/*.md");
}
