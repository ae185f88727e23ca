//! A merge as text: a table of segments for each connection, and sentences that sum up.

mod summary;

use super::{
    by::{Fate, JoinedBy, OrderedBy},
    report::{Hop, MergeSummary, MergedConnection, MergedSegment, Name, ResetFrom},
    trace::nanoseconds,
};
use crate::{
    event::Outcome,
    segment::Timestamp,
    sink::{
        ladder::flag_names,
        units::{Millis, Nanos, plain},
        wrap::{columns, wrap},
    },
};
use jiff::tz::TimeZone;
use std::fmt::{self, Write};

/// Writes what a merge tells as text.
#[derive(Clone, Debug)]
pub struct MergeText {
    width: Option<usize>,
    zone: TimeZone,
}

/// No column of times is narrower.
const LEAST_CELL: usize = 9;

impl MergeText {
    /// Lines are at most so wide; times of day are those of `zone`.
    #[must_use]
    pub fn new(width: Option<usize>, zone: TimeZone) -> Self {
        Self { width, zone }
    }

    /// Writes about a connection.
    pub fn connection(&self, connection: &MergedConnection, out: &mut String) {
        // A `String` takes everything.
        let _ = self.head(connection, out);
        let _ = self.table(connection, out);
        for sentence in connection.hops.iter().map(of_hop).filter(|sentence| !sentence.is_empty()) {
            self.sentence(out, "  ", &sentence);
        }
        if let Some([near, far]) = &connection.torn_down_between {
            let sentence = format!(
                "Both ends got RSTs of each other that neither sent: something between {} and {} tore the connection down.",
                plain(near),
                plain(far)
            );
            self.sentence(out, "  ", &sentence);
        }
        out.push('\n');
    }

    /// Writes what holds of all.
    pub fn summary(&self, summary: &MergeSummary, out: &mut String) {
        for sentence in summary::sentences(summary) {
            self.sentence(out, "", &sentence);
        }
    }

    fn sentence(&self, out: &mut String, indent: &str, sentence: &str) {
        let Some(width) = self.width else {
            let _ = writeln!(out, "{indent}{sentence}");
            return;
        };
        let wrapped = wrap(sentence, width.saturating_sub(indent.len()).max(LEAST_CELL));
        for line in wrapped.lines() {
            let _ = writeln!(out, "{indent}{line}");
        }
    }

    fn head(&self, connection: &MergedConnection, out: &mut String) -> fmt::Result {
        let Some(first) = connection.seen.first() else { return Ok(()) };
        self.date(first.start.0, out)?;
        write!(out, "  {} > {}", first.client, first.server)?;
        let mut outcomes: Vec<&str> =
            connection.seen.iter().filter_map(|it| it.outcome).map(Outcome::json_name).collect();
        outcomes.dedup();
        if !outcomes.is_empty() {
            write!(out, "  {}", outcomes.join("/").to_uppercase().replace('_', " "))?;
        }
        out.push('\n');
        for seen in &connection.seen {
            if (seen.client, seen.server) != (first.client, first.server) {
                let sentence = format!("at {}: {} > {}", plain(&seen.vantage), seen.client, seen.server);
                self.sentence(out, "  ", &sentence);
            }
        }
        let grounds = grounds(connection);
        if !grounds.is_empty() {
            self.sentence(out, "  ", &grounds);
        }
        Ok(())
    }

    fn date(&self, ts: Timestamp, out: &mut String) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(ts.0)) {
            Ok(at) if ts != Timestamp::UNKNOWN => {
                write!(out, "{}", at.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S.%6f"))
            }
            _ => out.write_str("--:--:--.------"),
        }
    }

    fn table(&self, connection: &MergedConnection, out: &mut String) -> fmt::Result {
        if connection.segments.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = connection.path.iter().map(|name| plain(name)).collect();
        let widths: Vec<usize> = names.iter().map(|name| columns(name).max(LEAST_CELL)).collect();
        out.push_str("  ");
        for (name, width) in names.iter().zip(&widths) {
            write!(out, "{:1$}{name}  ", "", width - columns(name))?;
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        let clocks = Clocks::of(connection);
        for segment in &connection.segments {
            let mut line = "  ".to_owned();
            for (name, width) in connection.path.iter().zip(&widths) {
                write!(line, "{:>width$}  ", clocks.cell(segment, name))?;
            }
            let indent = line.len();
            let (label, note) = (label(segment), note(segment));
            line.push_str(&label);
            let fits = self.width.is_none_or(|width| columns(&line) + columns(&note) + 2 <= width);
            if note.is_empty() || fits {
                let _ = writeln!(out, "{line}{}{note}", if note.is_empty() { "" } else { "  " });
            } else {
                let _ = writeln!(out, "{line}");
                self.sentence(out, &" ".repeat(indent.min(30)), &note);
            }
        }
        Ok(())
    }
}

/// How the clocks of the vantages are moved, so that times stand beside each other.
struct Clocks<'a> {
    /// By how much each is ahead of the first.
    shifts: Vec<(&'a Name, i64)>,
    /// The first time, by the first clock.
    zero: i64,
}

impl<'a> Clocks<'a> {
    fn of(connection: &'a MergedConnection) -> Self {
        let mut shifts = Vec::new();
        let mut shift = 0_i64;
        for (at, name) in connection.path.iter().enumerate() {
            if let Some(before) = at.checked_sub(1).and_then(|at| connection.path.get(at)) {
                let known = connection.hops.iter().find(|hop| hop.from == *before && hop.to == *name);
                let offset = known.and_then(|hop| hop.offset_ns);
                shift = shift.saturating_add(offset.or_else(|| apart(connection, before, name)).unwrap_or(0));
            }
            shifts.push((name, shift));
        }
        let mut clocks = Self { shifts, zero: 0 };
        let timed =
            connection.segments.iter().flat_map(|it| &it.seen).filter(|it| it.ts.0 != Timestamp::UNKNOWN);
        let first = timed.map(|it| clocks.on_first(&it.vantage, it.ts.0));
        clocks.zero = first.min().unwrap_or_default();
        clocks
    }

    /// A time by the first clock.
    fn on_first(&self, vantage: &Name, ts: Timestamp) -> i64 {
        let shift = self.shifts.iter().find(|(name, _)| *name == vantage).map_or(0, |(_, shift)| *shift);
        nanoseconds(ts).saturating_sub(shift)
    }

    /// What stands in the column of a vantage.
    fn cell(&self, segment: &MergedSegment, vantage: &Name) -> String {
        if let Some(seen) = segment.seen.iter().find(|seen| seen.vantage == *vantage) {
            if seen.ts.0 == Timestamp::UNKNOWN {
                return "seen".to_owned();
            }
            let since = self.on_first(vantage, seen.ts.0).saturating_sub(self.zero);
            return Millis(since.unsigned_abs()).to_string();
        }
        let here = segment.before.as_ref() == Some(vantage);
        match segment.fate {
            Fate::Lost if here => "lost",
            Fate::LostOrUnrecorded if here => "lost?",
            Fate::Unknown if here || segment.after.as_ref() == Some(vantage) => "?",
            _ => "-",
        }
        .to_owned()
    }
}

/// How far the times of the first segment are apart that two vantages saw.
fn apart(connection: &MergedConnection, a: &Name, b: &Name) -> Option<i64> {
    connection.segments.iter().find_map(|segment| {
        let at = |name: &Name| segment.seen.iter().find(|seen| seen.vantage == *name).map(|seen| seen.ts.0);
        super::trace::later_by(at(a)?, at(b)?)
    })
}

fn label(segment: &MergedSegment) -> String {
    let sender = segment.sender.json_name();
    let mut label =
        format!("{sender} {} {}", flag_names(segment.flags.0), segment.relative_seq.unwrap_or(segment.seq));
    if let Some(ack) = segment.relative_ack.or(segment.ack) {
        let _ = write!(label, " ack {ack}");
    }
    if segment.payload_bytes > 0 {
        let _ = write!(label, ", {} B", segment.payload_bytes);
    }
    label
}

/// What there is to say of a segment besides where it was seen.
fn note(segment: &MergedSegment) -> String {
    let name = |name: &Option<Name>| name.as_ref().map(|name| plain(name).into_owned()).unwrap_or_default();
    let (after, before) = (name(&segment.after), name(&segment.before));
    let mut note = match segment.fate {
        Fate::Passed | Fate::OfOne | Fate::Lost | Fate::Unknown => String::new(),
        Fate::LostOrUnrecorded => "or it came behind another that says as much".to_owned(),
        Fate::Appeared => {
            format!(
                "{after} did not see it: something between {after} and {before} sent it, or it went another way"
            )
        }
    };
    let sender = segment.sender.json_name();
    let from = match segment.reset_from {
        Some(ResetFrom::Host) => format!("sent by the {sender}'s host"),
        Some(ResetFrom::Side) => {
            let nearest =
                segment.seen.first().map(|seen| plain(&seen.vantage).into_owned()).unwrap_or_default();
            format!("sent by the {sender}, or by something between it and {nearest}")
        }
        Some(ResetFrom::Between | ResetFrom::Unknown) | None => String::new(),
    };
    add(&mut note, &from);
    let ttl = segment.seen.first().map(|seen| seen.ttl);
    if let (Some(_), Some(ttl), Some(usual)) = (segment.reset_from, ttl, segment.usual_ttl)
        && ttl != usual
    {
        add(&mut note, &format!("TTL {ttl}, where others of the {sender} have {usual}"));
    }
    if !segment.which_is_known && segment.is_remarkable() {
        add(&mut note, "this one or another like it");
    }
    note
}

fn add(note: &mut String, more: &str) {
    if !more.is_empty() {
        if !note.is_empty() {
            note.push_str("; ");
        }
        note.push_str(more);
    }
}

/// By what it was joined and put in order, where that is not the usual.
fn grounds(connection: &MergedConnection) -> String {
    let mut grounds = String::new();
    match connection.joined_by {
        None | Some(JoinedBy::FourTupleAndIsns) => {}
        Some(JoinedBy::Isns) => add(&mut grounds, "joined by both initial sequence numbers"),
        Some(JoinedBy::FourTupleAndClientIsn) => {
            add(&mut grounds, "joined by addresses, ports and the client's initial sequence number");
        }
        Some(JoinedBy::ClientIsn) => {
            add(&mut grounds, "joined by the client's initial sequence number and one end");
        }
    }
    if connection.ordered_by == Some(OrderedBy::Given) {
        add(
            &mut grounds,
            "nothing tells which vantage is nearer to the client: the order is that of the files",
        );
    }
    if !connection.unseen.is_empty() {
        let names: Vec<_> = connection.unseen.iter().map(|name| plain(name)).collect();
        let names = names.join(" and ");
        add(&mut grounds, &format!("not seen at {names}, where others of this client and server passed"));
    }
    grounds
}

/// What is said of clocks and delays.
fn of_hop(hop: &Hop) -> String {
    let (from, to) = (plain(&hop.from), plain(&hop.to));
    let mut sentence = String::new();
    if let Some(round_trip) = hop.round_trip_ns {
        add(&mut sentence, &format!("round trip {}", Nanos(round_trip)));
    }
    if let (Some(there), Some(back)) = (hop.to_server_over_least_ns, hop.to_client_over_least_ns) {
        add(
            &mut sentence,
            &format!("at most {} there and {} back over the least", Nanos(there), Nanos(back)),
        );
    }
    if let (Some(difference), Some(bound)) = (hop.one_way_difference_ns, hop.one_way_difference_bound_ns) {
        let longer = if difference < 0 { "shorter" } else { "longer" };
        let difference = Nanos(difference.unsigned_abs());
        let bound = Nanos(bound.unsigned_abs());
        add(&mut sentence, &format!("there {difference} {longer} than back, ± {bound}"));
    }
    if sentence.is_empty() { sentence } else { format!("{from} to {to}: {sentence}") }
}
