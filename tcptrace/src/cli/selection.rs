//! Arguments that say which connections are traced, and which of those are printed.

use super::parse;
use crate::event::Event;
use std::{path::PathBuf, time::Duration};

/// The filter as typed, or where it is.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Connections")]
pub(super) struct FilterArgs {
    /// Only connections that match, in tcpdump's language.
    ///
    /// The language has `host`, `net`, `port` and `portrange`, with `src` and `dst` (the client and the server), `ip`, `ip6`,
    /// `vlan [ID]`, `inbound`, `outbound`, `and`, `or`, `not`, parentheses, and lists as in `port in {80 443}`. [default: all
    /// connections]
    #[arg(value_name = "FILTER", display_order = 0)]
    filter: Vec<String>,

    /// Read the filter from a file
    #[arg(short = 'F', long, value_name = "FILE", conflicts_with = "filter", hide_short_help = true)]
    filter_file: Option<PathBuf>,
}

/// Arguments that choose connections.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Connections")]
pub(super) struct SelectionArgs {
    #[command(flatten)]
    filter: FilterArgs,

    /// Print only connections whose handshake failed
    #[arg(long, conflicts_with_all = ["events", "verbose"])]
    failed: bool,

    /// Print only handshakes that took at least this long.
    ///
    /// Their connections are printed too, and with --failed also those that failed. DURATION is from 1us to 1h.
    #[arg(long, value_name = "DURATION", value_parser = parse::slower, conflicts_with_all = ["events", "verbose"])]
    slower: Option<Duration>,
}

impl FilterArgs {
    pub(super) fn config(self) -> FilterText {
        match self.filter_file {
            Some(path) => FilterText::File(path),
            None => FilterText::Given(self.filter.join(" ")),
        }
    }
}

impl SelectionArgs {
    pub(super) fn config(self) -> (FilterText, Only) {
        (self.filter.config(), Only { failed: self.failed, slower: self.slower })
    }
}

/// Where the filter expression is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterText {
    /// On the command line; empty for all connections.
    Given(String),
    /// In this file.
    File(PathBuf),
}

/// Which connections are printed, while all are counted and summed up. A connection is printed if it is one of either
/// kind, or if neither is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Only {
    /// Connections whose handshake failed are printed.
    pub failed: bool,
    /// Connections whose handshake took at least so long are printed.
    pub slower: Option<Duration>,
}

impl Only {
    /// Whether the event is printed. Events that are about no single connection's opening or end always are.
    #[must_use]
    pub fn prints(&self, event: &Event) -> bool {
        if *self == Self::default() {
            return true;
        }
        let is_slow = |ns: Option<u64>| {
            let least = self.slower.map(|least| least.as_nanos());
            least.zip(ns).is_some_and(|(least, ns)| u128::from(ns) >= least)
        };
        match event {
            Event::Established(event) => is_slow(event.times.syn_to_established_ns),
            Event::Connection(event) => {
                is_slow(event.times.syn_to_established_ns) || (self.failed && event.failed)
            }
            _ => true,
        }
    }
}
