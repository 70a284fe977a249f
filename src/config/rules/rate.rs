//! A rate as people write it: `0.05` as in X-Ray's API, or `5%` as in its console.

use super::super::problem::shown;
use crate::sampling::Rate;

/// 2⁻³², the least share above 0 that a rule may ask for.
pub const RESOLUTION: f64 = 1.0 / 4_294_967_296.0;

/// Why a text is no rate, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRate {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Reads a share from 0 to 1, or a percentage. Nothing is rounded: `0.3%` is the float nearest to 0.003.
///
/// # Errors
/// The text is neither, or out of range; `5` is an error, for it may mean 5 % or everything.
pub fn parse(text: &str) -> Result<Rate, BadRate> {
    const FORMS: &str = "write a share from 0 to 1, or a percentage such as 5%";
    let text = text.trim();
    let no_rate = || BadRate { message: format!("`{}` is no rate", shown(text)), hint: FORMS.to_owned() };
    let percent = text.strip_suffix('%').map(str::trim_end);
    let number = percent.unwrap_or(text);
    // Rust also reads `inf`, `nan` and `infinity` as numbers.
    if !number.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E')) {
        return Err(no_rate());
    }
    let value: f64 = number.parse().map_err(|_| no_rate())?;
    let share = match percent {
        Some(_) => hundredth(number, value),
        None => value,
    };
    Rate::try_from(share).map_err(|_| {
        let shown = shown(text);
        let (message, hint) = match percent {
            _ if value < 0.0 => (format!("rate {shown} is below 0"), FORMS.to_owned()),
            Some(_) => (format!("rate {shown} is above 100%"), "100% keeps every request".to_owned()),
            None if value <= 100.0 => (
                format!("rate {shown} is above 1"),
                format!(
                    "X-Ray's API takes 0–1, its console takes percent; did you mean {shown}% ({})?",
                    hundredth(number, value)
                ),
            ),
            None => (format!("rate {shown} is above 1"), FORMS.to_owned()),
        };
        BadRate { message, hint }
    })
}

/// Moves the decimal point in the text, so that the result is the float nearest to what was written.
fn hundredth(number: &str, value: f64) -> f64 {
    match number.contains(['e', 'E']) {
        true => value / 100.0,
        false => format!("{number}e-2").parse().unwrap_or(value / 100.0),
    }
}

/// The rate as a percentage with as many digits as it needs: `0.003` is `0.3%`.
pub fn percent(rate: Rate) -> String {
    // Display of a float never uses an exponent, so the point can be moved in the text.
    let digits = rate.get().abs().to_string();
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let fraction = format!("{fraction:0<2}");
    let (moved, rest) = fraction.split_at(2);
    let whole = format!("{whole}{moved}");
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    match rest {
        "" => format!("{whole}%"),
        rest => format!("{whole}.{rest}%"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: f64) {
        assert_eq!(parse(text).map(Rate::get), Ok(expected), "{text}");
    }

    #[track_caller]
    fn check_bad(text: &str, message: &str, hint: &str) {
        let expected = BadRate { message: message.into(), hint: hint.into() };
        assert_eq!(parse(text), Err(expected), "{text}");
    }

    #[test]
    fn shares_and_percentages_keep_their_precision() {
        check("0", 0.0);
        check("1", 1.0);
        check("0.05", 0.05);
        check(".5", 0.5);
        check("1e-9", 1e-9);
        check("5%", 0.05);
        check("0.3%", 0.003);
        check("7 %", 0.07);
        check("100%", 1.0);
        check("0.0000001%", 0.000_000_001);
        check("1e-3%", 0.00001);
    }

    #[test]
    fn everything_else_is_refused_with_a_remedy() {
        let forms = "write a share from 0 to 1, or a percentage such as 5%";
        let percent = "X-Ray's API takes 0–1, its console takes percent; did you mean ";
        check_bad("5", "rate 5 is above 1", &format!("{percent}5% (0.05)?"));
        check_bad("12.5", "rate 12.5 is above 1", &format!("{percent}12.5% (0.125)?"));
        check_bad("1.0001", "rate 1.0001 is above 1", &format!("{percent}1.0001% (0.010001)?"));
        check_bad("500", "rate 500 is above 1", forms);
        check_bad("500%", "rate 500% is above 100%", "100% keeps every request");
        check_bad("-0.1", "rate -0.1 is below 0", forms);
        check_bad("-1%", "rate -1% is below 0", forms);
        for text in ["", "%", "nan", "inf", "fast", "5%%", "0x1", "1/s", "5.%."] {
            check_bad(text, &format!("`{text}` is no rate"), forms);
        }
    }

    #[test]
    fn percentages_are_printed_as_short_as_they_are() {
        for (rate, expected) in [
            (0.0, "0%"),
            (1.0, "100%"),
            (0.05, "5%"),
            (0.003, "0.3%"),
            (0.125, "12.5%"),
            (0.5, "50%"),
            (1e-9, "0.0000001%"),
        ] {
            assert_eq!(percent(Rate::try_from(rate).unwrap()), expected);
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_as_the_same_rate(rate in 0.0f64..=1.0) {
            let rate = Rate::try_from(rate).unwrap();
            prop_assert_eq!(parse(&percent(rate)), Ok(rate));
            prop_assert_eq!(parse(&rate.get().to_string()), Ok(rate));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,12}") {
            let _ = parse(&text);
        }
    }
}
