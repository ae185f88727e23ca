//! Numbers, times and names as the page has them.

pub(super) use crate::sink::summary::outcome_name as outcome;
use crate::{
    event::{Address, Rfc3339},
    segment::Timestamp,
    sink::units::{Millis, Nanos},
};
use std::fmt;

/// A number with commas between thousands: `1,000,000`.
#[derive(Clone, Copy)]
pub(super) struct Number(pub(super) u64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (place, digit) in digits.char_indices() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// A number with the word for one and the word for several, and commas between thousands.
pub(super) struct Many(pub(super) u64, pub(super) &'static str, pub(super) &'static str);

impl fmt::Display for Many {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Number(self.0), if self.0 == 1 { self.1 } else { self.2 })
    }
}

/// A number without a loss that matters to a picture or a percentage.
#[expect(clippy::cast_precision_loss, reason = "a picture and a percentage need no 53 bits")]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

/// How many of a hundred; 0 of none.
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * float(part) / float(whole) }
}

/// A time of day in UTC, to the millisecond; a dash where it is not known.
pub(super) fn moment(ts: Timestamp) -> String {
    if ts == Timestamp::UNKNOWN {
        return "-".to_owned();
    }
    let text = Rfc3339::new(ts);
    text.as_str().get(..23).unwrap_or_default().replace('T', " ")
}

/// A duration, or a dash where none is known.
pub(super) fn duration(ns: Option<u64>) -> String {
    ns.map_or_else(|| "-".to_owned(), |ns| Nanos(ns).to_string())
}

/// A duration in milliseconds without the unit, or a dash.
pub(super) fn millis(ns: Option<u64>) -> String {
    ns.map_or_else(|| "-".to_owned(), |ns| Millis(ns).to_string())
}

/// A round duration in as few characters as can be: `20 µs`, `5 ms`, `2 s`.
pub(super) fn short(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{} µs", ns / 1_000),
        1_000_000..1_000_000_000 => format!("{} ms", ns / 1_000_000),
        _ => format!("{} s", ns / 1_000_000_000),
    }
}

/// The server's address with the name that clients asked for.
pub(super) fn server(address: Address, name: Option<&(std::sync::Arc<str>, bool)>) -> String {
    match name {
        None => address.to_string(),
        Some((name, several)) => {
            format!("{address} ({name}{})", if *several { " and others" } else { "" })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Number;

    #[test]
    fn thousands_have_commas() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(Number(number).to_string(), text);
        }
    }
}
