//! What must hold for any input; the fuzz targets run it on new ones, and `tests/it/corpus.rs` on those kept.

pub(crate) mod http1;

use collimator::config::rules::from_sources;
use collimator::moment::Moment;
use collimator::sampling::{Attributes, Facts, Pattern, RuleSet};
use collimator::trace::{Arrived, Leaving, Said, SegmentId};

/// Any bytes as a rule file: refused with problems that can be told, or a set whose index agrees with asking each rule.
pub(crate) fn rules(bytes: &[u8]) {
    match from_sources(vec![("fuzz.yaml".to_owned(), bytes.to_vec())]) {
        Err(problems) => assert!(problems.has_errors() && !problems.to_string().is_empty()),
        Ok(loaded) => decide(&loaded.rules),
    }
}

struct Headers(&'static [(&'static str, &'static str)]);

impl Attributes for Headers {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }
}

fn decide(rules: &RuleSet) {
    const REQUESTS: [(&str, &str, &str); 4] = [
        ("GET", "shop.example.com", "/"),
        ("POST", "shop.example.com:8080", "/api/checkout/42"),
        ("GET", "", "/ÄPI/\u{212a}"),
        ("get", "[::1]:80", ""),
    ];
    let headers = Headers(&[("user-agent", "curl/8"), ("x-tenant", "acme corp")]);
    let now = Moment::new(1_790_000_000_000_000, 5_000_000_000);
    for (method, host, path) in REQUESTS {
        let (service_type, attributes) = (Some("AWS::ECS::Container"), &headers);
        let facts = Facts { service_name: "shop", service_type, host, method, path, attributes };
        let found: Vec<&str> = rules.matching(&facts).map(|rule| rule.name.as_str()).collect();
        let asked = rules.iter().take(rules.len()).filter(|rule| rule.matchers.matches(&facts));
        assert_eq!(found, asked.map(|rule| rule.name.as_str()).collect::<Vec<_>>());
        let (decided, deciding) = (rules.decide(&facts, None, 1 << 63, now), rules.deciding(&facts, now));
        assert!(decided.rule.is_some_and(|rule| rule.name == deciding.name));
    }
    assert_eq!(rules.hash(), rules.clone().hash());
}

/// Lines as fields of the two trace headers, `traceparent` if they begin with `t`: what is written from what was read is
/// read again as the same.
pub(crate) fn headers(bytes: &[u8]) {
    let lines = || bytes.split(|&byte| byte == b'\n');
    let xray = lines().filter(|line| line.first() != Some(&b't'));
    let w3c = lines().filter_map(|line| line.strip_prefix(b"t"));
    let arrived = Arrived::read(xray, w3c);
    assert!(arrived.trace.is_some() || arrived.parent.is_none(), "a parent needs a trace");
    let Some(trace) = arrived.trace else { return };
    let sampled = arrived.said == Said::Keep;
    let parent = SegmentId::new(0x53995c3f42cd8ad8);
    let leaving = Leaving {
        trace,
        parent,
        sampled,
        extras: &arrived.extras,
        random: arrived.random,
        state: arrived.state,
    };
    let mut value = Vec::new();
    leaving.write_xray(&mut value);
    assert!(value.iter().all(|byte| (0x20..0x7f).contains(byte)), "{}", String::from_utf8_lossy(&value));
    let again = Arrived::read([value.as_slice()].into_iter(), std::iter::empty());
    assert_eq!((again.trace, again.parent), (Some(trace), Some(parent)));
    assert_eq!((again.said == Said::Keep, &again.extras), (sampled, &arrived.extras));
    let traceparent = leaving.traceparent();
    let again = Arrived::read(std::iter::empty(), [traceparent.as_slice()].into_iter());
    assert_eq!((again.trace, again.parent, again.said == Said::Keep), (Some(trace), Some(parent), sampled));
}

/// A pattern, a line break, and a text: agrees with trying every way, a place of the pattern at a time.
pub(crate) fn pattern(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (pattern, text) = text.split_once('\n').unwrap_or((&text, ""));
    let matches = Pattern::new(pattern).matches(text);
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    // What is larger is only there to be gone through; the reference takes the product.
    if pattern.len() * text.len() <= 1 << 18 {
        assert_eq!(matches, slow(&pattern, &text), "{pattern:?} {text:?}");
    }
}

/// `reached[t]`: the pattern so far matches the first `t` characters.
fn slow(pattern: &[char], text: &[char]) -> bool {
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for &wanted in pattern {
        let mut next = vec![false; text.len() + 1];
        for t in 0..=text.len() {
            next[t] = match wanted {
                '*' => reached[t] || (t > 0 && next[t - 1]),
                '?' => t > 0 && reached[t - 1],
                _ => t > 0 && reached[t - 1] && fold(wanted) == fold(text[t - 1]),
            };
        }
        reached = next;
    }
    reached[text.len()]
}

/// Lower case, where that is one character.
fn fold(character: char) -> char {
    let lower: Vec<char> = character.to_lowercase().collect();
    if let [single] = lower[..] { single } else { character }
}
