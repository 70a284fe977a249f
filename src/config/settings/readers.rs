//! How the strongest of several sources becomes a setting's value.

use super::super::gather::{Gather, Given, Source, Sourced};
use super::super::problem::{Problem, Severity};
use super::super::reload::RulesSource;
use super::super::rules;
use super::super::table::{self, Setting};
use super::super::values::{self, Destination, Scheme, Target, Wrong};
use super::{MISSING, OVERRIDDEN};
use crate::sampling::trust::TrustPolicy;
use std::time::Duration;

/// The most sinks; each has a queue and series of its own.
const MOST_SINKS: usize = 16;

impl Gather<'_> {
    /// A setting that may be left out.
    pub(super) fn one<T>(
        &mut self,
        setting: &'static Setting,
        read: impl Fn(&str) -> Result<T, Wrong>,
        default: impl FnOnce() -> T,
    ) -> Sourced<T> {
        self.given(setting, |given| match given {
            [.., last] => read(&last.text).map_err(|wrong| (given.len() - 1, wrong)),
            [] => Err((0, Wrong::new("there is no value", "write one"))),
        })
        .unwrap_or_else(|| Sourced { value: default(), source: Source::Default })
    }

    pub(super) fn duration(
        &mut self,
        setting: &'static Setting,
        least: Duration,
        most: Duration,
        default: Duration,
    ) -> Sourced<Duration> {
        self.one(setting, |text| values::duration(text, least..=most), || default)
    }

    /// Reads everything that was said, tells what is wrong with it, and gives the strongest.
    fn given<T>(
        &mut self,
        setting: &'static Setting,
        read: impl Fn(&[Given]) -> Result<T, (usize, Wrong)>,
    ) -> Option<Sourced<T>> {
        let mut strongest = None;
        for said in self.said(setting) {
            match read(&said.given) {
                Ok(value) if strongest.is_none() => strongest = Some(Sourced { value, source: said.source }),
                Ok(_) => {}
                Err((index, wrong)) => self.error(&said, index, wrong),
            }
        }
        strongest
    }

    pub(super) fn upstream(&mut self) -> Sourced<Target> {
        let n_problems = self.problems.len();
        let nobody = Target { scheme: Scheme::Http, host: String::new(), port: 0 };
        let upstream = self.one(&table::UPSTREAM, values::target, || nobody);
        if upstream.source == Source::Default && self.problems.len() == n_problems {
            let problem = Problem::at_name(MISSING, "upstream", "the address of the application is missing").hint(
                "give it with --upstream http://127.0.0.1:8080, COLLIMATOR_UPSTREAM, or `upstream:` in the settings file",
            );
            self.problems.push(problem);
        }
        upstream
    }

    pub(super) fn service_name(&mut self) -> Sourced<String> {
        let host_name = self.host_name();
        let mut name = self.one(&table::SERVICE_NAME, values::name, || "collimator".to_owned());
        if let (Source::Default, Some(host_name)) = (&name.source, host_name) {
            name = Sourced { value: host_name, source: Source::HostName };
        }
        name
    }

    pub(super) fn trust(&mut self) -> Sourced<TrustPolicy> {
        let read = |given: &[Given]| {
            let all: Vec<&str> = given.iter().map(|given| given.text.as_str()).collect();
            all.join(",").parse::<TrustPolicy>().map_err(|bad| {
                let index = all.iter().position(|part| *part == bad.0);
                let hint = match index {
                    Some(_) => "write for example internal, or 10.0.0.0/8,192.168.0.0/16,5/s",
                    None => "a word cannot stand beside networks",
                };
                (index.unwrap_or(0), Wrong::new(bad.to_string(), hint))
            })
        };
        let default = Sourced { value: TrustPolicy::default(), source: Source::Default };
        self.given(&table::TRUST, read).unwrap_or(default)
    }

    /// A path, the rules themselves, or what App Mesh's variables say: a file, or the rate of the default.
    pub(super) fn rules(&mut self) -> Sourced<RulesSource> {
        let mut strongest: Option<Sourced<RulesSource>> = None;
        for said in self.said(&table::RULES) {
            let text = said.given.last().map(|given| given.text.clone()).unwrap_or_default();
            let read = match &said.source {
                Source::Variable(name) if name == rules::INLINE => {
                    rules::inline::unpack(self.verbatim(name).unwrap_or_default())
                        .map(|text| RulesSource::Inline(text.into()))
                        .map_err(|bad| Wrong::new(bad.message, bad.hint))
                }
                Source::WellKnown(rules::RATE_VARIABLE) => rules::rate::parse(&text)
                    .map(RulesSource::Rate)
                    .map_err(|bad| Wrong::new(bad.message, bad.hint)),
                _ => values::path(&text).map(RulesSource::Path),
            };
            match read {
                Ok(value) => match &strongest {
                    None => strongest = Some(Sourced { value, source: said.source }),
                    Some(Sourced { source: Source::WellKnown(variable), .. }) => {
                        let stronger = "COLLIMATOR_RULES";
                        self.overridden(&table::RULES, variable, stronger, &said.source);
                    }
                    Some(_) => {}
                },
                Err(wrong) => self.error(&said, said.given.len() - 1, wrong),
            }
        }
        strongest.unwrap_or(Sourced { value: RulesSource::BuiltIn, source: Source::Default })
    }

    /// Warns of a variable, set for others, that hides what the file says.
    fn overridden(&mut self, setting: &'static Setting, variable: &str, stronger: &str, file: &Source) {
        let message = format!("`{}` is overridden by the variable {variable}", setting.key);
        let hint = format!("a variable is stronger than the file; set {stronger} to be stronger than both");
        let problem = Problem::at_name(OVERRIDDEN, &file.to_string(), message).hint(hint);
        self.warnings.push(problem.severity(Severity::Warning));
    }

    /// The daemon's variable says `udp` beside the store; everything else says what it says.
    pub(super) fn sinks(&mut self) -> Sourced<Vec<Destination>> {
        let mut strongest: Option<Sourced<Vec<Destination>>> = None;
        for said in self.said(&table::SINKS) {
            let read = match &said.source {
                Source::WellKnown(_) => match said.given.first() {
                    Some(given) => values::daemon_address(&given.text)
                        .map(|address| vec![Destination::Store, Destination::Udp(address)])
                        .map_err(|wrong| (0, wrong)),
                    None => continue,
                },
                _ => destinations(&said.given),
            };
            match read {
                Ok(value) => match &strongest {
                    None => strongest = Some(Sourced { value, source: said.source }),
                    Some(Sourced { source: Source::WellKnown(variable), .. }) => {
                        self.overridden(&table::SINKS, variable, "COLLIMATOR_SINKS", &said.source);
                    }
                    Some(_) => {}
                },
                Err((index, wrong)) => self.error(&said, index, wrong),
            }
        }
        strongest.unwrap_or(Sourced { value: vec![Destination::Store], source: Source::Default })
    }
}

fn destinations(given: &[Given]) -> Result<Vec<Destination>, (usize, Wrong)> {
    let mut all = Vec::new();
    for (index, given) in given.iter().enumerate() {
        let destination = values::destination(&given.text).map_err(|wrong| (index, wrong))?;
        if all.contains(&destination) {
            let wrong = Wrong::new(format!("`{destination}` is there twice"), "name each sink once");
            return Err((index, wrong));
        }
        all.push(destination);
    }
    if let (Some(index), 2..) = (all.iter().position(|sink| *sink == Destination::None), all.len()) {
        return Err((
            index,
            Wrong::new("`none` stands beside other sinks", "remove it, or remove the others"),
        ));
    }
    if all.len() > MOST_SINKS {
        let wrong =
            Wrong::new(format!("these are {} sinks", all.len()), format!("name {MOST_SINKS} at most"));
        return Err((MOST_SINKS, wrong));
    }
    Ok(all)
}
