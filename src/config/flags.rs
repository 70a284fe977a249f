//! What was typed after `run`, made from the table of settings.

use super::table::{CONFIG_FLAG, Form, SETTINGS, variable_of};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::collections::BTreeMap;

/// The flags of `run`, as typed; what they mean is `Settings`'s business.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFlags {
    values: BTreeMap<String, Vec<String>>,
}

impl RunFlags {
    /// No flags.
    pub fn new() -> RunFlags {
        RunFlags::default()
    }

    /// As if `--flag value` had been typed too. A switch has the value `true`.
    #[must_use]
    pub fn with(mut self, flag: &str, value: &str) -> RunFlags {
        self.values.entry(flag.to_owned()).or_default().push(value.to_owned());
        self
    }

    /// What was typed for a flag, without its dashes; empty if it was not.
    pub(super) fn get(&self, flag: &str) -> &[String] {
        self.values.get(flag).map_or(&[], Vec::as_slice)
    }
}

const AFTER_HELP: &str = "\
Examples:
  collimator run --upstream http://127.0.0.1:8080
  collimator run --upstream http://127.0.0.1:8080 --rules rules/ --sink store --sink udp://127.0.0.1:2000
  collimator run --config collimator.yaml --log-level debug

Each setting may come from a flag, from a variable (COLLIMATOR_ and the flag's name: COLLIMATOR_DRAIN_DELAY) or from
the settings file; the flag is stronger than the variable, and the variable than the file. Durations are written
200ms, 1.5s, 2m. `--help` tells each setting's variable and key.";

impl clap::Args for RunFlags {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new(CONFIG_FLAG)
            .long(CONFIG_FLAG)
            .value_name("FILE")
            .help("The settings file, YAML; read at start, and again on SIGHUP and POST /reload")
            .long_help(format!(
                "The settings file, YAML; read at start, and again on SIGHUP and POST /reload\n[default: none] [variable: {}]",
                variable_of(CONFIG_FLAG)
            ));
        SETTINGS.iter().fold(command.arg(config).after_help(AFTER_HELP), |command, setting| {
            let arg = Arg::new(setting.flag)
                .long(setting.flag)
                .help(format!("{} [default: {}]", setting.help, setting.default))
                .long_help(format!(
                    "{}\n[default: {}] [variable: {}] [file: {}]",
                    setting.help,
                    setting.default,
                    setting.variable(),
                    setting.key
                ));
            command.arg(match setting.form {
                Form::One => arg.value_name(setting.value_name),
                Form::Switch => arg.action(ArgAction::SetTrue),
                Form::List => arg.value_name(setting.value_name).action(ArgAction::Append),
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        RunFlags::augment_args(command)
    }
}

impl clap::FromArgMatches for RunFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<RunFlags, clap::Error> {
        let mut flags = RunFlags::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for (flag, form) in
            SETTINGS.iter().map(|setting| (setting.flag, setting.form)).chain([(CONFIG_FLAG, Form::One)])
        {
            let values: Vec<String> = match form {
                Form::Switch => matches.get_flag(flag).then(|| "true".to_owned()).into_iter().collect(),
                _ => matches.get_many::<String>(flag).into_iter().flatten().cloned().collect(),
            };
            if !values.is_empty() {
                self.values.insert(flag.to_owned(), values);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, FromArgMatches};

    fn parse(arguments: &[&str]) -> Result<RunFlags, clap::Error> {
        let command = RunFlags::augment_args(Command::new("run"));
        RunFlags::from_arg_matches(&command.try_get_matches_from([&["run"], arguments].concat())?)
    }

    #[test]
    fn flags_are_what_was_typed() {
        assert_eq!(parse(&[]).unwrap(), RunFlags::new());
        let typed = [
            "--upstream",
            "http://a:1",
            "--sink",
            "store",
            "--sink=stdout",
            "--sample-all",
            "--config",
            "c.yaml",
        ];
        let expected = RunFlags::new()
            .with("upstream", "http://a:1")
            .with("sink", "store")
            .with("sink", "stdout")
            .with("sample-all", "true")
            .with("config", "c.yaml");
        assert_eq!(parse(&typed).unwrap(), expected);
        assert!(parse(&["--upstrem", "x"]).is_err());
        assert!(parse(&["--listen", "a", "--listen", "b"]).is_err(), "one value, once");
    }

    #[test]
    fn help_names_every_flag_variable_key_and_default() {
        let help = RunFlags::augment_args(Command::new("run")).render_long_help().to_string();
        for setting in SETTINGS {
            let line = format!(
                "[default: {}] [variable: {}] [file: {}]",
                setting.default,
                setting.variable(),
                setting.key
            );
            assert!(help.contains(&format!("--{}", setting.flag)), "{help}");
            let unwrapped = help.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(unwrapped.contains(&line), "{line}\n{help}");
        }
        assert!(help.contains("collimator run --upstream http://127.0.0.1:8080\n"), "{help}");
        RunFlags::augment_args(Command::new("run")).debug_assert();
    }
}
