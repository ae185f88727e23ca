//! Why a live trace could not begin or go on.

use crate::kernel::{
    attach::AttachError,
    interfaces::InterfaceError,
    load::LoadError,
    namespaces::{Netns, NetnsError},
};
use std::io;
use thiserror::Error;

/// Why the source could not open or go on.
#[derive(Debug, Error)]
pub enum LiveError {
    /// Loading the programs failed.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Attaching them did.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The interface cannot be traced.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// The network namespace cannot be entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// It went wrong in another network namespace.
    #[error("in network namespace {netns}: {error}")]
    Within {
        /// Which.
        netns: String,
        /// What went wrong.
        error: Box<Self>,
    },
    /// Somebody has taken the programs off.
    #[error(
        "the trace of {interfaces} ended before its time: somebody has taken the programs off, and what passed after that \
         was not seen; find out who did so, and begin it again"
    )]
    TakenOff {
        /// What was to be traced.
        interfaces: String,
    },
    /// A descriptor or mapping failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What failed.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl LiveError {
    pub(crate) fn io(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }

    /// Says where, if it is about interfaces that are elsewhere.
    pub(crate) fn within(self, netns: &Netns) -> Self {
        match (self, netns.name()) {
            (error @ (Self::Interface(_) | Self::Attach(_)), Some(netns)) => {
                Self::Within { netns: netns.to_owned(), error: Box::new(error) }
            }
            (error, _) => error,
        }
    }
}
