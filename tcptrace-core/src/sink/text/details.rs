//! The facts of a line, and the words that several of them have in common.

use super::line::{Line, Rank};
use crate::{
    event::{IcmpReport, Role},
    sink::units::{Count, plain},
};
use std::fmt::{self, Write as _};

/// Writes facts with commas between them.
pub(super) struct Details<'a> {
    out: &'a mut Line,
    glue: &'static str,
    first: bool,
}

impl<'a> Details<'a> {
    pub(super) fn new(out: &'a mut Line) -> Self {
        Self { out, glue: "", first: true }
    }

    pub(super) fn add(&mut self, fact: fmt::Arguments<'_>) -> fmt::Result {
        self.glue = if std::mem::take(&mut self.first) { "  " } else { ", " };
        self.out.begin(Rank::Fact);
        self.out.write_str(self.glue)?;
        self.out.write_fmt(fact)
    }

    /// Sets a shorter form of the last fact, which says the same.
    pub(super) fn or_shorter(&mut self, short: fmt::Arguments<'_>) -> fmt::Result {
        self.out.or_shorter(format_args!("{}{short}", self.glue))
    }

    /// Continues the last fact; `text` begins with a space or `: ` of its own. A line may end before it.
    pub(super) fn more(&mut self, text: fmt::Arguments<'_>) -> fmt::Result {
        self.out.part(Rank::Fact, text)
    }

    /// Writes an explanation of the last fact, which may be left out.
    pub(super) fn aside(&mut self, text: fmt::Arguments<'_>) -> fmt::Result {
        self.out.part(Rank::Aside, text)?;
        self.out.or_shorter(format_args!(""))
    }
}

pub(super) const fn role(role: Role) -> &'static str {
    match role {
        Role::Client => "client",
        Role::Server => "server",
    }
}

pub(super) fn syn_retries(count: u32) -> Count<'static> {
    Count(count.into(), "SYN retry", "SYN retries")
}

pub(super) fn synack_retries(count: u32) -> Count<'static> {
    Count(count.into(), "SYN-ACK retry", "SYN-ACK retries")
}

/// The usual reasons for a RST in answer to a SYN.
pub(super) const NOTHING_LISTENS: &str = ": nothing listens there, or a firewall rejects";

/// Writes an ICMP error, as in `host unreachable, says 192.0.2.1 (ICMP type 3, code 1)`.
pub(super) fn icmp(report: &IcmpReport, details: &mut Details<'_>) -> fmt::Result {
    let IcmpReport { from, kind, code, meaning, .. } = report;
    let version = if from.is_ipv6() { "v6" } else { "" };
    // An event that was read back may have any words there.
    details.add(format_args!("{}, says {from}", plain(meaning)))?;
    details.aside(format_args!(" (ICMP{version} type {kind}, code {code})"))
}
