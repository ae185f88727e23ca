//! Looking ahead: where in the tables the next inputs belong is computed for several of them, and read, before the first of them
//! is taken. With many connections most of the time of a segment goes to waiting for memory, for one place after the other. Here
//! the places of several segments are waited for at once. No input is taken by it, and nothing is changed.

use super::{Tracker, key::Key};
use crate::{
    event::Event,
    segment::{Input, Segment},
};
use std::hint::black_box;

/// [`Ahead::MOST`].
const MOST: usize = 8;

/// With fewer connections than this a cache has room for all of them.
const FEW: usize = 4096;

/// Where a segment belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) key: Key,
    /// The key's hash in the table of connections.
    pub(super) hash: u64,
    /// The slot of the connection that is likely to have the key, as far as was looked.
    pub(super) guess: Option<u32>,
    /// Whether the source is the `low` end of the key.
    pub(super) src_is_low: bool,
}

/// A [`Place`] and the tag of the segment's print.
pub(super) type Known = (Place, u64);

/// The next inputs, with what is known about where they belong.
#[derive(Debug)]
pub struct Ahead<'a> {
    inputs: &'a [Input],
    known: [Option<Known>; MOST],
}

/// The next input, with what is known about where it belongs.
#[derive(Debug)]
pub struct Next<'a> {
    input: &'a Input,
    known: Option<&'a Known>,
}

impl<'a> Ahead<'a> {
    /// The most inputs that are looked at together: a processor can wait for about so many places of memory.
    pub const MOST: usize = MOST;

    /// The first of these inputs, of which nothing is known yet.
    fn of(inputs: &'a [Input]) -> Self {
        Self { inputs: &inputs[..inputs.len().min(MOST)], known: [const { None }; MOST] }
    }

    /// The inputs one after the other, for [`Tracker::take`] of the tracker that looked ahead to them.
    pub fn iter(&self) -> impl Iterator<Item = Next<'_>> {
        self.inputs.iter().zip(&self.known).map(|(input, known)| Next { input, known: known.as_ref() })
    }
}

impl<'a> Next<'a> {
    /// The input.
    #[must_use]
    pub fn input(&self) -> &'a Input {
        self.input
    }
}

impl Tracker {
    /// Takes the next inputs, one after the other.
    pub fn inputs(&mut self, inputs: &[Input], sink: &mut dyn FnMut(Event)) {
        for some in inputs.chunks(Ahead::MOST) {
            for next in self.next(some).iter() {
                self.take(&next, sink);
            }
        }
    }

    /// The first of these inputs, at most [`Ahead::MOST`]. The tracker looks ahead to them where that saves time.
    #[must_use]
    pub fn next<'a>(&self, inputs: &'a [Input]) -> Ahead<'a> {
        if self.table.len() >= FEW { self.look_ahead(inputs) } else { Ahead::of(inputs) }
    }

    /// Looks ahead to the first of these inputs, at most [`Ahead::MOST`].
    #[must_use]
    pub fn look_ahead<'a>(&self, inputs: &'a [Input]) -> Ahead<'a> {
        let mut ahead = Ahead::of(inputs);
        // A segment that begins to be the other half of a connection gives later ones another key.
        if inputs.len() < 2 || self.has_halves() {
            return ahead;
        }
        for (known, input) in ahead.known.iter_mut().zip(ahead.inputs) {
            if let Input::Segment(segment) = input {
                *known = Some(self.known_of(segment));
            }
        }
        self.read(&mut ahead.known);
        ahead
    }

    /// Reads what the tables have at these places, so that it is near when the segments are taken. All of one kind is read before
    /// what depends on it.
    fn read(&self, known: &mut [Option<Known>]) {
        for (place, tag) in known.iter_mut().flatten() {
            black_box(self.prints.read(*tag));
            place.guess = self.table.guess(place.hash);
        }
        for slot in known.iter().flatten().filter_map(|(place, _)| place.guess) {
            black_box(self.table.read(slot));
        }
    }

    /// Takes the next input; `sink` gets the events that follow from it, in the order in which things happened.
    pub fn take(&mut self, next: &Next<'_>, sink: &mut dyn FnMut(Event)) {
        self.input_at(next.input, next.known, sink);
    }

    /// Where `segment` belongs, and the tag of its print.
    fn known_of(&self, segment: &Segment) -> Known {
        (self.place_of(segment), self.prints.tag_of(segment))
    }

    /// What is known about `segment`, which was looked ahead to where there is something `known` before.
    pub(super) fn still_known(&self, known: Option<&Known>, segment: &Segment) -> Known {
        known.filter(|_| !self.has_halves()).map_or_else(|| self.known_of(segment), |known| *known)
    }

    /// Where `segment` belongs.
    pub(super) fn place_of(&self, segment: &Segment) -> Place {
        let (key, src_is_low) = self.key_of(&segment.flow);
        self.place(key, src_is_low)
    }

    /// Where a segment of the connection with `key` belongs.
    pub(super) fn place(&self, key: Key, src_is_low: bool) -> Place {
        Place { key, hash: self.table.hash(&key), guess: None, src_is_low }
    }
}
