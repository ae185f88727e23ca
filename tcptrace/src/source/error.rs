//! Why a live trace could not begin or go on.

use crate::kernel::{
    attach::AttachError,
    interfaces::InterfaceError,
    load::LoadError,
    namespaces::{Netns, NetnsError},
};
use std::io;
use thiserror::Error;

/// Why a live source could not be opened or go on.
#[derive(Debug, Error)]
pub enum LiveError {
    /// Loading the programs failed.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Attaching the programs failed.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The interface cannot be traced.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// The network namespace cannot be entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// Something went wrong in another network namespace.
    #[error("in network namespace {netns}: {error}")]
    Within {
        /// The namespace, as the user called it.
        netns: String,
        /// What went wrong there.
        error: Box<Self>,
    },
    /// Somebody has taken the programs off an interface that was to be traced.
    #[error(
        "the trace of {interfaces} ended before its time: somebody has taken the programs off, and what passed after that \
         was not seen; find out who did so, and begin it again"
    )]
    TakenOff {
        /// The names of the interfaces, separated by commas.
        interfaces: String,
    },
    /// A descriptor or mapping failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What could not be done, as a verb with its object.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl LiveError {
    pub(crate) fn io(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }

    /// Adds the namespace to an error about interfaces, if they are in another one than the tracer.
    pub(crate) fn within(self, netns: &Netns) -> Self {
        match (self, netns.name()) {
            (error @ (Self::Interface(_) | Self::Attach(_)), Some(netns)) => {
                Self::Within { netns: netns.to_owned(), error: Box::new(error) }
            }
            (error, _) => error,
        }
    }
}
