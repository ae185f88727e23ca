//! A line that is being written, and where it may have to be fitted to a width, the parts that it consists of.

use std::{
    fmt::{self, Write as _},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The width that lines may have, in columns. It can be set from outside at any time, and holds from the next line on.
#[derive(Clone, Debug, Default)]
pub struct Width(Arc<AtomicUsize>);

impl Width {
    /// A width of this many columns; `None` is no limit.
    #[must_use]
    pub fn new(columns: Option<usize>) -> Self {
        let width = Self::default();
        width.set(columns);
        width
    }

    /// Sets the width for the lines from here on; `None` is no limit.
    pub fn set(&self, columns: Option<usize>) {
        self.0.store(columns.unwrap_or(0), Ordering::Relaxed);
    }

    /// How many columns a line may have now; `None` is no limit.
    #[must_use]
    pub fn columns(&self) -> Option<usize> {
        Some(self.0.load(Ordering::Relaxed)).filter(|columns| *columns > 0)
    }
}

/// What a part of a line says, which decides how it gives way where the line is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// When something happened. Where there is no room for the date, that moves to the end.
    Time,
    /// On which interface. Where there is no room for the column, the name moves to the end.
    Interface,
    /// What happened. Only the spaces after it give way.
    Label,
    /// The endpoints. The spaces after them give way, and at last groups in the middle of IPv6 addresses.
    Pair,
    /// How long it took. It moves to the next line if need be.
    Took,
    /// A fact. It takes its shorter form, if it has one, where that saves a line, and moves to the next line if need
    /// be.
    Fact,
    /// An explanation of the fact before it. It takes its shorter form before any fact does.
    Aside,
}

/// A part of a line, with the spaces or the comma before it.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) rank: Rank,
    start: usize,
    /// The range of its shorter form in `shorts`.
    short: Option<Range<usize>>,
}

/// A line that is being written.
#[derive(Debug, Default)]
pub(super) struct Line {
    text: String,
    /// Whether the parts are recorded, because somebody will ask for them.
    divided: bool,
    parts: Vec<Part>,
    shorts: String,
}

impl Line {
    /// Empties the line. `divided` says whether the parts of the next one are recorded.
    pub(super) fn clear(&mut self, divided: bool) {
        self.divided = divided;
        self.text.clear();
        self.parts.clear();
        self.shorts.clear();
    }

    /// Begins a part of this rank, which consists of what is written until the next part begins.
    pub(super) fn begin(&mut self, rank: Rank) {
        if self.divided {
            self.parts.push(Part { rank, start: self.text.len(), short: None });
        }
    }

    /// Writes a whole part.
    pub(super) fn part(&mut self, rank: Rank, text: fmt::Arguments<'_>) -> fmt::Result {
        self.begin(rank);
        self.write_fmt(text)
    }

    /// Sets the shorter form of the part that was written last. Where it is empty the part may be left out.
    pub(super) fn or_shorter(&mut self, short: fmt::Arguments<'_>) -> fmt::Result {
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

    /// The parts in their order, each with its rank, its text and its shorter form.
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
