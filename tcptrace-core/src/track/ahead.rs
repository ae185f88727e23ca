//! Looking ahead: where in the tables the next inputs belong is computed for several of them, and read, before the first of them
//! is taken. With many connections most of the time of a segment goes to waiting for memory, for one place after the other. Here
//! the places of several segments are waited for at once. No input is taken by it, and nothing is changed.

use super::{Tracker, key::Key};
use crate::{
    event::Event,
    segment::{Input, Segment},
};
use std::{array, hint::black_box};

/// [`Ahead::MOST`].
const MOST: usize = 16;

/// Where a segment belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) key: Key,
    /// The key's hash in the connection tables.
    pub(super) hash: u64,
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
    known: Option<Known>,
}

impl<'a> Ahead<'a> {
    /// The most inputs that are looked at together: a processor can wait for about so many places of memory.
    pub const MOST: usize = MOST;

    /// The inputs one after the other. Each has to be given to [`Tracker::take`] of the same tracker before the tracker looks
    /// ahead again.
    pub fn iter(&self) -> impl Iterator<Item = Next<'a>> + '_ {
        self.inputs.iter().zip(self.known).map(|(input, known)| Next { input, known })
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
            for next in self.look_ahead(some).iter() {
                self.take(&next, sink);
            }
        }
    }

    /// Looks ahead to the first of these inputs, at most [`Ahead::MOST`].
    #[must_use]
    pub fn look_ahead<'a>(&self, inputs: &'a [Input]) -> Ahead<'a> {
        let inputs = &inputs[..inputs.len().min(Ahead::MOST)];
        // A segment that begins to be the other half of a connection gives later ones another key.
        if inputs.len() < 2 || self.has_halves() {
            return Ahead { inputs, known: [None; MOST] };
        }
        let known = array::from_fn(|at| match inputs.get(at)? {
            Input::Segment(segment) => Some((self.place_of(segment), self.prints.tag_of(segment))),
            _ => None,
        });
        self.read(&known);
        Ahead { inputs, known }
    }

    /// Reads what the tables have at these places, so that it is near when the segments are taken.
    fn read(&self, known: &[Option<Known>; MOST]) {
        let slots = known.map(|known| {
            let (place, tag) = known?;
            black_box(self.prints.read(tag));
            self.table.guess(place.hash)
        });
        for slot in slots.into_iter().flatten() {
            black_box(self.table.read(slot));
        }
    }

    /// Takes the next input; `sink` gets the events that follow from it, in the order in which things happened.
    pub fn take(&mut self, next: &Next<'_>, sink: &mut dyn FnMut(Event)) {
        match (next.input, next.known) {
            (Input::Segment(segment), Some(known)) if !self.has_halves() => {
                self.context.losses.set_began(Some(segment.ts));
                self.expire(segment.ts, sink);
                self.segment_at(known, segment, sink);
            }
            (input, _) => self.input(input, sink),
        }
    }

    /// Where `segment` belongs.
    pub(super) fn place_of(&self, segment: &Segment) -> Place {
        let (key, src_is_low) = self.key_of(&segment.flow);
        Place { key, hash: self.table.hash(&key), src_is_low }
    }
}
