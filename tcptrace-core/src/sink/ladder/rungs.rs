//! What a ladder shows of a connection, in order.

use crate::{
    event::{Anomaly, Event, Role, SegmentEvent, State, Transition},
    segment::Timestamp,
    sink::text::reason,
};
use std::fmt::Write as _;
use tcptrace_common::tcp::TcpFlags;

/// The most rungs that are kept of a connection. One that is torn down in the usual way has seven.
const MOST: usize = 200;

/// A rung: a segment, or something that happened without one.
#[derive(Clone, Debug, Default)]
pub(super) struct Rung {
    pub(super) ts: Timestamp,
    /// Who sent the segment; `None` where there was none.
    pub(super) sender: Option<Role>,
    /// What the segment says, or what happened; the longest form first, and shorter ones for less room.
    pub(super) labels: Vec<String>,
    /// The states that the client and the server enter by it.
    pub(super) entered: [Option<Entered>; 2],
    /// What is wrong with it.
    pub(super) note: Option<String>,
}

/// A state that an end enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entered {
    pub(super) state: State,
    /// No segment shows it.
    pub(super) inferred: bool,
}

/// The rungs of a connection so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rungs {
    all: Vec<Rung>,
    /// How many were not kept.
    pub(super) missing: u64,
}

impl Rungs {
    /// Adds what an event says of the connection.
    pub(crate) fn add(&mut self, event: &Event) {
        match event {
            // A copy is captured twice and sent once.
            Event::Segment(segment) if !segment.copy => self.push(of_segment(segment)),
            Event::Transition(transition) => self.transition(transition),
            Event::Anomaly(anomaly) => self.anomaly(anomaly),
            Event::IcmpError(event) => {
                let error = &event.icmp;
                let label = format!("ICMP from {}: {}", error.from, error.meaning);
                self.push(Rung { ts: event.common.ts, labels: vec![label], ..Rung::default() });
            }
            _ => {}
        }
    }

    /// How many rungs there are.
    #[cfg(any(feature = "report", feature = "top"))]
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// The rungs, the earliest first.
    pub(super) fn all(&self) -> &[Rung] {
        &self.all
    }

    fn push(&mut self, rung: Rung) {
        if self.all.len() < MOST { self.all.push(rung) } else { self.missing += 1 }
    }

    /// The last rung, if it is of this time: what comes after a segment and has its time is caused by it.
    fn last_at(&mut self, ts: Timestamp) -> Option<&mut Rung> {
        self.all.last_mut().filter(|rung| rung.ts == ts)
    }

    fn transition(&mut self, transition: &Transition) {
        let Transition { common, endpoint, to, inferred, .. } = transition;
        let entered = Some(Entered { state: *to, inferred: *inferred });
        let place = usize::from(*endpoint == Role::Server);
        if let Some(rung) = self.last_at(common.ts) {
            rung.entered[place] = entered;
        } else {
            let mut rung = Rung { ts: common.ts, ..Rung::default() };
            rung.entered[place] = entered;
            self.push(rung);
        }
    }

    fn anomaly(&mut self, anomaly: &Anomaly) {
        let mut note = reason(anomaly.reason).to_owned();
        if let Some(expected) = anomaly.expected {
            let _ = write!(note, ", {expected} would fit");
        }
        if self.last_at(anomaly.common.ts).is_none() {
            let labels = vec![names(anomaly.flags)];
            self.push(Rung {
                ts: anomaly.common.ts,
                sender: Some(anomaly.sender),
                labels,
                ..Rung::default()
            });
        }
        if let Some(rung) = self.last_at(anomaly.common.ts) {
            rung.note = Some(note);
        }
    }
}

fn of_segment(segment: &SegmentEvent) -> Rung {
    let flags = names(segment.flags);
    let seq = segment.relative_seq.unwrap_or(segment.seq);
    let mut label = format!("{flags} {seq}");
    let mut labels = vec![flags, label.clone()];
    if let Some(ack) = segment.relative_ack.or(segment.ack) {
        let _ = write!(label, " ack {ack}");
        labels.push(label.clone());
    }
    if segment.payload_bytes > 0 {
        let _ = write!(label, ", {} B", segment.payload_bytes);
        labels.push(label);
    } else if let Some(mss) = segment.options.as_ref().and_then(|options| options.mss) {
        let _ = write!(label, ", mss {mss}");
        labels.push(label);
    }
    labels.reverse();
    Rung { ts: segment.common.ts, sender: Some(segment.sender), labels, ..Rung::default() }
}

/// The control bits by their names, without those that only data has.
pub(crate) fn names(flags: TcpFlags) -> String {
    let all = [
        (TcpFlags::SYN, "SYN"),
        (TcpFlags::FIN, "FIN"),
        (TcpFlags::RST, "RST"),
        (TcpFlags::ACK, "ACK"),
        (TcpFlags::URG, "URG"),
    ];
    let names: Vec<_> =
        all.iter().filter(|(flag, _)| flags.intersects(*flag)).map(|(_, name)| *name).collect();
    if names.is_empty() { "no flags".to_owned() } else { names.join(" ") }
}
