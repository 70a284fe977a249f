//! Reads the Prometheus text format, as far as the tests need it.

use std::collections::BTreeMap;

/// One line of `/metrics`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// One scrape.
#[derive(Clone, Debug)]
pub(crate) struct Scrape {
    pub(crate) text: String,
    pub(crate) samples: Vec<Sample>,
}

/// The four places where an offered segment can be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SinkTotals {
    pub(crate) offered: f64,
    pub(crate) emitted: f64,
    pub(crate) dropped: f64,
    pub(crate) rejected: f64,
    pub(crate) queued: f64,
}

impl SinkTotals {
    /// offered = emitted + dropped + rejected + still queued.
    #[track_caller]
    pub(crate) fn check(&self) {
        assert_eq!(self.offered, self.emitted + self.dropped + self.rejected + self.queued, "{self:?}");
    }
}

impl Scrape {
    #[track_caller]
    pub(crate) fn parse(text: &str) -> Scrape {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines.map(|line| sample(line).unwrap_or_else(|| panic!("not a sample: {line}")));
        Scrape { text: text.to_owned(), samples: samples.collect() }
    }

    fn matching<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&str, &str)],
    ) -> impl Iterator<Item = &'a Sample> + 'a {
        self.samples.iter().filter(move |sample| {
            sample.name == name
                && labels.iter().all(|(k, v)| sample.labels.get(*k).map(String::as_str) == Some(*v))
        })
    }

    /// The sum over every series of this name that has these labels; `None` when there is none.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut values = self.matching(name, labels).map(|sample| sample.value).peekable();
        values.peek()?;
        Some(values.sum())
    }

    /// The same, where no series means zero.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.value(name, labels).unwrap_or(0.0)
    }

    /// How many requests were decided this way, over all rules.
    pub(crate) fn decisions(&self, decision: &str) -> f64 {
        self.sum("collimator_sampling_decisions_total", &[("decision", decision)])
    }

    /// How many requests this rule decided this way.
    pub(crate) fn decisions_of(&self, rule: &str, decision: &str) -> f64 {
        self.sum("collimator_sampling_decisions_total", &[("rule", rule), ("decision", decision)])
    }

    /// The accounts of every sink whose label begins with this text (`udp` names `udp://127.0.0.1:2000` too).
    #[track_caller]
    pub(crate) fn sink(&self, prefix: &str) -> SinkTotals {
        let of = |name: &str| {
            let samples = self.samples.iter().filter(|sample| {
                sample.name == name && sample.labels.get("sink").is_some_and(|v| v.starts_with(prefix))
            });
            let values: Vec<f64> = samples.map(|sample| sample.value).collect();
            assert!(!values.is_empty(), "no {name} for a sink {prefix} in\n{}", self.text);
            values.iter().sum()
        };
        SinkTotals {
            offered: of("collimator_segments_offered_total"),
            emitted: of("collimator_segments_emitted_total"),
            dropped: of("collimator_segments_dropped_total"),
            rejected: of("collimator_segments_rejected_total"),
            queued: of("collimator_emit_queue_length"),
        }
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = match line.rfind('}') {
        Some(end) => (&line[..=end], line[end + 1..].trim()),
        None => line.split_once(' ')?,
    };
    let value = match value.split(' ').next()? {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        number => number.parse().ok()?,
    };
    let Some((name, labels)) = series.split_once('{') else {
        return Some(Sample { name: series.to_owned(), labels: BTreeMap::new(), value });
    };
    Some(Sample { name: name.to_owned(), labels: read_labels(labels.strip_suffix('}')?)?, value })
}

fn read_labels(mut text: &str) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    while !text.is_empty() {
        let (key, rest) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = rest.char_indices();
        let end = loop {
            match characters.next()? {
                (at, '"') => break at,
                (_, '\\') => value.push(characters.next()?.1),
                (_, other) => value.push(other),
            }
        };
        labels.insert(key.trim_start_matches(',').to_owned(), value);
        text = &rest[end + 1..];
    }
    Some(labels)
}

#[test]
fn a_scrape_is_read_with_labels_and_escapes() {
    let scrape = Scrape::parse("# TYPE a counter\na{x=\"1\",y=\"q\\\"},{\"} 2\na{x=\"2\"} 3\n\nb 4.5\n");
    assert_eq!(scrape.value("a", &[]), Some(5.0));
    assert_eq!(scrape.value("a", &[("y", "q\"},{")]), Some(2.0));
    assert_eq!(scrape.value("b", &[]), Some(4.5));
    assert_eq!(scrape.value("c", &[]), None);
}
