//! A test file: from text to checked tests, or to every problem in it.

use crate::config::rules::rate;
use crate::config::yaml::{Codes, Document, Key, Kind, Node, Scalar, Span, Typed};
use crate::config::{Problem, Problems};
use crate::explain::Request;
use crate::sampling::{Place, Rate};
use std::time::Duration;

const CODES: Codes = Codes { syntax: "T001", repeated: "T005" };
/// What `decision` may be.
const DECISIONS: [&str; 8] =
    ["rule", "inherited", "ignored", "reservoir_then_rate", "reservoir", "rate", "always", "never"];
const UNKNOWN: &str = "T002";
const WRONG: &str = "T003";

/// What a test file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TestFile {
    /// What the service is called.
    pub service_name: Option<String>,
    /// What it runs on.
    pub service_type: Option<String>,
    /// Other rules than those beside the file, relative to it.
    pub rules: Option<String>,
    /// In the order written.
    pub tests: Vec<Test>,
}

/// One test.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// For people.
    pub name: String,
    /// Where it begins.
    pub place: Place,
    /// What is asked.
    pub request: Request,
    /// How many such requests come each second.
    pub per_second: Option<f64>,
    /// The application's answer: its status, and how long it took.
    pub response: Option<(u16, Duration)>,
    /// What is expected. Never empty.
    pub expect: Expectation,
    /// How often the sampler is run, if at all.
    pub trials: Option<Trials>,
}

/// A run of the real sampler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trials {
    /// How many requests.
    pub n: u32,
    /// Of the dice.
    pub seed: u64,
}

/// What a test expects. What is absent may be anything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expectation {
    /// The rule that decides.
    pub rule: Option<String>,
    /// Whether such a request is kept.
    pub sampled: Option<Sampled>,
    /// The rule's rate.
    pub rate: Option<Rate>,
    /// Traces a second, at the traffic given.
    pub sampled_per_second: Option<f64>,
    /// Whether it is recorded after the fact.
    pub captured: Option<Captured>,
    /// `rule`, `inherited` or `ignored`; or how a rule decides, in the words of `explain --format json`.
    pub decision: Option<String>,
}

/// Whether a request is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampled {
    /// None of its kind is.
    Never,
    /// Each of its kind is.
    Always,
}

/// Why a request that was not kept is recorded after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Captured {
    /// For its status.
    Status,
    /// For its duration.
    Slow,
    /// It is not.
    No,
}

/// Reads a test file.
///
/// # Errors
/// Everything that is wrong with it, with codes T001 to T005.
pub fn parse(name: &str, bytes: &[u8]) -> Result<TestFile, Problems> {
    let mut document = Document::parse(name, bytes, CODES)?;
    let problems = std::mem::take(&mut document.repeated);
    let mut reader = Reader { document: &document, problems };
    let file = reader.file();
    if reader.problems.is_empty() { Ok(file) } else { Err(reader.problems) }
}

struct Reader<'a> {
    document: &'a Document,
    problems: Problems,
}

impl<'a> Reader<'a> {
    fn error(&mut self, code: &'static str, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        let problem: Problem = self.document.problem(code, span, message).hint(hint);
        self.problems.push(problem);
    }

    /// The entries of a mapping whose keys are known.
    fn entries(&mut self, node: &'a Node, what: &str, known: &[&str]) -> Vec<(&'a str, &'a Key, &'a Node)> {
        let Kind::Mapping(entries) = &node.kind else {
            self.error(
                WRONG,
                node.span,
                format!("{what} is a mapping, not {}", node.type_name()),
                format!("it has {}", known.join(", ")),
            );
            return Vec::new();
        };
        let mut found = Vec::new();
        for (key, value) in entries {
            match known.contains(&key.text.as_str()) {
                true => found.push((key.text.as_str(), key, value)),
                false => self.error(
                    UNKNOWN,
                    key.span,
                    format!("unknown key `{}`", key.text),
                    format!("{what} has {}", known.join(", ")),
                ),
            }
        }
        found
    }

    fn text(&mut self, key: &Key, node: &'a Node) -> Option<&'a str> {
        match &node.kind {
            Kind::Scalar(Scalar { text, typed, .. }) if *typed != Typed::Null && !text.is_empty() => {
                Some(text)
            }
            _ => {
                self.error(
                    WRONG,
                    node.span,
                    format!("`{}` must be text, not {}", key.text, node.type_name()),
                    "write one text here",
                );
                None
            }
        }
    }

    fn number(&mut self, key: &Key, node: &'a Node) -> Option<f64> {
        let number = match &node.kind {
            Kind::Scalar(Scalar { typed: Typed::Integer(number), .. }) => Some(*number as f64),
            Kind::Scalar(Scalar { typed: Typed::Float(number), .. }) => Some(*number),
            _ => None,
        };
        let number = number.filter(|number| (0.0..=1e9).contains(number));
        if number.is_none() {
            self.error(
                WRONG,
                node.span,
                format!("`{}` must be a number from 0 to 1000000000", key.text),
                "write a number",
            );
        }
        number
    }

    fn word<T: Copy>(&mut self, key: &Key, node: &'a Node, words: &[(&str, T)]) -> Option<T> {
        let text = match &node.kind {
            Kind::Scalar(scalar) => scalar.text.as_str(),
            _ => "",
        };
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.error(
                WRONG,
                node.span,
                format!("`{}` is not `{text}`", key.text),
                format!("write one of {}", list.join(", ")),
            );
        }
        found
    }

    fn file(&mut self) -> TestFile {
        let mut file = TestFile::default();
        let root = &self.document.root;
        let entries = self.entries(root, "a test file", &["service", "rules", "tests"]);
        if !entries.iter().any(|(name, ..)| *name == "tests") && self.problems.is_empty() {
            self.error(WRONG, root.span, "there are no `tests`", "write tests: and below it `- name: …`");
        }
        for (name, key, node) in entries {
            match name {
                "service" => {
                    for (name, key, node) in self.entries(node, "`service`", &["name", "type"]) {
                        let text = self.text(key, node).map(str::to_owned);
                        if name == "name" { file.service_name = text } else { file.service_type = text }
                    }
                }
                "rules" => file.rules = self.text(key, node).map(str::to_owned),
                _ => match &node.kind {
                    Kind::Sequence(items) => {
                        for item in items {
                            let test = self.test(item);
                            file.tests.extend(test);
                        }
                    }
                    _ => self.error(
                        WRONG,
                        node.span,
                        format!("`tests` is a list, not {}", node.type_name()),
                        "write `- name: …` below it",
                    ),
                },
            }
        }
        file
    }

    fn test(&mut self, node: &'a Node) -> Option<Test> {
        const KEYS: [&str; 7] = ["name", "request", "traffic", "response", "expect", "trials", "seed"];
        let (mut name, mut request, mut expect) = (None, None, None);
        let (mut per_second, mut response, mut trials, mut seed) = (None, None, None, 1);
        let n_problems = self.problems.len();
        for (field, key, node) in self.entries(node, "a test", &KEYS) {
            match field {
                "name" => name = self.text(key, node),
                "request" => request = self.request(key, node),
                "traffic" => {
                    for (_, key, node) in self.entries(node, "`traffic`", &["per_second"]) {
                        per_second = self.number(key, node);
                    }
                }
                "response" => response = self.response(node),
                "expect" => expect = Some(self.expect(node)),
                "trials" => trials = self.number(key, node).map(|n| n.clamp(1.0, 1e7) as u32),
                _ => seed = self.number(key, node).unwrap_or_default() as u64,
            }
        }
        if self.problems.len() > n_problems {
            return None;
        }
        let nothing = expect.as_ref().is_none_or(|expect| *expect == Expectation::default());
        for (missing, what, hint) in [
            (name.is_none(), "name", "say in a few words what is to hold"),
            (request.is_none(), "request", "write request: GET https://shop.example.com/cart"),
            (nothing, "expect", "write expect: { rule: … }"),
        ] {
            if missing {
                self.error(WRONG, node.span, format!("the test has no `{what}`"), hint);
            }
        }
        let expects_rate = expect.as_ref().is_some_and(|expect| expect.sampled_per_second.is_some());
        if expects_rate && per_second.is_none() {
            self.error(
                WRONG,
                node.span,
                "`sampled_per_second` needs traffic",
                "write traffic: { per_second: 25 }",
            );
        }
        Some(Test {
            name: name?.to_owned(),
            place: self.document.place(node.span),
            request: request?,
            per_second,
            response,
            expect: expect.filter(|_| !nothing)?,
            trials: trials.map(|n| Trials { n, seed }),
        })
    }

    /// `GET https://shop.example.com/cart`, or its parts.
    fn request(&mut self, key: &Key, node: &'a Node) -> Option<Request> {
        let built = match &node.kind {
            Kind::Mapping(_) => {
                let (mut method, mut url, mut host, mut headers) = ("GET", None, None, Vec::new());
                for (field, key, node) in
                    self.entries(node, "`request`", &["method", "url", "host", "path", "headers"])
                {
                    match field {
                        "method" => method = self.text(key, node)?,
                        "host" => host = self.text(key, node),
                        "url" | "path" => url = self.text(key, node),
                        _ => {
                            let Kind::Mapping(entries) = &node.kind else {
                                self.error(
                                    WRONG,
                                    node.span,
                                    "`headers` is a mapping",
                                    "write headers: { x-tenant: acme }",
                                );
                                return None;
                            };
                            for (name, node) in entries {
                                // A header may be there and say nothing.
                                let value = match &node.kind {
                                    Kind::Scalar(scalar) if scalar.quoted => &scalar.text,
                                    _ => self.text(name, node)?,
                                };
                                headers.push((name.text.clone(), value.to_owned()));
                            }
                        }
                    }
                }
                headers.extend(host.map(|host| ("host".to_owned(), host.to_owned())));
                Request::new(method, url.unwrap_or("/"), headers)
            }
            _ => {
                let text = self.text(key, node)?;
                let (method, url) = text.split_once(' ').unwrap_or(("GET", text));
                Request::new(method, url.trim(), [])
            }
        };
        match built {
            Ok(request) => Some(request),
            Err(error) => {
                let error = error.to_string();
                let (message, hint) = error.split_once("\n\nhint: ").unwrap_or((&error, ""));
                self.error(WRONG, node.span, message, hint);
                None
            }
        }
    }

    fn response(&mut self, node: &'a Node) -> Option<(u16, Duration)> {
        let (mut status, mut duration) = (200, Duration::ZERO);
        for (field, key, node) in self.entries(node, "`response`", &["status", "duration"]) {
            if field == "status" {
                let number = self.number(key, node)?;
                if !(100.0..=599.0).contains(&number) {
                    self.error(WRONG, node.span, format!("there is no status {number}"), "write 100 to 599");
                }
                status = number as u16;
                continue;
            }
            let text = self.text(key, node)?;
            match parse_duration(text) {
                Some(found) => duration = found,
                None => self.error(
                    WRONG,
                    node.span,
                    format!("`{text}` is not a duration"),
                    "write 80ms, 1.5s or 2m",
                ),
            }
        }
        Some((status, duration))
    }

    fn expect(&mut self, node: &'a Node) -> Expectation {
        const KEYS: [&str; 6] = ["rule", "sampled", "rate", "sampled_per_second", "captured", "decision"];
        let mut expect = Expectation::default();
        for (field, key, node) in self.entries(node, "`expect`", &KEYS) {
            match field {
                "rule" => expect.rule = self.text(key, node).map(str::to_owned),
                "sampled" => {
                    let words = [
                        ("never", Sampled::Never),
                        ("always", Sampled::Always),
                        ("false", Sampled::Never),
                        ("true", Sampled::Always),
                    ];
                    expect.sampled = self.word(key, node, &words);
                }
                "rate" => {
                    let text = self.text(key, node).unwrap_or("0");
                    match rate::parse(text) {
                        Ok(rate) => expect.rate = Some(rate),
                        Err(bad) => self.error(WRONG, node.span, bad.message, bad.hint),
                    }
                }
                "sampled_per_second" => expect.sampled_per_second = self.number(key, node),
                "captured" => {
                    let words = [
                        ("status", Captured::Status),
                        ("slow", Captured::Slow),
                        ("no", Captured::No),
                        ("false", Captured::No),
                    ];
                    expect.captured = self.word(key, node, &words);
                }
                _ => {
                    expect.decision =
                        self.word(key, node, &DECISIONS.map(|word| (word, word))).map(str::to_owned);
                }
            }
        }
        expect
    }
}

/// `80ms`, `1.5s`, `2m`.
fn parse_duration(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let (number, unit) = text.split_at(at);
    let factor = match unit.trim() {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * factor).ok()
}
