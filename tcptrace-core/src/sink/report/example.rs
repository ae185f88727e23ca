//! Connections that are shown one by one, with their ladders: the slowest, and one of each kind of what is odd.

use super::oddity::{Oddity, oddities};
use crate::{
    event::{AnomalyReason, Connection, Event},
    sink::{
        Sink as _,
        ladder::Rungs,
        text::{TextOptions, TextSink, TimeFormat, Width},
    },
};
use bytes::BytesMut;
use jiff::tz::TimeZone;
use std::{cmp::Reverse, collections::BTreeMap};

/// The most of the slowest.
const MOST_SLOW: usize = 10;
/// The most of what is odd.
const MOST_ODD: usize = 12;

/// A connection that is shown.
#[derive(Debug)]
pub(super) struct Example {
    pub(super) connection: Box<Connection>,
    /// Its segments, as far as an event told them and they were kept.
    pub(super) rungs: Option<Rungs>,
}

impl Example {
    fn new(connection: &Connection, rungs: Option<&Rungs>) -> Self {
        let rungs = rungs.filter(|rungs| rungs.len() > 0).cloned();
        Self { connection: Box::new(connection.clone()), rungs }
    }

    /// What a trace would say of it in a line, with the time of day in UTC.
    pub(super) fn line(&self) -> String {
        let mut sink = TextSink::new(TextOptions {
            interfaces: true,
            color: false,
            zone: TimeZone::UTC,
            times: TimeFormat::Date,
            width: Width::new(None),
        });
        let mut line = BytesMut::new();
        sink.event(&Event::Connection(self.connection.clone()), &mut line);
        let words: Vec<_> = str::from_utf8(&line).unwrap_or_default().split_whitespace().collect();
        words.join(" ")
    }
}

/// Those whose handshakes took longest.
#[derive(Debug, Default)]
pub(super) struct Slowest(Vec<(u64, Example)>);

impl Slowest {
    pub(super) fn offer(&mut self, event: &Connection, rungs: Option<&Rungs>) {
        let Some(ns) = event.times.syn_to_established_ns else { return };
        if self.0.len() == MOST_SLOW && self.0.last().is_some_and(|(last, _)| *last >= ns) {
            return;
        }
        let place = self.0.partition_point(|(other, _)| *other >= ns);
        self.0.insert(place, (ns, Example::new(event, rungs)));
        self.0.truncate(MOST_SLOW);
    }

    /// The slowest first.
    pub(super) fn all(&self) -> impl ExactSizeIterator<Item = &Example> {
        self.0.iter().map(|(_, example)| example)
    }
}

/// What is odd: how often, and the first connection of each kind.
#[derive(Debug, Default)]
pub(super) struct Oddest {
    kinds: BTreeMap<Oddity, (u64, Example)>,
    anomalies: BTreeMap<AnomalyReason, u64>,
}

impl Oddest {
    pub(super) fn anomaly(&mut self, reason: AnomalyReason) {
        *self.anomalies.entry(reason).or_default() += 1;
    }

    pub(super) fn offer(&mut self, event: &Connection, rungs: Option<&Rungs>) {
        for oddity in oddities(event) {
            self.kinds
                .entry(oddity)
                .and_modify(|(count, _)| *count += 1)
                .or_insert_with(|| (1, Example::new(event, rungs)));
        }
    }

    /// The kinds, the rarest first.
    pub(super) fn rarest(&self) -> Vec<(Oddity, u64, &Example)> {
        let mut all: Vec<_> =
            self.kinds.iter().map(|(oddity, (count, example))| (*oddity, *count, example)).collect();
        all.sort_by_key(|(_, count, _)| *count);
        all.truncate(MOST_ODD);
        all
    }

    /// Segments that cannot be, by what is wrong with them, the most frequent first.
    pub(super) fn anomalies(&self) -> Vec<(AnomalyReason, u64)> {
        let mut all: Vec<_> = self.anomalies.iter().map(|(reason, count)| (*reason, *count)).collect();
        all.sort_by_key(|(_, count)| Reverse(*count));
        all
    }
}
