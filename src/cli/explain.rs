//! `collimator explain`: which rule decides a request, and why the others do not.

use super::{Exit, Format};
use crate::clock::Clock;
use crate::config::rules;
use crate::config::rules::places::Places;
use crate::config::{Environment, Problems, RulesSource, Settings};
use crate::explain::{BadRequest, Request, Service, explain};
use crate::fetch;
use crate::sampling::RuleSet;
use clap::Args;
use serde_json::{Map, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a running sidecar may take to answer.
const LIMIT: Duration = Duration::from_secs(5);

/// A request, and whose rules judge it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  collimator explain GET https://shop.example.com/api/state/42 --rules rules/ --service-name shop
  collimator explain POST /api/checkout/pay -H 'x-tenant: acme' --rules rules/ --format json
  collimator explain GET /cart --live http://127.0.0.1:9901

Nothing is counted and nothing is taken from a reservoir. A path without a host, and a service whose name or type is
not given, match any pattern.")]
pub(super) struct ExplainArgs {
    /// Such as GET
    #[arg(value_name = "METHOD")]
    method: String,
    /// An address, or a path if the host does not matter; the query is not looked at
    #[arg(value_name = "URL")]
    url: String,
    /// A header of the request, as 'name: value'; may be repeated
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// The value of X-Amzn-Trace-Id, such as 'Root=1-…;Sampled=0'
    #[arg(long, value_name = "VALUE")]
    header_trace: Option<String>,
    /// A rule file or a directory of them; else what the variables and the settings file say that `run` reads
    #[arg(long, value_name = "PATH", conflicts_with = "live")]
    rules: Option<PathBuf>,
    /// The service's name; else what the variables say that `run` reads
    #[arg(long, value_name = "NAME", conflicts_with = "live")]
    service_name: Option<String>,
    /// The service's type, such as AWS::ECS::Container
    #[arg(long, value_name = "TYPE", conflicts_with = "live")]
    service_type: Option<String>,
    /// Ask the running sidecar whose admin port this is, such as http://127.0.0.1:9901
    #[arg(long, value_name = "URL")]
    live: Option<String>,
    /// How the answer is told
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

pub(super) async fn run(arguments: &ExplainArgs) -> Exit {
    let request = match request(arguments) {
        Ok(request) => request,
        Err(error) => {
            eprintln!("error: {error}");
            return Exit::Usage;
        }
    };
    if let Some(address) = &arguments.live {
        return live(arguments, &request, address).await;
    }
    let environment = Environment::capture();
    let rules = match rules_of(arguments, &environment) {
        Ok(rules) => rules,
        Err(problems) => {
            eprintln!("{problems}");
            return Exit::Failure;
        }
    };
    let said = || Settings::beside(&environment).ok().filter(|settings| !settings.name_is_guessed());
    let name = arguments.service_name.clone().or_else(|| Some(said()?.service_name.value));
    let service = Service { name: name.as_deref(), kind: arguments.service_type.as_deref() };
    let now = Clock::start().now().epoch_seconds().into();
    // Where each field stands is not told here, and finding out takes as long as all the rest.
    let explanation = explain(&rules, &Places::default(), &request, service, now, None);
    super::print_result(&match arguments.format {
        Format::Text => explanation.text(),
        Format::Json => format!("{:#}\n", explanation.json()),
    });
    Exit::Success
}

fn request(arguments: &ExplainArgs) -> Result<Request, BadRequest> {
    let mut headers =
        arguments.headers.iter().map(|line| Request::header(line)).collect::<Result<Vec<_>, _>>()?;
    headers.extend(arguments.header_trace.iter().map(|value| ("x-amzn-trace-id".to_owned(), value.clone())));
    Request::new(&arguments.method, &arguments.url, headers)
}

/// The rules that `run` would take with this flag, these variables and the file that they name.
fn rules_of(arguments: &ExplainArgs, environment: &Environment) -> Result<RuleSet, Problems> {
    if let Some(path) = &arguments.rules {
        return Ok(rules::load(path)?.rules);
    }
    Ok(match Settings::beside(environment)?.rules_source() {
        RulesSource::Path(path) => rules::load(&path)?.rules,
        RulesSource::Inline(text) => rules::from_inline(&text)?.rules,
        RulesSource::Rate(rate) => rules::of_rate(rate),
        RulesSource::SampleAll => RuleSet::sample_all(),
        RulesSource::BuiltIn => RuleSet::built_in(),
    })
}

/// The rules of a file or directory, and the places of their fields.
pub(super) fn load(path: &Path) -> Result<(RuleSet, Places), Problems> {
    let sources = rules::read(path)?;
    Ok((rules::from_files(&sources)?.rules, Places::read(&sources)))
}

async fn live(arguments: &ExplainArgs, request: &Request, address: &str) -> Exit {
    let headers: Map<String, serde_json::Value> =
        request.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let body = json!({ "method": arguments.method, "url": arguments.url, "headers": headers });
    let accept = match arguments.format {
        Format::Text => "text/plain",
        Format::Json => "application/json",
    };
    let url = format!("{}/explain", address.trim_end_matches('/'));
    match fetch::post_json(&url, &body, accept, LIMIT).await {
        Ok(answer) => {
            super::print_result(&String::from_utf8_lossy(&answer));
            Exit::Success
        }
        Err(error) => {
            eprintln!(
                "error: the sidecar at `{address}` did not explain it: {error}\n\nhint: give its admin port, such as --live http://127.0.0.1:9901"
            );
            Exit::Failure
        }
    }
}
