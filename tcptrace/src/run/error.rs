//! Why a trace could not begin or go on, each in one line.

use crate::{
    cli::MetricsAddress,
    confine::ConfineError,
    filter::FilterError,
    resolver::ResolverError,
    sink::{files::FilesError, output::OutputError},
    source::{live::LiveError, pcap::FileError},
};
use std::{io, path::PathBuf};
use thiserror::Error;

/// Why a trace could not begin or go on.
#[derive(Debug, Error)]
pub enum RunError {
    /// The live source failed.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// The process could not give up the rights that it does not need.
    #[error(transparent)]
    Confine(#[from] ConfineError),
    /// A capture file could not be read to its end.
    #[error(transparent)]
    File(#[from] FileError),
    /// The filter makes no sense.
    #[error("{error}{}", meant.as_deref().map(|meant| format!("\n{meant}")).unwrap_or_default())]
    Filter {
        /// Why the filter does not compile.
        error: FilterError,
        /// What the filter's first word was meant to be, where that is known.
        meant: Option<String>,
    },
    /// A filter asks for VLANs where not all VLAN tags are seen.
    #[error(
        "a filter with 'vlan' needs --ingress tc: a device may take the tag off before XDP sees the packet, and half of each \
         connection would be left out"
    )]
    XdpVlans,
    /// The file with the filter could not be read.
    #[error("cannot read the filter in {}: {source}", path.display())]
    FilterFile {
        /// The file.
        path: PathBuf,
        /// Why it could not be read.
        source: io::Error,
    },
    /// A line is no event.
    #[error("{name}:{line} is no event of tcptrace: {reason}")]
    Line {
        /// The file.
        name: String,
        /// The line's number, from 1 on.
        line: u64,
        /// Why it is none.
        reason: String,
    },
    /// There is no terminal to draw on.
    #[error(
        "there is no terminal to draw on and to read keys from: tcptrace without `top` prints lines into pipes and files"
    )]
    NoTerminal,
    /// The output ended before the trace did.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// Nobody can be asked for names.
    #[error(transparent)]
    Names(#[from] ResolverError),
    /// What is to be written could not be opened.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// What is to be written would take the place of one that is read.
    #[error("{} is a capture that is read: write to another", path.display())]
    Same {
        /// The capture.
        path: PathBuf,
    },
    /// A file could not be written.
    #[error("{}: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why it could not be written.
        error: OutputError,
    },
    /// Metrics cannot be served.
    #[error("cannot serve metrics at {address}: {source}{}", what_to_do(source, address))]
    Serve {
        /// Where they were to be served.
        address: MetricsAddress,
        /// Why they cannot be.
        source: io::Error,
    },
    /// The system refused something that every trace needs.
    #[error("cannot {what}: {source}")]
    System {
        /// What could not be done, as a verb with its object.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// What to do about an address that cannot be listened at.
fn what_to_do(source: &io::Error, address: &MetricsAddress) -> &'static str {
    match (source.kind(), address) {
        (io::ErrorKind::AddrInUse, MetricsAddress::Tcp(_)) => {
            ": another program listens there (ss -ltnp tells which): give another port"
        }
        (io::ErrorKind::AddrInUse, MetricsAddress::Unix(_)) => {
            ": another program listens there, or the file is no socket: give another path"
        }
        (io::ErrorKind::AddrNotAvailable, _) => {
            ": give an address of this host, 0.0.0.0 for all, or 127.0.0.1 for this host alone"
        }
        _ => "",
    }
}

impl RunError {
    pub(super) fn system(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}
