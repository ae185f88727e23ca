//! Parses and writes times and durations.

use super::Problem;

pub(super) const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", MILLISECOND),
    ("s", SECOND),
    ("min", 60 * SECOND),
    ("h", 3_600 * SECOND),
    ("d", 86_400 * SECOND),
];

/// Parses a decimal number with a unit, or in units of `bare` nanoseconds where it has none. Returns nanoseconds.
pub(super) fn duration(word: &str, bare: u64) -> Result<u64, Problem> {
    exact(word, bare).ok_or_else(|| Problem::Unknown(word.to_owned(), "a time in whole nanoseconds"))
}

fn exact(word: &str, bare: u64) -> Option<u64> {
    let (number, name) = word.split_at(word.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(word.len()));
    let unit = if name.is_empty() {
        bare
    } else {
        UNITS.iter().find(|(known, _)| *known == name).map(|&(_, ns)| ns)?
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return None;
    }
    let scale = 10_u64.checked_pow(u32::try_from(part.len()).ok()?)?;
    let part = u128::from(part.parse::<u64>().ok()?) * u128::from(unit);
    if !part.is_multiple_of(u128::from(scale)) {
        return None;
    }
    let part = u64::try_from(part / u128::from(scale)).ok()?;
    whole.parse::<u64>().ok()?.checked_mul(unit)?.checked_add(part)
}

/// Writes a duration with a unit: milliseconds below a second, seconds above.
pub(super) fn in_words(ns: u64) -> String {
    match ns {
        0 => "0".to_owned(),
        1..SECOND => decimal(ns, MILLISECOND, 6) + "ms",
        _ => decimal(ns, SECOND, 9) + "s",
    }
}

/// Writes a time as the beginning of a line has it: in milliseconds, without a unit.
pub(super) fn milliseconds(ns: u64) -> String {
    decimal(ns, MILLISECOND, 6)
}

fn decimal(ns: u64, unit: u64, places: usize) -> String {
    let text = format!("{}.{:0places$}", ns / unit, ns % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::{MILLISECOND, duration, in_words};
    use proptest::prelude::*;

    #[test]
    fn units_and_decimals() {
        for (word, ns) in [
            ("0", 0),
            ("12", 12_000_000),
            ("28.789", 28_789_000),
            ("75s", 75_000_000_000),
            ("1.5min", 90_000_000_000),
            ("2d", 172_800_000_000_000),
            ("3us", 3_000),
            ("0.000001", 1),
        ] {
            assert_eq!(duration(word, MILLISECOND), Ok(ns), "{word}");
        }
        for wrong in
            ["", ".", "1.", ".5", "-1", "+1", "1 s", "1e3", "5 weeks", "5w", "0.0000001", "s", "99999999999d"]
        {
            assert!(duration(wrong, MILLISECOND).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn words_are_read_back(ns: u64) {
            prop_assert_eq!(duration(&in_words(ns), 1), Ok(ns));
        }
    }
}
