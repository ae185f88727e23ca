//! Durations, sizes and names for people to read.

use std::{borrow::Cow, fmt};

/// Makes text that somebody else chose safe for a terminal. Characters that would move the cursor, change colours, hide
/// what follows or turn its direction are written as numbers, such as `\u{1b}`. A capture file may give any name to an
/// interface, and so may anybody who may add one to the system.
pub fn plain(text: &str) -> Cow<'_, str> {
    // Nearly all text ends here.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) || !text.contains(acts_on_terminal) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if acts_on_terminal(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// Whether a character acts on a terminal, or is not seen there: control characters of ASCII and ISO 8859, separators of
/// lines and paragraphs, those that turn the direction of writing (UAX #9), and those that have no shape of their own
/// (`Default_Ignorable_Code_Point` of Unicode), with which two names look like one.
fn acts_on_terminal(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fff8}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// As much of a name that others chose as is kept, where many are: its first 64 characters.
#[cfg(any(feature = "report", feature = "top"))]
pub(crate) fn shortened(name: &str) -> &str {
    const LONGEST: usize = 64;
    name.char_indices().nth(LONGEST).map_or(name, |(end, _)| &name[..end])
}

/// A duration in nanoseconds, printed with as many digits as mean something: `28.820 ms`, `3.029 s`, `12m 05s`.
#[derive(Clone, Copy, Debug)]
pub struct Nanos(pub u64);

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = self.micros();
        let seconds = us / 1_000_000;
        match seconds {
            0 => write!(f, "{} ms", Millis(self.0)),
            1..600 => {
                let ms = (us + 500) / 1000;
                write!(f, "{}.{:03} s", ms / 1000, ms % 1000)
            }
            600..3600 => write!(f, "{}m {:02}s", seconds / 60, seconds % 60),
            3600..86_400 => write!(f, "{}h {:02}m", seconds / 3600, seconds / 60 % 60),
            _ => write!(f, "{}d {:02}h", seconds / 86_400, seconds / 3600 % 24),
        }
    }
}

impl Nanos {
    /// The duration in microseconds, rounded.
    const fn micros(self) -> u64 {
        self.0.saturating_add(500) / 1000
    }

    /// Whether the duration is printed in milliseconds.
    #[must_use]
    pub const fn is_below_a_second(self) -> bool {
        self.micros() < 1_000_000
    }
}

/// A duration in nanoseconds, printed in milliseconds without the unit.
#[derive(Clone, Copy, Debug)]
pub struct Millis(pub u64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = Nanos(self.0).micros();
        write!(f, "{}.{:03}", us / 1000, us % 1000)
    }
}

/// A duration in nanoseconds, or `-`, in a column ten wide in which the points stand below each other.
#[derive(Clone, Copy, Debug)]
pub struct Column(pub Option<u64>);

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => write!(f, "{:>7}   ", "-"),
            Some(ns) => {
                let text = Nanos(ns).to_string();
                // The unit `s` is a character shorter than `ms`.
                if text.ends_with(" s") { write!(f, "{text:>9} ") } else { write!(f, "{text:>10}") }
            }
        }
    }
}

/// A number of octets, printed exactly below a million and with one decimal above.
#[derive(Clone, Copy, Debug)]
pub struct ByteCount(pub u64);

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] = [
            (1_000_000, "MB"),
            (1_000_000_000, "GB"),
            (1_000_000_000_000, "TB"),
            (1_000_000_000_000_000, "PB"),
        ];
        match UNITS.iter().rfind(|(unit, _)| self.0 >= *unit) {
            None => write!(f, "{} B", self.0),
            Some((unit, name)) => write!(f, "{}.{} {name}", self.0 / unit, self.0 % unit / (unit / 10)),
        }
    }
}

/// A number with the word for one and the word for several: `1 retry`, `2 retries`.
pub struct Count<'a>(pub u64, pub &'a str, pub &'a str);

impl fmt::Display for Count<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, if self.0 == 1 { self.1 } else { self.2 })
    }
}

#[cfg(test)]
mod tests {
    use super::{ByteCount, Column, Nanos, plain};

    #[test]
    fn durations_say_no_more_than_they_know() {
        for (ns, text) in [
            (0, "0.000 ms"),
            (499, "0.000 ms"),
            (31_000, "0.031 ms"),
            (28_820_000, "28.820 ms"),
            (999_999_499, "999.999 ms"),
            (999_999_500, "1.000 s"),
            (3_028_820_000, "3.029 s"),
            (725_000_000_000, "12m 05s"),
            (7_380_000_000_000, "2h 03m"),
            (u64::MAX, "213503d 23h"),
        ] {
            assert_eq!(Nanos(ns).to_string(), text);
        }
    }

    #[test]
    fn columns_align() {
        for (ns, text) in [
            (Some(28_820_000), " 28.820 ms"),
            (Some(3_000_000_000), "  3.000 s "),
            (Some(725_000_000_000), "   12m 05s"),
            (None, "      -   "),
        ] {
            assert_eq!(Column(ns).to_string(), text);
        }
    }

    #[test]
    fn sizes_are_exact_while_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (999_999, "999999 B"),
            (1_550_000, "1.5 MB"),
            (10_737_418_240, "10.7 GB"),
            (u64::MAX, "18446.7 PB"),
        ] {
            assert_eq!(ByteCount(bytes).to_string(), text);
        }
    }

    #[test]
    fn what_acts_on_a_terminal_is_written_as_a_number() {
        for (text, shown) in [
            ("eth0", "eth0"),
            ("Ethernet über 以太网", "Ethernet über 以太网"),
            ("e\u{1b}[2Jth", "e\\u{1b}[2Jth"),
            ("a\nb\r\t\u{7f}\u{9b}", "a\\u{a}b\\u{d}\\u{9}\\u{7f}\\u{9b}"),
            ("x\u{202e}y", "x\\u{202e}y"),
            // It belongs to the letter before it, and both are seen as one.
            ("e\u{301}th", "e\u{301}th"),
            ("eth\u{fe00}0\u{ad}", "eth\\u{fe00}0\\u{ad}"),
        ] {
            assert_eq!(plain(text), shown);
        }
    }
}
