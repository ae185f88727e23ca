//! Breaks text into lines: between words, and never within a number with its unit, an address or a name.

use unicode_width::UnicodeWidthChar as _;

/// How many columns of a terminal a text takes. The escape sequences of colours take none.
#[must_use]
pub fn columns(text: &str) -> usize {
    let mut is_escape = false;
    let wide = text.chars().map(|c| match c {
        '\u{1b}' => {
            is_escape = true;
            0
        }
        'm' if is_escape => {
            is_escape = false;
            0
        }
        _ if is_escape => 0,
        c => c.width().unwrap_or(0),
    });
    wide.sum()
}

/// The pieces of a text that are never broken, each with the spaces before it.
pub fn words(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let glue = rest.len() - rest.trim_start_matches(' ').len();
        let mut end = glue + word(&rest[glue..]);
        if end == glue {
            return None;
        }
        loop {
            let gap = rest[end..].len() - rest[end..].trim_start_matches(' ').len();
            let next = &rest[end + gap..];
            let next = &next[..word(next)];
            let last = rest[glue..end].rsplit(' ').next().unwrap_or_default();
            // More than one space separates two columns of a table.
            if gap != 1 || next.is_empty() || !stay_together(last, next) {
                break;
            }
            end += gap + next.len();
        }
        let (piece, left) = rest.split_at(end);
        rest = left;
        Some(piece.split_at(glue))
    })
}

fn word(text: &str) -> usize {
    text.find(' ').unwrap_or(text.len())
}

/// Whether two words stay together: a number and what it counts, or a sign and what follows it, as in `28.820 ms`, `TTL
/// 28`, `for 7 SYNs`, `RFC 9293 §3.10.7.3`, `= syn` and `-> LISTEN`.
fn stay_together(last: &str, next: &str) -> bool {
    let is_sign = |word: &str| matches!(word, "=" | "+" | ">" | "->");
    let begins_new = is_sign(next) || next.starts_with('(');
    let counts = last.ends_with(|c: char| c.is_ascii_digit());
    let is_counted =
        next.starts_with(|c: char| c.is_ascii_digit() || c == '§') && !last.ends_with([',', ';', ':', ')']);
    is_sign(last) || (!begins_new && (counts || is_counted))
}

/// Breaks lines that are longer than `width` columns. What goes on below is indented by four columns more than its
/// line.
#[must_use]
pub fn wrap(text: &str, width: usize) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start_matches(' ').len() + 4;
        let mut at = 0;
        for (glue, word) in words(line.trim_end_matches('\n')) {
            if at > 0 && at + glue.len() + columns(word) > width {
                out.push('\n');
                out.extend(std::iter::repeat_n(' ', indent));
                at = indent;
            } else {
                out.push_str(glue);
                at += glue.len();
            }
            out.push_str(word);
            at += columns(word);
        }
        if line.ends_with('\n') {
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{columns, words, wrap};

    #[test]
    fn colours_take_no_columns_and_ideographs_two() {
        for (text, width) in [("", 0), ("eth0", 4), ("\u{1b}[32mCLOSED\u{1b}[0m  m", 9), ("以太网 §", 8)]
        {
            assert_eq!(columns(text), width, "{text:?}");
        }
    }

    #[test]
    fn numbers_stay_with_what_they_count() {
        for (text, pieces) in [
            ("= syn 28.789 ms + ack 0.031 ms", &["= syn 28.789 ms", "+ ack 0.031 ms"][..]),
            (
                "for 7 SYNs in 133.000 s (1.0, 2.0 s apart)",
                &["for 7 SYNs", "in 133.000 s", "(1.0,", "2.0 s", "apart)"],
            ),
            ("acknowledge 1000, not 1001: the", &["acknowledge 1000,", "not 1001:", "the"]),
            ("ignores (RFC 9293 §3.10.7.3)", &["ignores", "(RFC 9293 §3.10.7.3)"]),
            ("says 192.0.2.1 (ICMP type 3, code 1)", &["says 192.0.2.1", "(ICMP", "type 3,", "code 1)"]),
            ("  12m 05s  CLOSED -> LISTEN", &["12m 05s", "CLOSED", "-> LISTEN"]),
        ] {
            assert_eq!(words(text).map(|(_, word)| word).collect::<Vec<_>>(), pieces);
            let whole: String = words(text).flat_map(|(glue, word)| [glue, word]).collect();
            assert_eq!(whole, text);
        }
    }

    #[test]
    fn lines_that_fit_are_left_alone() {
        let text = "\nhandshake    min\n  syn to syn-ack  0.031 ms  28.820 ms\n";
        assert_eq!(wrap(text, 40), text);
        assert_eq!(wrap(text, 30), "\nhandshake    min\n  syn to syn-ack  0.031 ms\n      28.820 ms\n");
    }
}
