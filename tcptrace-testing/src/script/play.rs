//! Plays a script, and compares what the tracker makes of it with what is expected.

use super::{Expectation, LineKind, START, Script, Step, expect::write_by_itself, number};
use std::{borrow::Cow, fmt};
use tcptrace_core::{
    event::{Event, Kind},
    segment::{Input, Timestamp},
    track::Tracker,
};

/// A script that was played, and its events.
#[derive(Debug)]
pub struct Played<'a> {
    script: &'a Script,
    /// The events of each step, and after them those of the end of the file if the script has no `end`.
    events: Vec<Vec<Event>>,
}

/// A difference between what was expected and what came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The number of the first line that did not come, or after which something came that was not expected.
    pub line: usize,
    /// The whole story, with `-` before lines that did not come and `+` before those that did instead.
    pub story: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: something else came than was expected (-), namely (+)", self.line)?;
        f.write_str(&self.story)
    }
}

/// An expectation and the event beside it; `None` where one of them has no counterpart.
type Pair<'b, 'a> = (Option<&'b Expected<'a>>, Option<&'a Event>);

/// A line of the story with its mark.
type Marked<'a> = (Mark, Cow<'a, str>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// The line was expected and came.
    Same,
    /// The line was expected and did not come.
    Missing,
    /// The line came and was not expected.
    Came,
}

/// An expectation, and the lines that it is written on.
struct Expected<'a> {
    expectation: &'a Expectation,
    line: usize,
    text: Vec<&'a str>,
}

/// A line on which something happens, and the lines after it up to the next such line.
struct Block<'a> {
    /// The number of the first line, from 1.
    line: usize,
    text: Cow<'a, str>,
    ts: Timestamp,
    /// All lines after it.
    after: Vec<&'a str>,
    /// The lines after it that are comments or empty.
    asides: Vec<&'a str>,
    expected: Vec<Expected<'a>>,
    events: Vec<&'a Event>,
}

impl<'a> Block<'a> {
    const fn new(line: usize, text: Cow<'a, str>, ts: Timestamp, events: Vec<&'a Event>) -> Self {
        Self { line, text, ts, after: Vec::new(), asides: Vec::new(), expected: Vec::new(), events }
    }
}

impl Script {
    /// Plays every step to a tracker. `capture` turns each input into what reaches the tracker of it.
    pub fn play<E>(
        &self,
        mut capture: impl FnMut(&Input) -> Result<Option<Input>, E>,
    ) -> Result<Played<'_>, E> {
        let mut tracker = Tracker::new(self.scene.config);
        for (number, name) in (1..).zip(&self.scene.interfaces) {
            tracker.name_interface(number, name.as_str().into());
        }
        let (mut events, mut last, mut ended) = (Vec::new(), START, false);
        for step in self.steps() {
            let mut came = Vec::new();
            match step {
                Step::Input(input) => {
                    if let Some(input) = capture(input)? {
                        tracker.input(&input, &mut |event| came.push(event));
                    }
                }
                Step::End(ts) => tracker.finish(*ts, &mut |event| came.push(event)),
            }
            last = last.max(step.ts());
            ended = matches!(step, Step::End(_));
            events.push(came);
        }
        let mut came = Vec::new();
        if !ended {
            tracker.finish(last, &mut |event| came.push(event));
        }
        events.push(came);
        Ok(Played { script: self, events })
    }
}

impl Played<'_> {
    /// All events in their order.
    pub fn events(&self) -> impl Iterator<Item = &Event> + '_ {
        self.events.iter().flatten()
    }

    /// The difference to what was expected; `None` if there is none.
    #[must_use]
    pub fn difference(&self) -> Option<Difference> {
        let (lines, wrong) = self.compare(self.script.expects_transitions());
        let story = lines.iter().fold(String::new(), |story, (mark, text)| {
            story
                + match mark {
                    Mark::Same => "  ",
                    Mark::Missing => "- ",
                    Mark::Came => "+ ",
                }
                + text
                + "\n"
        });
        wrong.map(|line| Difference { line, story })
    }

    /// The script with what came in the place of what was expected, in the script's own words where these fit. With
    /// `transitions`, transitions are written even if the script expects none.
    #[must_use]
    pub fn story(&self, transitions: bool) -> String {
        let is_silent = self.script.expects() && !self.script.expects_transitions();
        let (lines, _) = self.compare(transitions || !is_silent);
        let came = lines.iter().filter(|(mark, _)| *mark != Mark::Missing);
        came.fold(String::new(), |story, (_, text)| story + text + "\n")
    }

    /// Compares what came with what was expected: all lines with their marks, and the number of the first wrong line.
    fn compare(&self, transitions: bool) -> (Vec<Marked<'_>>, Option<usize>) {
        let (before, blocks) = self.blocks(transitions);
        let mut lines: Vec<Marked<'_>> = before.into_iter().map(|text| (Mark::Same, text.into())).collect();
        let mut wrong = None;
        for block in blocks {
            let is_in_the_file = block.line <= self.script.lines.len();
            lines.push((if is_in_the_file { Mark::Same } else { Mark::Came }, block.text.clone()));
            let pairs = self.pairs(&block);
            if pairs.iter().all(|&(expected, came)| self.fits(expected, came)) {
                lines.extend(block.after.into_iter().map(|text| (Mark::Same, text.into())));
                continue;
            }
            for (expected, came) in pairs {
                let fits = self.fits(expected, came);
                if !fits && wrong.is_none() {
                    wrong = Some(expected.map_or(block.line, |expected| expected.line));
                }
                let mark = if fits { Mark::Same } else { Mark::Missing };
                lines.extend(expected.iter().flat_map(|it| &it.text).map(|&text| (mark, text.into())));
                if let (Some(event), false) = (came, fits) {
                    let written = self.write_came(&block, expected, event);
                    lines.extend(written.into_iter().map(|text| (Mark::Came, text.into())));
                }
            }
            lines.extend(block.asides.into_iter().map(|text| (Mark::Same, text.into())));
        }
        (lines, wrong)
    }

    fn fits(&self, expected: Option<&Expected<'_>>, came: Option<&Event>) -> bool {
        let (Some(expected), Some(event)) = (expected, came) else { return false };
        expected.expectation.fits(event, &self.script.scene)
    }

    /// Writes an event, with the fields of the expectation where that is of the same kind.
    fn write_came(&self, block: &Block<'_>, expected: Option<&Expected<'_>>, event: &Event) -> Vec<String> {
        let scene = &self.script.scene;
        expected
            .and_then(|expected| expected.expectation.write_alike(event, scene))
            .unwrap_or_else(|| write_by_itself(event, scene, event.ts() != block.ts))
    }

    /// Puts expectations beside the events that they fit, so that one missing line does not make all later ones wrong.
    fn pairs<'b, 'a>(&self, block: &'b Block<'a>) -> Vec<Pair<'b, 'a>> {
        let fits = |expected: &Expected<'_>, event: &Event| self.fits(Some(expected), Some(event));
        let (mut expected, mut events) = (&block.expected[..], &block.events[..]);
        let mut pairs = Vec::new();
        loop {
            match (expected, events) {
                ([], []) => return pairs,
                ([first, rest @ ..], []) => {
                    pairs.push((Some(first), None));
                    expected = rest;
                }
                ([], [event, rest @ ..]) => {
                    pairs.push((None, Some(*event)));
                    events = rest;
                }
                ([first, later @ ..], [event, after @ ..]) => {
                    let came_later = after.iter().any(|event| fits(first, event));
                    let fits_later = later.iter().any(|later| fits(later, event));
                    if fits(first, event) || came_later == fits_later {
                        pairs.push((Some(first), Some(*event)));
                        (expected, events) = (later, after);
                    } else if came_later {
                        pairs.push((None, Some(*event)));
                        events = after;
                    } else {
                        pairs.push((Some(first), None));
                        expected = later;
                    }
                }
            }
        }
    }

    /// The lines before anything happens, and the blocks. A last block has what the end of the file caused.
    fn blocks(&self, transitions: bool) -> (Vec<&str>, Vec<Block<'_>>) {
        let mut before = Vec::new();
        let mut blocks: Vec<Block<'_>> = Vec::new();
        let mut events = self.events.iter().map(|events| {
            events.iter().filter(|event| transitions || event.kind() != Kind::Transition).collect::<Vec<_>>()
        });
        let mut last = START;
        for (line, number) in self.script.lines.iter().zip(1..) {
            let text = line.text.as_str();
            if let LineKind::Step(step) = &line.what {
                last = last.max(step.ts());
                blocks.push(Block::new(number, text.into(), step.ts(), events.next().unwrap_or_default()));
                continue;
            }
            let Some(block) = blocks.last_mut() else {
                before.push(text);
                continue;
            };
            block.after.push(text);
            match (&line.what, block.expected.last_mut()) {
                (LineKind::Expected(expectation), _) => {
                    block.expected.push(Expected { expectation, line: number, text: vec![text] });
                }
                (LineKind::More, Some(expected)) => expected.text.push(text),
                _ => block.asides.push(text),
            }
        }
        let end = events.next().unwrap_or_default();
        if !end.is_empty() {
            let text = format!("{} end", number::milliseconds(last.since(START))).into();
            blocks.push(Block::new(self.script.lines.len() + 1, text, last, end));
        }
        (before, blocks)
    }
}
