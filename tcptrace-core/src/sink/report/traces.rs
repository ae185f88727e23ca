//! The traces that the events are of, and what each did not see.

use crate::{
    event::{Connection, Outcome, RunId, Start, Stats},
    sink::summary::{Lost, Unseen, write_shed},
};

/// The most traces that are told one by one.
const MOST: usize = 50;

/// One run of tcptrace, or of a capture all that was read.
#[derive(Debug, Default)]
pub(super) struct Trace {
    pub(super) start: Option<Box<Start>>,
    stats: Option<Box<Stats>>,
    unseen: Unseen,
    connections: u64,
}

impl Trace {
    fn run(&self) -> Option<RunId> {
        self.start.as_ref().map(|start| start.run)
    }

    fn is_empty(&self) -> bool {
        self.start.is_none() && self.stats.is_none() && self.connections == 0
    }

    /// Whether all is known of the connections that the trace followed.
    pub(super) fn is_whole(&self) -> bool {
        self.stats.as_ref().is_some_and(|stats| {
            stats.last && Lost(stats, self.unseen).is_nothing() && stats.shed.total() == 0
        })
    }

    /// What was lost, in sentences.
    pub(super) fn lost(&self) -> Vec<String> {
        let nothing = Stats { last: true, ..Stats::default() };
        let mut sentences = Vec::new();
        match &self.stats {
            None => {
                sentences.push(
                    "No event tells what the trace lost: its `stats` events are not in the file.".to_owned(),
                );
                if !Lost(&nothing, self.unseen).is_nothing() {
                    sentences.push(format!("Lost, by its connections: {}.", Lost(&nothing, self.unseen)));
                }
            }
            Some(stats) => {
                if !stats.last {
                    sentences.push("The events end before their trace did.".to_owned());
                }
                sentences.push(format!("Lost: {}.", Lost(stats, self.unseen)));
                let mut shed = String::new();
                // Writing to a String cannot fail.
                let _ = write_shed(stats, &mut shed);
                if let Some((head, rest)) = shed.trim_end().split_at_checked(1) {
                    sentences.push(format!("{}{rest}.", head.to_uppercase()));
                }
            }
        }
        sentences
    }

    /// What the trace left out on purpose, in sentences.
    pub(super) fn left_out(&self) -> Vec<String> {
        let Some(start) = &self.start else { return Vec::new() };
        let mut sentences = Vec::new();
        if let Some(filter) = start.filter.as_deref().filter(|filter| !filter.is_empty()) {
            sentences.push(format!("The trace had the filter: {filter}."));
        }
        if start.settings.failed || start.settings.slower_ns.is_some() {
            sentences.push(
                "The trace printed only handshakes that failed or were slow (--failed, --slower): the others are missing."
                    .to_owned(),
            );
        }
        if start.settings.sample > 0.0 && start.settings.sample < 1.0 {
            sentences.push(format!(
                "The trace followed {} % of all connections (--sample).",
                100.0 * start.settings.sample
            ));
        }
        sentences
    }
}

/// All traces, in the order in which they were read.
#[derive(Debug, Default)]
pub(super) struct Traces {
    all: Vec<Trace>,
    /// How many more there are than are told one by one, and how many of them are not known to be whole.
    pub(super) more: u64,
    pub(super) more_in_part: u64,
}

impl Traces {
    pub(super) fn begin(&mut self, start: &Start) {
        if self.all.last().is_some_and(|last| last.run() == Some(start.run)) {
            return;
        }
        self.begin_another();
        self.last().start = Some(Box::new(start.clone()));
    }

    pub(super) fn counters(&mut self, stats: &Stats) {
        // What comes after the end of a trace is of another.
        if self
            .all
            .last()
            .is_some_and(|last| last.stats.as_ref().is_some_and(|it| it.last && it.run != stats.run))
        {
            self.begin_another();
        }
        self.last().stats = Some(Box::new(stats.clone()));
    }

    pub(super) fn connection(&mut self, event: &Connection) {
        let last = self.last();
        last.connections += 1;
        last.unseen.incomplete += u64::from(!event.common.complete);
        last.unseen.evicted += u64::from(event.outcome == Outcome::Evicted);
    }

    /// Those that are told one by one.
    pub(super) fn told(&self) -> &[Trace] {
        &self.all
    }

    /// Whether all is known of the connections of all of them.
    pub(super) fn are_whole(&self) -> bool {
        self.more_in_part == 0 && self.all.iter().all(Trace::is_whole)
    }

    fn begin_another(&mut self) {
        if self.all.len() == MOST
            && let Some(last) = self.all.pop()
        {
            self.more += 1;
            self.more_in_part += u64::from(!last.is_whole());
        }
        if !self.all.last().is_some_and(Trace::is_empty) {
            self.all.push(Trace::default());
        }
    }

    /// The trace that is read.
    fn last(&mut self) -> &mut Trace {
        if self.all.is_empty() {
            self.all.push(Trace::default());
        }
        let last = self.all.len() - 1;
        &mut self.all[last]
    }
}
