//! The arguments of `tcptrace extcap`, which Wireshark gives: its interface for captures that other programs make
//! (<https://www.wireshark.org/docs/wsdg_html_chunked/ChCaptureExtcap.html>).

use super::{Args, Command, FilterText};
use crate::event::Kinds;
use clap::{ArgGroup, Parser as _};
use std::{ffi::OsString, path::PathBuf};

/// What an interface is called in Wireshark begins with this.
pub const PREFIX: &str = "tcptrace-";

/// The arguments of `extcap` as Wireshark gives them.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "Wireshark asks by them")]
#[command(group(ArgGroup::new("what").required(true).multiple(true).args(["extcap_interfaces", "extcap_dlts", "extcap_config", "capture", "extcap_capture_filter"])))]
pub(super) struct ExtcapArgs {
    /// Tell which interfaces there are
    #[arg(long, conflicts_with_all = ["extcap_dlts", "extcap_config", "capture"])]
    extcap_interfaces: bool,

    /// Wireshark's version, which makes no difference
    #[arg(long, value_name = "VERSION", num_args = 0..=1)]
    extcap_version: Option<String>,

    /// Tell what packets of the interface begin with
    #[arg(long, requires = "extcap_interface", conflicts_with_all = ["extcap_config", "capture"])]
    extcap_dlts: bool,

    /// Tell which options a capture has
    #[arg(long, requires = "extcap_interface", conflicts_with = "capture")]
    extcap_config: bool,

    /// Interface: tcptrace-NAME, or tcptrace-any
    #[arg(long, value_name = "IFACE", value_parser = interface)]
    extcap_interface: Option<String>,

    /// Capture until the reader or a signal ends it
    #[arg(long, requires_all = ["extcap_interface", "fifo"])]
    capture: bool,

    /// Where the capture is written
    #[arg(long, value_name = "FILE")]
    fifo: Option<PathBuf>,

    /// Filter in tcpdump's language; without --capture, tell whether it makes sense
    #[arg(long, value_name = "FILTER")]
    extcap_capture_filter: Option<String>,

    /// Look into tunnels too
    #[arg(long)]
    decap: bool,
}

/// What Wireshark asks for, besides a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExtcapQuestion {
    /// Which interfaces there are.
    Interfaces,
    /// What packets of this interface begin with.
    Link(String),
    /// Which options a capture has.
    Options,
    /// Whether this filter makes sense.
    Filter(FilterText),
}

impl ExtcapArgs {
    pub(super) fn command(self) -> Result<Command, clap::Error> {
        let interface = self.extcap_interface.unwrap_or_default();
        let filter = self.extcap_capture_filter.unwrap_or_default();
        if self.capture {
            return capture(interface, self.fifo.unwrap_or_default(), filter, self.decap);
        }
        Ok(Command::Extcap(if self.extcap_interfaces {
            ExtcapQuestion::Interfaces
        } else if self.extcap_dlts {
            ExtcapQuestion::Link(interface)
        } else if self.extcap_config {
            ExtcapQuestion::Options
        } else {
            ExtcapQuestion::Filter(FilterText::Given(filter))
        }))
    }
}

/// The trace that makes the capture: the one that these words would make.
fn capture(interface: String, fifo: PathBuf, filter: String, decap: bool) -> Result<Command, clap::Error> {
    let mut words: Vec<OsString> = ["tcptrace", "--quiet", "--interface"].map(Into::into).into();
    words.extend([interface.into(), "--write".into(), fifo.into()]);
    if decap {
        words.push("--decap".into());
    }
    words.extend(["--".into(), filter.into()]);
    let mut command = Args::try_parse_from(words)?.command()?;
    if let Command::Trace(config) = &mut command {
        // Nobody reads them.
        config.output.events = Kinds::NONE;
    }
    Ok(command)
}

/// The name of an interface without what it begins with in Wireshark.
fn interface(text: &str) -> Result<String, String> {
    match text.strip_prefix(PREFIX) {
        Some(name) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err(format!("an interface of tcptrace's is called {PREFIX}NAME")),
    }
}
