//! Why a trace could not begin or go on, each in one line.

use crate::{
    confine::ConfineError,
    filter::FilterError,
    sink::output::OutputError,
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
    /// What is not needed could not be given up.
    #[error(transparent)]
    Confine(#[from] ConfineError),
    /// The file could not be read to its end.
    #[error(transparent)]
    File(#[from] FileError),
    /// The filter makes no sense.
    #[error("{error}{}", meant.as_deref().map(|meant| format!("\n{meant}")).unwrap_or_default())]
    Filter {
        /// Why.
        error: FilterError,
        /// What its first word was meant to be, where that is known.
        meant: Option<String>,
    },
    /// Not all VLAN tags are seen there.
    #[error(
        "a filter with 'vlan' needs --ingress tc: a device may take the tag off before XDP sees the packet, and half of each \
         connection would be left out"
    )]
    XdpVlans,
    /// The file with the filter could not be read.
    #[error("cannot read the filter in {}: {source}", path.display())]
    FilterFile {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The output ended.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The capture could not be created.
    #[error("cannot create {}: {source}", path.display())]
    Create {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The capture would take the place of one that is read.
    #[error("{} is a capture that is read: write to another", path.display())]
    Same {
        /// Which.
        path: PathBuf,
    },
    /// The capture could not be written.
    #[error("{}: {error}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        error: OutputError,
    },
    /// The system refused something that every trace needs.
    #[error("cannot {what}: {source}")]
    System {
        /// What failed.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl RunError {
    pub(super) fn system(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}
