//! A point in time as RFC 3339 writes it: `2026-12-01T00:00:00Z`.
//!
//! Only what says when it is meant: a date without a time, or a time without an offset, is refused and not guessed at.

use super::super::problem::shown;

/// Why a text is no time, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadTime {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// A point in time, to a nanosecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Whole seconds since 1970, negative before.
    pub seconds: i64,
    /// 0 to 999,999,999, counted forward from them.
    pub nanos: u32,
}

impl Timestamp {
    /// The first whole second that is not before it; 0 for whatever was before 1970.
    pub fn rounded_up(self) -> u64 {
        u64::try_from(self.seconds.saturating_add(i64::from(self.nanos > 0))).unwrap_or(0)
    }

    /// As a fraction; exact to about a microsecond in this century.
    pub fn as_f64(self) -> f64 {
        self.seconds as f64 + f64::from(self.nanos) / 1e9
    }
}

/// How a time is written, for hints.
pub(super) const FORM: &str =
    "write for example 2026-12-01T00:00:00Z, or with an offset 2026-12-01T02:00:00+02:00";

/// Reads `YYYY-MM-DDThh:mm:ss`, perhaps a fraction, and `Z` or an offset. Years 0000 to 9999; no leap seconds, which
/// no clock of ours ever shows.
///
/// # Errors
/// Everything else, with what is missing where that can be told.
pub fn parse(text: &str) -> Result<Timestamp, BadTime> {
    let bad = |hint: String| BadTime { message: format!("`{}` is no time", shown(text)), hint };
    let form = || bad(FORM.to_owned());
    let (date, rest) = text.split_at_checked(10).ok_or_else(form)?;
    let (year, month, day) = numbers(date, "-", [4, 2, 2]).map(|[y, m, d]| (y, m, d)).ok_or_else(form)?;
    if rest.is_empty() {
        return Err(bad(format!("it has no time of day; write {date}T00:00:00Z")));
    }
    let rest = rest.strip_prefix(['T', 't']).ok_or_else(|| match rest.strip_prefix(' ') {
        Some(rest) => bad(format!("put a T between date and time: {date}T{}", shown(rest))),
        None => form(),
    })?;
    let (clock, rest) = rest.split_at_checked(8).ok_or_else(form)?;
    let (hour, minute, second) =
        numbers(clock, ":", [2, 2, 2]).map(|[h, m, s]| (h, m, s)).ok_or_else(form)?;
    let (nanos, offset) = fraction(rest).ok_or_else(form)?;
    let east = match offset {
        "Z" | "z" => 0,
        "" => return Err(bad(format!("it has no offset; write {}Z for UTC", shown(text)))),
        _ => east_of_utc(offset).ok_or_else(form)?,
    };
    let exists = (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !exists {
        return Err(bad("there is no such day or time".to_owned()));
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - east;
    Ok(Timestamp { seconds, nanos })
}

/// `2026-12-01T00:00:00Z` for seconds since 1970.
pub fn text(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years of the calendar begin with March here, so that the leap day is the last of its year.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let (day, month) = (day_of_year - (153 * from_march + 2) / 5 + 1, (from_march + 2) % 12 + 1);
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}

/// Three numbers of exactly so many digits.
fn numbers(text: &str, separator: &str, digits: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut found = [0; 3];
    for (number, digits) in found.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == digits)?;
        *number = part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())??;
    }
    parts.next().is_none().then_some(found)
}

/// `.25Z` → 250,000,000 and `Z`. Digits beyond the ninth are dropped.
fn fraction(text: &str) -> Option<(u32, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, rest) = rest.split_at(end);
    let nine: String = digits.chars().chain("000000000".chars()).take(9).collect();
    (!digits.is_empty()).then(|| nine.parse().ok()).flatten().map(|nanos| (nanos, rest))
}

/// `+02:00` → 7200.
fn east_of_utc(text: &str) -> Option<i64> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let [hours, minutes, _] = numbers(&format!("{rest}:00"), ":", [2, 2, 2])?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The Gregorian calendar, also for years before it was in use, as RFC 3339 has it.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Leap days before this year, from the year 0 on; the year 0 itself is a leap year.
    let leap_days = |year: i64| (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400;
    let before_year = year * 365 + leap_days(year) - (1970 * 365 + leap_days(1970));
    before_year + (1..month).map(|month| days_of(year, month)).sum::<i64>() + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, seconds: i64, nanos: u32) {
        assert_eq!(parse(text), Ok(Timestamp { seconds, nanos }), "{text}");
    }

    #[track_caller]
    fn check_bad(text: &str, hint: &str) {
        assert_eq!(
            parse(text),
            Err(BadTime { message: format!("`{text}` is no time"), hint: hint.to_owned() })
        );
    }

    #[test]
    fn times_are_seconds_since_1970() {
        // As `date -u -d … +%s` tells them.
        check("1970-01-01T00:00:00Z", 0, 0);
        check("2026-12-01T00:00:00Z", 1_796_083_200, 0);
        check("2026-12-01t02:30:00+02:30", 1_796_083_200, 0);
        check("2026-11-30T16:00:00-08:00", 1_796_083_200, 0);
        check("2024-02-29T23:59:59.25z", 1_709_251_199, 250_000_000);
        check("2018-07-06T23:41:45.000000+00:00", 1_530_920_505, 0);
        check("2000-03-01T00:00:00Z", 951_868_800, 0);
        check("1969-12-31T23:59:59.5Z", -1, 500_000_000);
        check("0000-01-01T00:00:00Z", -62_167_219_200, 0);
        check("9999-12-31T23:59:59.999999999999Z", 253_402_300_799, 999_999_999);
    }

    #[test]
    fn a_fraction_counts_as_the_next_second_when_something_ends() {
        assert_eq!(parse("1970-01-01T00:00:01.001Z").unwrap().rounded_up(), 2);
        assert_eq!(parse("1970-01-01T00:00:01Z").unwrap().rounded_up(), 1);
        assert_eq!(parse("1960-01-01T00:00:01Z").unwrap().rounded_up(), 0);
        assert_eq!(parse("1970-01-01T00:00:01.5Z").unwrap().as_f64(), 1.5);
    }

    #[test]
    fn everything_else_is_refused_with_what_is_missing() {
        check_bad("2026-12-01", "it has no time of day; write 2026-12-01T00:00:00Z");
        check_bad("2026-12-01 10:00:00Z", "put a T between date and time: 2026-12-01T10:00:00Z");
        check_bad("2026-12-01T10:00:00", "it has no offset; write 2026-12-01T10:00:00Z for UTC");
        for text in ["2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-00T00:00:00Z"] {
            check_bad(text, "there is no such day or time");
        }
        for text in ["2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2016-12-31T23:59:60Z"] {
            check_bad(text, "there is no such day or time");
        }
        for text in [
            "",
            "tomorrow",
            "1796083200",
            "26-12-01T00:00:00Z",
            "2026-12-1T00:00:00Z",
            "2026-12-01T00:00Z",
            "2026-12-01T00:00:00.Z",
            "2026-12-01T00:00:00+2:00",
            "2026-12-01T00:00:00+0200",
            "2026-12-01T00:00:00+24:00",
            "2026-12-01T00:00:00ZZ",
            "+026-12-01T00:00:00Z",
            "２026-12-01T00:00:00Z",
            "2026-12-01T00:00:00 Z",
        ] {
            check_bad(text, FORM);
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,30}") {
            let _ = parse(&text);
        }

        #[test]
        fn days_follow_one_another(day in 0i64..3_652_059) {
            // A day counted up through the calendar, from the year 0.
            let (mut year, mut left) = (day / 366, 0);
            let start = |year: i64| days_since_1970(year, 1, 1) - days_since_1970(0, 1, 1);
            while start(year + 1) <= day {
                year += 1;
            }
            left += day - start(year);
            let mut month = 1;
            while left >= days_of(year, month) {
                left -= days_of(year, month);
                month += 1;
            }
            let text = format!("{year:04}-{month:02}-{:02}T00:00:00Z", left + 1);
            prop_assert_eq!(parse(&text).unwrap().seconds, (day - 719_528) * 86_400, "{}", text);
        }
    }
}
