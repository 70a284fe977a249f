//! What a request costs: decisions, headers, segments; and what a reload costs beside them.
//!
//! Each case checks its answer, so that none can measure a wrong one. Run by criterion for time, and by
//! `benches/instructions` for instructions; README.md tells how.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a bench panics when its answer is wrong"
)]

mod decide;
mod headers;
mod reload;
mod segment;

use criterion::Criterion;

/// Takes the cases, one after the other.
trait Measure {
    /// `operation` is one unit of work that has checked its own answer.
    fn case(&mut self, name: &str, operation: impl FnMut());
}

impl Measure for Criterion {
    fn case(&mut self, name: &str, mut operation: impl FnMut()) {
        self.bench_function(name, |bencher| bencher.iter(&mut operation));
    }
}

/// Runs one case a number of times and does nothing else, for a counter of instructions.
struct Repeat {
    name: String,
    times: u64,
}

impl Measure for Repeat {
    fn case(&mut self, name: &str, mut operation: impl FnMut()) {
        if name == self.name {
            (0..self.times).for_each(|_| operation());
        }
    }
}

/// Prints the names.
struct List;

impl Measure for List {
    fn case(&mut self, name: &str, _: impl FnMut()) {
        println!("{name}");
    }
}

fn all(measure: &mut impl Measure) {
    decide::cases(measure);
    headers::cases(measure);
    segment::cases(measure);
    reload::cases(measure);
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["names", ..] => all(&mut List),
        ["repeat", name, times, ..] => {
            all(&mut Repeat { name: (*name).to_owned(), times: times.parse().expect("a number") });
        }
        _ => {
            let mut criterion = Criterion::default().configure_from_args();
            all(&mut criterion);
            criterion.final_summary();
        }
    }
}
