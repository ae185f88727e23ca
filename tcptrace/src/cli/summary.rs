//! Arguments that say what else the summary has, and when it is printed.

use super::{parse, unique};
use crate::sink::summary::GroupBy;
use std::time::Duration;

/// Arguments about the summary, as typed.
#[expect(clippy::struct_field_names, reason = "named as the options are")]
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub(super) struct SummaryArgs {
    /// Sum up by `client`, `server` or `service` too.
    ///
    /// LIST has one or more of these, separated by commas; a service is a server's address and port. For each the summary says
    /// how many connections there were, established and failed, why, how long handshakes took, and what SYN retries lost.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse::summary_by, conflicts_with = "quiet", hide_short_help = true)]
    summary_by: Vec<GroupBy>,

    /// With --summary-by, rows for so many of the busiest.
    ///
    /// The others are one row.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000), requires = "summary_by", hide_short_help = true)]
    summary_top: u16,

    /// Print the summary so far on stderr this often.
    ///
    /// DURATION is from 1s to 24h. SIGUSR1 asks for the same at any time, also without this option.
    #[arg(long, value_name = "DURATION", value_parser = parse::summary_interval, conflicts_with = "quiet", hide_short_help = true)]
    summary_interval: Option<Duration>,
}

impl SummaryArgs {
    pub(super) fn config(self) -> SummaryConfig {
        SummaryConfig {
            by: unique(self.summary_by),
            top: self.summary_top.into(),
            interval: self.summary_interval,
        }
    }
}

/// What else the summary has, and when it is printed.
pub(super) struct SummaryConfig {
    pub(super) by: Vec<GroupBy>,
    pub(super) top: usize,
    pub(super) interval: Option<Duration>,
}
