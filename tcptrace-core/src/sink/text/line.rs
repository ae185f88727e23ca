//! A line as data: its text, and where that may be too long, the parts that it consists of.

use std::{
    fmt::{self, Write as _},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// How wide lines may be, in columns. Whoever looks at the terminal sets it, also between two lines.
#[derive(Clone, Debug, Default)]
pub struct Width(Arc<AtomicUsize>);

impl Width {
    /// So many columns; without a number, lines are as long as they are.
    #[must_use]
    pub fn new(columns: Option<usize>) -> Self {
        let width = Self::default();
        width.set(columns);
        width
    }

    /// From the next line on.
    pub fn set(&self, columns: Option<usize>) {
        self.0.store(columns.unwrap_or(0), Ordering::Relaxed);
    }

    pub(super) fn columns(&self) -> Option<usize> {
        Some(self.0.load(Ordering::Relaxed)).filter(|columns| *columns > 0)
    }
}

/// What a part is, and with that how it gives way where a line is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// When: the date is said behind the facts where there is no room for it.
    Time,
    /// The interface: named behind the facts where there is no room for its column.
    Interface,
    /// What happened: only the spaces behind it go.
    Label,
    /// Between whom: the spaces behind it go, and at last what is in the middle of IPv6 addresses.
    Pair,
    /// How long it took: on the next line if need be.
    Took,
    /// A fact: on the next line if need be. Has it a shorter form, that is taken before there is another line.
    Fact,
    /// What explains the fact before it: takes its shorter form before any fact does.
    Aside,
}

/// A piece of a line, with the spaces or the comma that lead to it.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) rank: Rank,
    start: usize,
    /// Where its shorter form is.
    short: Option<Range<usize>>,
}

/// A line in the making.
#[derive(Debug, Default)]
pub(super) struct Line {
    text: String,
    /// Whether anybody will ask for the parts.
    divided: bool,
    parts: Vec<Part>,
    shorts: String,
}

impl Line {
    /// Begins anew.
    pub(super) fn clear(&mut self, divided: bool) {
        self.divided = divided;
        self.text.clear();
        self.parts.clear();
        self.shorts.clear();
    }

    /// What is written from here on, until the next part begins, is this.
    pub(super) fn begin(&mut self, rank: Rank) {
        if self.divided {
            self.parts.push(Part { rank, start: self.text.len(), short: None });
        }
    }

    /// A part that is written at once.
    pub(super) fn part(&mut self, rank: Rank, text: fmt::Arguments<'_>) -> fmt::Result {
        self.begin(rank);
        self.write_fmt(text)
    }

    /// A shorter form of the part that was written last; nothing, for it to vanish.
    pub(super) fn or(&mut self, short: fmt::Arguments<'_>) -> fmt::Result {
        if let Some(part) = self.parts.last_mut() {
            let start = self.shorts.len();
            self.shorts.write_fmt(short)?;
            part.short = Some(start..self.shorts.len());
        }
        Ok(())
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// Each part with its text and its shorter form, in their order.
    pub(super) fn parts(&self) -> impl Iterator<Item = (Rank, &str, Option<&str>)> {
        let ends = self.parts.iter().skip(1).map(|part| part.start).chain([self.text.len()]);
        self.parts.iter().zip(ends).map(|(part, end)| {
            let short = part.short.clone().map(|short| &self.shorts[short]);
            (part.rank, &self.text[part.start..end], short)
        })
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text.push_str(text);
        Ok(())
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        self.text.push(c);
        Ok(())
    }
}
