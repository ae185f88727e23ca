//! Lines for people to read: one for each outcome, and with `-v` and `-vv` what led to it.
//!
//! ```text
//! TIME             WHAT         CLIENT > SERVER                              HOW LONG   DETAILS
//! 06:59:50.293475  ESTABLISHED  192.168.64.128:60592 > 180.101.49.11:80   28.820 ms  = syn 28.789 + ack 0.031
//! ```
//!
//! Times of day are local, as those of tcpdump are. What is "sent" was sent by the client. Where lines have a width, longer
//! ones are shortened or go on in a line below, which is the work of `fit.rs`.

mod clock;
mod details;
mod ends;
mod first_data;
mod fit;
mod handshake;
mod line;
mod resets;
mod sockets;
mod words;

use super::Sink;
use crate::event::{
    Anomaly, Common, Connection, Established, Event, IcmpErrorEvent, Outcome, Path, Process, SegmentEvent,
    Stats, Teids, Transition, Vlans,
};
use crate::sink::{
    units::{Column, plain},
    wrap::columns,
};
use anstyle::{AnsiColor, Style};
use bytes::{BufMut as _, BytesMut};
use clock::TimeColumn;
pub use clock::TimeFormat;
use details::Details;
#[cfg(feature = "top")]
pub(crate) use ends::NamedAddress;
pub use ends::Naming;
use ends::{End, Named, directed, write_pair};
use jiff::tz::TimeZone;
pub use line::Width;
use line::{Line, Rank};
use std::{
    fmt::{self, Write as _},
    sync::Arc,
};
pub(super) use words::reason;

/// The columns of the time of day and of the longest label (SYNACK-UNANSWERED), with the spaces after them.
const HEAD: usize = 15 + 2 + 17 + 2;

/// The width of ESTABLISHED, the longest common label.
const LABEL: usize = 11;
/// The column of the addresses grows with the pairs that were printed, up to this width; longer pairs stick out.
const MAX_PAIR: usize = 64;

/// Options for the look of the text.
#[derive(Clone, Debug)]
pub struct TextOptions {
    /// Whether each line names its interface, because more than one is traced.
    pub interfaces: bool,
    /// Whether the text has colours.
    pub color: bool,
    /// The time zone of the times of day.
    pub zone: TimeZone,
    /// The format of the column that says when something happened.
    pub times: TimeFormat,
    /// The width that lines may have.
    pub width: Width,
}

/// A sink that writes lines for people to read.
#[derive(Debug)]
pub struct TextSink {
    options: TextOptions,
    clock: TimeColumn,
    line: Line,
    pair: String,
    pair_width: usize,
    interface_width: usize,
    /// The processes of the ends are to be written after the other facts.
    processes_follow: bool,
    /// Names for addresses and ports, where they are wanted.
    names: Option<Arc<dyn Naming>>,
}

impl Sink for TextSink {
    fn event(&mut self, event: &Event, out: &mut BytesMut) {
        let mut line = std::mem::take(&mut self.line);
        let width = self.options.width.columns();
        line.clear(width.is_some());
        // Writing to a line fails only if a `Display` does, and none of ours does. A part of a line would be worse than
        // none.
        if self.write(event, &mut line).is_ok() && !line.text().is_empty() {
            match width {
                None => {
                    out.extend_from_slice(line.text().trim_end().as_bytes());
                    out.put_u8(b'\n');
                }
                Some(width) => fit::fit(&line, width, out),
            }
        }
        self.line = line;
    }
}

impl TextSink {
    /// A sink with these options.
    #[must_use]
    pub fn new(options: TextOptions) -> Self {
        let clock = TimeColumn::new(options.zone.clone(), options.times);
        Self {
            options,
            clock,
            line: Line::default(),
            pair: String::new(),
            pair_width: 0,
            interface_width: 0,
            processes_follow: false,
            names: None,
        }
    }

    /// The same sink, which writes names for addresses and ports that have any.
    #[must_use]
    pub fn named_by(self, names: Option<Arc<dyn Naming>>) -> Self {
        Self { names, ..self }
    }

    fn write(&mut self, event: &Event, line: &mut Line) -> fmt::Result {
        match event {
            Event::Segment(event) => self.segment(event, line),
            Event::Transition(event) => self.transition(event, line),
            Event::Established(event) => self.established(event, line),
            Event::Connection(event) => self.connection(event, line),
            Event::Anomaly(event) => self.anomaly(event, line),
            Event::IcmpError(event) => self.icmp_error(event, line),
            Event::Stats(stats) => self.stats(stats, line),
            // A person has seen the command line and the notices before, and needs no line for this.
            Event::Start(_) => Ok(()),
        }
    }

    fn established(&mut self, event: &Established, line: &mut Line) -> fmt::Result {
        self.head(
            &event.common,
            &"ESTABLISHED",
            color(AnsiColor::Green),
            (
                End::of(event.common.client, event.client_process.as_ref(), event.client_cgroup.as_ref()),
                End::of(event.common.server, event.server_process.as_ref(), event.server_cgroup.as_ref()),
            ),
            line,
        )?;
        took(Column(event.times.syn_to_established_ns), line)?;
        words::established(event, line)?;
        self.processes(event.client_process.as_ref(), event.server_process.as_ref(), line)?;
        via(&event.path, line)?;
        tail(&event.common, line)
    }

    fn connection(&mut self, event: &Connection, line: &mut Line) -> fmt::Result {
        let (label, style) = outcome(event.outcome);
        let client =
            End::of(event.common.client, event.client_process.as_ref(), event.client_cgroup.as_ref());
        let server =
            End::of(event.common.server, event.server_process.as_ref(), event.server_cgroup.as_ref());
        self.head(&event.common, &label, style, (client, server), line)?;
        took(Column(event.lifetime_ns), line)?;
        words::connection(event, &mut Details::new(line))?;
        self.processes(event.client_process.as_ref(), event.server_process.as_ref(), line)?;
        via(&event.path, line)?;
        tail(&event.common, line)
    }

    fn anomaly(&mut self, event: &Anomaly, line: &mut Line) -> fmt::Result {
        let pair = directed(&event.common, event.sender);
        self.head(&event.common, &"ANOMALY", color(AnsiColor::Magenta), pair, line)?;
        took(Column(None), line)?;
        words::anomaly(event, &mut Details::new(line))?;
        tail(&event.common, line)
    }

    fn icmp_error(&mut self, event: &IcmpErrorEvent, line: &mut Line) -> fmt::Result {
        let pair = directed(&event.common, event.icmp.quoted_sender);
        self.head(&event.common, &Indented("icmp"), Style::new().dimmed(), pair, line)?;
        took(Column(None), line)?;
        details::icmp(&event.icmp, &mut Details::new(line))?;
        tail(&event.common, line)
    }

    fn transition(&mut self, event: &Transition, line: &mut Line) -> fmt::Result {
        let pair = (End::at(event.common.client), End::at(event.common.server));
        self.head(
            &event.common,
            &Indented(details::role(event.endpoint)),
            Style::new().dimmed(),
            pair,
            line,
        )?;
        took(Column(event.since_previous_ns), line)?;
        words::transition(event, line)?;
        tail(&event.common, line)
    }

    fn segment(&mut self, event: &SegmentEvent, line: &mut Line) -> fmt::Result {
        let flags = format!("[{}]", event.flags);
        let pair = directed(&event.common, event.sender);
        self.head(&event.common, &Indented(&flags), Style::new().dimmed(), pair, line)?;
        line.part(Rank::Took, format_args!("  {:10}", ""))?;
        words::segment(event, line)?;
        tail(&event.common, line)
    }

    fn stats(&mut self, stats: &Stats, line: &mut Line) -> fmt::Result {
        line.begin(Rank::Time);
        self.clock.write(stats.ts, line)?;
        line.begin(Rank::Label);
        self.label(&"STATS", Style::new().dimmed(), line)?;
        words::stats(stats, &mut Details::new(line))
    }

    /// Writes the beginning of a line, up to the addresses.
    fn head(
        &mut self,
        common: &Common,
        label: &dyn fmt::Display,
        style: Style,
        ends: (End<'_>, End<'_>),
        line: &mut Line,
    ) -> fmt::Result {
        line.begin(Rank::Time);
        self.clock.write(common.ts, line)?;
        if self.options.interfaces {
            let name = plain(&common.interface);
            self.interface_width = self.interface_width.max(name.len());
            let width = self.interface_width;
            line.part(Rank::Interface, format_args!("{name:width$}  "))?;
        }
        line.begin(Rank::Label);
        self.label(label, style, line)?;
        self.write_pair(ends)?;
        if self.pair.len() <= MAX_PAIR {
            self.pair_width = self.pair_width.max(self.pair.len());
        }
        line.part(Rank::Pair, format_args!("  {:1$}", self.pair, self.pair_width))
    }

    /// Makes the pair of both ends. A process beside its address is left for later where both addresses would not fit into the
    /// line, and then names are.
    fn write_pair(&mut self, ends: (End<'_>, End<'_>)) -> fmt::Result {
        let names = self.names.as_deref();
        write_pair(ends, names, true, &mut self.pair)?;
        self.processes_follow = false;
        let Some(width) = self.options.width.columns() else { return Ok(()) };
        let too_wide = |pair: &str| columns(pair) + HEAD > width;
        if too_wide(&self.pair) {
            let whole = self.pair.len();
            write_pair(ends, names, false, &mut self.pair)?;
            self.processes_follow = self.pair.len() < whole;
        }
        if names.is_some() && too_wide(&self.pair) {
            write_pair(ends, None, false, &mut self.pair)?;
        }
        Ok(())
    }

    /// Writes the processes of the ends, where they are not beside the addresses.
    fn processes(&self, client: Option<&Process>, server: Option<&Process>, line: &mut Line) -> fmt::Result {
        for (role, process) in [("client", client), ("server", server)] {
            if let Some(process) = process.filter(|process| self.processes_follow && process.pid.is_some()) {
                line.part(Rank::Fact, format_args!(", {role} {}", Named(process)))?;
            }
        }
        Ok(())
    }

    fn label(&self, label: &dyn fmt::Display, style: Style, line: &mut Line) -> fmt::Result {
        let style = if self.options.color { style } else { Style::new() };
        // The label is padded here, because the escape sequences of the colour have no width.
        write!(line, "{style}")?;
        let start = line.len();
        write!(line, "{label}")?;
        let padding = LABEL.saturating_sub(line.len() - start);
        write!(line, "{style:#}{:padding$}", "")
    }
}

/// The label of a line about what led to an outcome.
struct Indented<'a>(&'a str);

impl fmt::Display for Indented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}", self.0)
    }
}

/// Writes the column that says how long it took.
fn took(column: Column, line: &mut Line) -> fmt::Result {
    line.part(Rank::Took, format_args!("  {column}"))
}

/// Writes the interfaces on the way, where there are several.
fn via(path: &Path, line: &mut Line) -> fmt::Result {
    if path.names().nth(1).is_none() {
        return Ok(());
    }
    line.begin(Rank::Fact);
    let mut separator = " (via ";
    for name in path.names() {
        write!(line, "{separator}{}", plain(name))?;
        separator = ", ";
    }
    line.write_char(')')
}

/// The VLAN tags of one direction.
struct Tags(Vlans);

impl fmt::Display for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.outer, self.0.inner) {
            (Some(outer), Some(inner)) => write!(f, "vlan {outer}.{inner}"),
            (Some(vlan), None) | (None, Some(vlan)) => write!(f, "vlan {vlan}"),
            (None, None) => f.write_str("no vlan"),
        }
    }
}

/// Writes what is said of the connection at the end of each line: its VLANs, its tunnels, and whether it is incomplete.
fn tail(common: &Common, line: &mut Line) -> fmt::Result {
    match common.server_vlan {
        Some(back) => {
            let (there, back) = (Tags(common.vlan), Tags(back));
            line.part(Rank::Fact, format_args!(" ({there} to the server, {back} back)"))?;
        }
        None if !common.vlan.is_empty() => line.part(Rank::Fact, format_args!(" ({})", Tags(common.vlan)))?,
        None => {}
    }
    for tunnel in &common.tunnel {
        line.part(Rank::Fact, format_args!(" ({}", tunnel.kind.0.name()))?;
        match (tunnel.id, tunnel.teid) {
            (Some(id), _) => write!(line, " {id}")?,
            (None, Some(Teids { to_server: Some(there), to_client: Some(back) })) => {
                write!(line, " {there}/{back}")?;
            }
            (None, Some(Teids { to_server, to_client })) => {
                if let Some(id) = to_server.or(to_client) {
                    write!(line, " {id}")?;
                }
            }
            (None, None) => {}
        }
        write!(line, ")")?;
    }
    if !common.complete {
        line.part(Rank::Fact, format_args!(" (incomplete)"))?;
    }
    Ok(())
}

const fn color(color: AnsiColor) -> Style {
    color.on_default()
}

const fn outcome(outcome: Outcome) -> (&'static str, Style) {
    match outcome {
        Outcome::Closed => ("CLOSED", color(AnsiColor::Cyan)),
        Outcome::Reset => ("RESET", color(AnsiColor::Yellow)),
        // The details say who refused it.
        Outcome::Refused | Outcome::RefusedIcmp => ("REFUSED", color(AnsiColor::Red)),
        Outcome::Unanswered => ("UNANSWERED", color(AnsiColor::Red)),
        Outcome::SynackUnanswered => ("SYNACK-UNANSWERED", color(AnsiColor::Red)),
        Outcome::Aborted => ("ABORTED", color(AnsiColor::Yellow)),
        Outcome::Reused => ("REUSED", color(AnsiColor::Yellow)),
        Outcome::Open => ("OPEN", Style::new()),
        Outcome::Evicted => ("EVICTED", color(AnsiColor::Yellow)),
    }
}
