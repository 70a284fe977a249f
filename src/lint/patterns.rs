//! R103 and R104: patterns that no request of this world, or of this service, matches.

use super::Report;
use crate::sampling::rule::Globs;
use crate::sampling::{Rule, RuleName};

pub(super) fn check(rule: &Rule, report: &mut Report<'_>) {
    let matchers = &rule.matchers;
    for (field, globs, judge) in [
        ("url_path", &matchers.url_path, path as fn(&str) -> Option<(String, String)>),
        ("host", &matchers.host, host),
        ("http_method", &matchers.http_method, method),
    ] {
        for (n, pattern) in globs.patterns().iter().enumerate() {
            let text = pattern.as_str();
            if let Some((why, remedy)) = judge(text) {
                let spot = report.field(rule, field, n);
                report.warn("R103", &spot, format!("{field} \"{text}\" never matches: {why}"), remedy);
            }
        }
    }
    if rule.name.as_str() != RuleName::DEFAULT {
        let options = report.options;
        identity(rule, "service_name", &matchers.service_name, options.service_name, report);
        identity(rule, "service_type", &matchers.service_type, options.service_type, report);
    }
}

/// Why no path is like this, and what to write instead.
fn path(text: &str) -> Option<(String, String)> {
    let found = |why: &str, remedy: String| Some((why.to_owned(), remedy));
    if let Some((scheme, rest)) = text.split_once("://")
        && (scheme == "*" || is_word(scheme))
    {
        let path = rest.find('/').map_or("/", |at| &rest[at..]);
        return found("the path does not hold scheme and host", format!("write {}", quoted(path)));
    }
    if let Some((path, _)) = text.split_once('#') {
        return found("what follows `#` is never sent", format!("write {}", quoted(path)));
    }
    if let Some((path, query)) = text.split_once('?')
        && query.contains('=')
    {
        return found(
            "the query is not part of the path, and `?` is one character",
            format!("write {}", quoted(path)),
        );
    }
    if text.contains(|c: char| c == ' ' || c.is_control()) {
        return found(
            "a path is compared as received, and holds no spaces",
            format!("write {}", quoted(&text.replace(' ', "%20"))),
        );
    }
    if !text.starts_with(['/', '*', '?']) {
        return found("a path begins with `/`", format!("write {}", quoted(&format!("/{text}"))));
    }
    None
}

/// Likewise for a host.
fn host(text: &str) -> Option<(String, String)> {
    let found = |why: &str, remedy: String| Some((why.to_owned(), remedy));
    if let Some((_, rest)) = text.split_once("://") {
        let host = rest.split('/').next().unwrap_or_default();
        return found("a host has no scheme", format!("write {}", quoted(host)));
    }
    if let Some((host, _)) = text.split_once('/') {
        return found("a host has no path", format!("write {}, and the path as url_path", quoted(host)));
    }
    if text.contains(|c: char| c == ' ' || c == '@' || c.is_control()) {
        return found("a host is one word without `@`", "write the name only".to_owned());
    }
    if let Some((name, port)) = text.rsplit_once(':')
        && (port == "80" || port == "443")
        && !name.contains(':')
    {
        return found(
            "clients leave out the usual port",
            format!("write {}; the port is then ignored", quoted(name)),
        );
    }
    None
}

/// Likewise for a method.
fn method(text: &str) -> Option<(String, String)> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~?".contains(c);
    let several: Vec<&str> =
        text.split([',', '|', '/', ' ']).map(str::trim).filter(|word| !word.is_empty()).collect();
    if several.len() > 1 && several.iter().all(|word| is_word(word)) {
        let list = format!("write [{}]", several.join(", "));
        return Some(("several methods are a list".to_owned(), list));
    }
    match text.chars().all(is_token) {
        true => None,
        false => Some((
            "a method is one word of letters".to_owned(),
            "write a method such as GET, or a list of them".to_owned(),
        )),
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric())
}

/// As YAML wants it.
fn quoted(pattern: &str) -> String {
    match pattern.starts_with(['*', '?']) {
        true => format!("\"{pattern}\""),
        false => pattern.to_owned(),
    }
}

/// R104: near misses are warnings; a rule that plainly means another service is only noted, for files are shared.
fn identity(rule: &Rule, field: &str, globs: &Globs, own: Option<&str>, report: &mut Report<'_>) {
    let Some(own) = own.filter(|own| !globs.matches(own)) else { return };
    let patterns = globs.patterns();
    let near =
        patterns.iter().enumerate().find_map(|(n, pattern)| Some((n, near_miss(pattern.as_str(), own)?)));
    let what = if field == "service_name" { "this service" } else { "this service's type" };
    match near {
        Some((n, why)) => {
            let text = patterns.get(n).map(|pattern| pattern.as_str()).unwrap_or_default();
            let spot = report.field(rule, field, n);
            let message = format!("{field} \"{text}\" can never match {what} (\"{own}\"): {why}");
            report.warn("R104", &spot, message, format!("write {}", quoted(own)));
        }
        None => {
            let all: Vec<&str> = patterns.iter().map(|pattern| pattern.as_str()).collect();
            let spot = report.field(rule, field, 0);
            let message = format!("{field} \"{}\" can never match {what} (\"{own}\")", all.join("\" | \""));
            report.note("R104", &spot, message, format!("\"{}\" is for others; here it is dead", rule.name));
        }
    }
}

/// How `pattern` differs from `own`, if by so little that `own` was meant.
fn near_miss(pattern: &str, own: &str) -> Option<String> {
    if pattern.contains(['*', '?']) {
        return None;
    }
    let bare = |text: &str| text.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    if !pattern.is_empty() && bare(pattern) == bare(own) {
        let longer = |a: &str, b: &str| a.chars().count() > b.chars().count();
        let last = pattern.chars().last().filter(|c| !c.is_alphanumeric() && !own.ends_with(*c));
        let first = pattern.chars().next().filter(|c| !c.is_alphanumeric() && !own.starts_with(*c));
        return Some(match (first, last) {
            (_, Some(last)) if longer(pattern, own) => format!("trailing \"{last}\""),
            (Some(first), _) if longer(pattern, own) => format!("leading \"{first}\""),
            _ => "the punctuation differs".to_owned(),
        });
    }
    let same = |text: &str| {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>()
    };
    if same(pattern) == same(own) {
        return Some("the punctuation differs".to_owned());
    }
    let is_close = own.chars().count() > 3 && strsim::damerau_levenshtein(pattern, own) == 1;
    is_close.then(|| "one character differs".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_paths_hosts_and_methods_that_may_match_are_left_alone() {
        for text in ["*", "/", "/a?c", "/search?q", "*.css", "?x", "/proxy/http://x", "/%20", "/ü"] {
            assert_eq!(path(text), None, "{text}");
        }
        for text in ["*", "shop", "*.example.com", "shop:8443", "shop:*", "[::1]:80", "??"] {
            assert_eq!(host(text), None, "{text}");
        }
        for text in ["*", "GET", "P*", "M-SEARCH", "???"] {
            assert_eq!(method(text), None, "{text}");
        }
    }

    #[test]
    fn remedies() {
        let remedy = |found: Option<(String, String)>| found.unwrap().1;
        assert_eq!(remedy(path("api/*")), "write /api/*");
        assert_eq!(remedy(path("https://shop/api/*")), "write /api/*");
        assert_eq!(remedy(path("/a#b")), "write /a");
        assert_eq!(remedy(path("/my files/*")), "write /my%20files/*");
        assert_eq!(remedy(host("https://shop.example/")), "write shop.example");
        assert_eq!(remedy(host("shop.example/api")), "write shop.example, and the path as url_path");
        assert_eq!(remedy(host("*.example:443")), "write \"*.example\"; the port is then ignored");
        assert_eq!(remedy(method("GET, POST")), "write [GET, POST]");
        assert_eq!(remedy(method("GET:")), "write a method such as GET, or a list of them");
    }

    #[test]
    fn near_misses() {
        let near = |pattern: &str| near_miss(pattern, "shop");
        assert_eq!(near("shop/").as_deref(), Some("trailing \"/\""));
        assert_eq!(near(" Shop").as_deref(), Some("leading \" \""));
        assert_eq!(near("shpo").as_deref(), Some("one character differs"));
        assert_eq!(near("Scorekeep"), None);
        assert_eq!(near_miss("shop_api", "shop-api").as_deref(), Some("the punctuation differs"));
        assert_eq!(near_miss("shop-*", "shop"), None);
    }
}
