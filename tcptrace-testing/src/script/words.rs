//! Splits a line into words.

use super::{Problem, number};
use std::str::FromStr;

/// The words of a line that have not been parsed.
pub(super) struct Words<'a> {
    words: Vec<&'a str>,
    next: usize,
}

impl<'a> Words<'a> {
    /// Splits a line at blanks, but not within `<...>` and `"..."`. A word that begins with `#` begins a comment.
    pub(super) fn of(line: &'a str) -> Self {
        let mut words = Vec::new();
        let mut rest = line.trim_start();
        while !rest.is_empty() && !rest.starts_with('#') {
            let (word, after) = rest.split_at(length(rest));
            words.push(word);
            rest = after.trim_start();
        }
        Self { words, next: 0 }
    }

    pub(super) fn peek(&self) -> Option<&'a str> {
        self.words.get(self.next).copied()
    }

    pub(super) fn next(&mut self) -> Option<&'a str> {
        let word = self.peek()?;
        self.next += 1;
        Some(word)
    }

    /// The next word. It is an error if there is none.
    pub(super) fn need(&mut self, what: &'static str) -> Result<&'a str, Problem> {
        self.next().ok_or(Problem::Missing(what))
    }

    /// Consumes the next word. It is an error if it is not `wanted`.
    pub(super) fn expect(&mut self, wanted: &'static str) -> Result<(), Problem> {
        let word = self.need(wanted)?;
        if word == wanted { Ok(()) } else { Err(Problem::Unknown(word.to_owned(), wanted)) }
    }

    /// Parses the next word as a number, an address or the like.
    pub(super) fn parse<T: FromStr>(&mut self, what: &'static str) -> Result<T, Problem> {
        let word = self.need(what)?;
        word.parse().map_err(|_| Problem::Unknown(word.to_owned(), what))
    }

    /// Parses the next word as a number, if it begins like one.
    pub(super) fn number(&mut self, what: &'static str) -> Result<Option<u32>, Problem> {
        let is_number = self.peek().is_some_and(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        if is_number { self.parse(what).map(Some) } else { Ok(None) }
    }

    /// Parses the next word as a time, in milliseconds where it has no unit. Returns nanoseconds.
    pub(super) fn time(&mut self) -> Result<u64, Problem> {
        number::duration(self.need("a time")?, number::MILLISECOND)
    }

    /// All words that are left.
    pub(super) fn rest(&mut self) -> String {
        let rest = self.words[self.next..].join(" ");
        self.next = self.words.len();
        rest
    }

    /// Checks that no word is left.
    pub(super) fn end(&self) -> Result<(), Problem> {
        self.peek().map_or(Ok(()), |word| Err(Problem::TooMuch(word.to_owned())))
    }
}

/// The length in bytes of the word that a text begins with.
fn length(text: &str) -> usize {
    if text.starts_with('<') {
        return text.find('>').map_or(text.len(), |end| end + 1);
    }
    let mut quoted = false;
    let end = text.find(|c: char| {
        quoted ^= c == '"';
        c.is_whitespace() && !quoted
    });
    end.unwrap_or(text.len())
}
