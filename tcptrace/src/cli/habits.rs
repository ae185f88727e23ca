//! What users of tcpdump type by habit: options that change nothing here, options that are refused with what to do
//! instead, and the name of a file or an interface in the place of the filter.

use crate::sink::text::TimeFormat;
use clap::{ArgAction, error::ErrorKind};

/// Options of tcpdump's. Those that are hidden either change nothing or are refused with what to do instead.
#[derive(Debug, clap::Args)]
pub(super) struct HabitArgs {
    /// Print numbers, not names: accepted for tcpdump's sake, names are looked up for -N alone
    #[arg(short = 'n', action = ArgAction::Count, help_heading = "Output", hide_short_help = true)]
    numeric: u8,

    /// Lines at once: they always come at once
    #[arg(short = 'l', action = ArgAction::Count, hide = true)]
    line_buffered: u8,

    /// Packets at once: what -w writes always comes at once
    #[arg(short = 'U', action = ArgAction::Count, hide = true)]
    packet_buffered: u8,

    /// Not promiscuous: a trace never is
    #[arg(short = 'p', action = ArgAction::Count, hide = true)]
    not_promiscuous: u8,

    /// Octets of each packet: only headers are looked at
    #[arg(short = 's', value_name = "SNAPLEN", hide = true)]
    snap_length: Option<u32>,

    #[command(flatten)]
    refused: Refused,
}

#[derive(Debug, clap::Args)]
struct Refused {
    #[arg(short = 'e', action = ArgAction::Count, hide = true)]
    link_headers: u8,
    #[arg(short = 'B', value_name = "SIZE", hide = true)]
    buffer_size: Option<String>,
    #[arg(short = 'Z', value_name = "USER", hide = true)]
    user: Option<String>,
    #[arg(short = 'G', value_name = "SECONDS", hide = true)]
    seconds_a_file: Option<String>,
    #[arg(short = 'C', value_name = "SIZE", hide = true)]
    megabytes_a_file: Option<String>,
    #[arg(short = 'W', value_name = "COUNT", hide = true)]
    number_of_files: Option<String>,
}

impl HabitArgs {
    /// Refuses options of tcpdump that tcptrace cannot obey, with an error that says what to do instead.
    pub(super) fn check(&self) -> Result<(), clap::Error> {
        let Refused { link_headers, buffer_size, user, seconds_a_file, megabytes_a_file, number_of_files } =
            &self.refused;
        let refused = [
            (
                *link_headers > 0,
                'e',
                "link headers are not kept: lines name VLANs and, with several, the interface",
            ),
            (
                buffer_size.is_some(),
                'B',
                "the buffer between the kernel and tcptrace is set by --ring-size, in bytes, such as 16M",
            ),
            (
                user.is_some(),
                'Z',
                "what a trace does not need is given up without being asked: no other user is needed",
            ),
            (seconds_a_file.is_some(), 'G', "--rotate-every begins another file, such as --rotate-every 1h"),
            (
                megabytes_a_file.is_some(),
                'C',
                "--rotate-size begins another file, such as --rotate-size 100M",
            ),
            (number_of_files.is_some(), 'W', "--keep says how many files are kept that are done with"),
        ];
        match refused.into_iter().find(|(given, ..)| *given) {
            Some((_, letter, instead)) => Err(clap::Error::raw(
                ErrorKind::UnknownArgument,
                format!("tcpdump's '-{letter}' is not taken: {instead}\n"),
            )),
            None => Ok(()),
        }
    }
}

/// How lines say when something was, by how often `-t` was given; `None` if that is too often.
pub(super) fn times(count: u8) -> Option<TimeFormat> {
    let all = [
        TimeFormat::OfDay,
        TimeFormat::None,
        TimeFormat::Epoch,
        TimeFormat::SincePrevious,
        TimeFormat::Date,
        TimeFormat::SinceFirst,
    ];
    all.get(usize::from(count)).copied()
}

/// Explains a filter that does not compile: if its first word names a file or an interface, it says which option takes
/// that.
#[must_use]
pub fn meant(
    filter: &str,
    is_file: impl Fn(&str) -> bool,
    is_interface: impl Fn(&str) -> bool,
) -> Option<String> {
    let word = filter.split_whitespace().next()?;
    if is_interface(word) {
        Some(format!("'{word}' is an interface: to trace it, tcptrace -i {word}"))
    } else if is_file(word) {
        Some(format!(
            "'{word}' is a file: to read a capture, tcptrace -r {word}; to read a filter, tcptrace -F {word}"
        ))
    } else {
        None
    }
}
