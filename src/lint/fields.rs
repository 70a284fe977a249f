//! Requests made up for a rule: one that it surely matches and few others do, and one to show to people.

use super::automaton::{Answer, Budget, Domain, common};
use crate::sampling::rule::Globs;
use crate::sampling::{Attributes, Facts, Matchers, Pattern};

/// A request, as far as rules look at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) service_name: String,
    pub(super) service_type: Option<String>,
    pub(super) host: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
}

impl Attributes for Request {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Request {
    pub(super) fn is_matched_by(&self, matchers: &Matchers) -> bool {
        matchers.matches(&Facts {
            service_name: &self.service_name,
            service_type: self.service_type.as_deref(),
            host: &self.host,
            method: &self.method,
            path: &self.path,
            attributes: self,
        })
    }

    /// A text for every field which its first pattern matches, with letters for the wildcards that nobody names. What
    /// does not match it does not hold all that `matchers` does.
    pub(super) fn unlikely(matchers: &Matchers) -> Request {
        let text = |globs: &Globs| globs.patterns().first().map(unlikely_text).unwrap_or_default();
        Request {
            service_name: text(&matchers.service_name),
            service_type: Some(text(&matchers.service_type)),
            host: text(&matchers.host),
            method: text(&matchers.http_method),
            path: text(&matchers.url_path),
            headers: matchers
                .attributes
                .iter()
                .map(|(name, pattern)| (name.to_string(), unlikely_text(pattern)))
                .collect(),
        }
    }

    /// `GET m.example.eu / x-tenant: acme`: what is not asked for is left out.
    pub(super) fn shown(&self, asks_for_host: bool, asks_for_service: bool) -> String {
        let mut shown = self.method.to_ascii_uppercase();
        for part in [(asks_for_host).then_some(&self.host), Some(&self.path)].into_iter().flatten() {
            shown.push(' ');
            shown.push_str(part);
        }
        for (name, value) in &self.headers {
            shown.push_str(&format!(" -H '{name}: {value}'"));
        }
        if asks_for_service {
            shown.push_str(&format!(" at service \"{}\"", self.service_name));
        }
        shown
    }
}

fn unlikely_text(pattern: &Pattern) -> String {
    pattern
        .as_str()
        .chars()
        .map(|character| match character {
            '*' | '?' => '\u{e000}',
            letter => letter,
        })
        .collect()
}

/// A request that both rules match and that somebody could send; the shortest in every field.
pub(super) fn shared(
    one: &Matchers,
    other: &Matchers,
    service_name: Option<&str>,
    budget: &mut Budget,
) -> Option<Request> {
    let mut word = |a: &Globs, b: &Globs, domain: Domain, usual: &str| {
        if a.matches(usual) && b.matches(usual) {
            return Some(usual.to_owned());
        }
        in_common(&refs(a), &refs(b), domain, budget)
    };
    let mut request = Request {
        path: word(&one.url_path, &other.url_path, Domain::Path, "/")?,
        method: word(&one.http_method, &other.http_method, Domain::Method, "GET")?,
        host: String::new(),
        service_name: match service_name {
            Some(name) => name.to_owned(),
            None => word(&one.service_name, &other.service_name, Domain::Printable, "shop")?,
        },
        service_type: match one.service_type.is_anything() && other.service_type.is_anything() {
            true => None,
            false => Some(word(&one.service_type, &other.service_type, Domain::Printable, "")?),
        },
        headers: Vec::new(),
    };
    request.host = host(&one.host, &other.host, budget)?;
    for (name, pattern) in one.attributes.iter().chain(&other.attributes) {
        if request.attribute(name).is_some() {
            continue;
        }
        let same = |matchers: &Matchers| {
            matchers.attributes.iter().find(|(other, _)| other == name).map(|(_, pattern)| pattern.clone())
        };
        let both: Vec<Pattern> = [same(one), same(other)].into_iter().flatten().collect();
        let value = match both.iter().all(|pattern| pattern.matches("x")) {
            true => Some("x".to_owned()),
            false => {
                in_common(&[pattern], &both.last().into_iter().collect::<Vec<_>>(), Domain::Printable, budget)
            }
        };
        request.headers.push((name.to_string(), value?));
    }
    // The walk is over patterns; whether a request is matched is for the engine to say.
    (request.is_matched_by(one) && request.is_matched_by(other)).then_some(request)
}

/// A host that both match, with a port only where a pattern names one.
fn host(one: &Globs, other: &Globs, budget: &mut Budget) -> Option<String> {
    const USUAL: &str = "shop.example.com";
    if one.is_anything() && other.is_anything() {
        return Some(USUAL.to_owned());
    }
    let both = |host: &str| !host.is_empty() && one.matches_host(host) && other.matches_host(host);
    let bare = |globs: &Globs| {
        globs.patterns().iter().filter(|pattern| !pattern.as_str().contains(':')).cloned().collect::<Vec<_>>()
    };
    let (a, b) = (bare(one), bare(other));
    let found = in_common(&a.iter().collect::<Vec<_>>(), &b.iter().collect::<Vec<_>>(), Domain::Host, budget);
    found.filter(|host| both(host)).or_else(|| {
        let with_port = |pattern: &&Pattern| pattern.as_str().contains(':');
        one.patterns()
            .iter()
            .chain(other.patterns())
            .filter(with_port)
            .map(|pattern| pattern.as_str().replace(":*", ":8080").replace(['*', '?'], "x"))
            .find(|host| both(host))
    })
}

pub(super) fn refs(globs: &Globs) -> Vec<&Pattern> {
    globs.patterns().iter().collect()
}

/// The shortest text that both match; none on doubt. Two that begin or end differently are told apart at once.
fn in_common(one: &[&Pattern], other: &[&Pattern], domain: Domain, budget: &mut Budget) -> Option<String> {
    let may_meet = one.iter().any(|a| other.iter().any(|b| ends_agree(a.folded(), b.folded())));
    match may_meet.then(|| common(one, other, domain, budget)) {
        Some(Answer::Found(text)) => Some(text),
        _ => None,
    }
}

fn ends_agree(a: &str, b: &str) -> bool {
    const WILD: [char; 2] = ['*', '?'];
    let head = |text: &'_ str| text.find(WILD).unwrap_or(text.len());
    let tail = |text: &'_ str| text.rfind(WILD).map_or(0, |at| at + 1);
    let (head_a, head_b) = (&a[..head(a)], &b[..head(b)]);
    let (tail_a, tail_b) = (&a[tail(a)..], &b[tail(b)..]);
    (head_a.starts_with(head_b) || head_b.starts_with(head_a))
        && (tail_a.ends_with(tail_b) || tail_b.ends_with(tail_a))
}
