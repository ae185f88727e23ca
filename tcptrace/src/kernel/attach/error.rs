//! Why an interface could not be attached to.

use super::tcx;
use crate::kernel::{interfaces::LinkType, load::LoadError, namespaces::NetnsError};
use std::sync::Arc;
use thiserror::Error;

/// Why an interface could not be attached to.
#[derive(Debug, Error)]
pub enum AttachError {
    /// Loading the programs failed.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The interface's namespace could no longer be entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// Another XDP program is on the interface.
    #[error(
        "an XDP program is already on {interface} (bpftool net show dev {interface}): use --ingress tc, \
         which runs beside it"
    )]
    XdpThere {
        /// The interface.
        interface: Arc<str>,
    },
    /// The older ingress qdisc is in the place of clsact.
    #[error(
        "an ingress qdisc is on {interface}, in the place that this kernel needs for tracing what goes \
         out: remove it (tc qdisc del dev {interface} ingress), or run 6.6 or newer"
    )]
    IngressQdisc {
        /// The interface.
        interface: Arc<str>,
    },
    /// The kernel has no room for one more program.
    #[error(
        "as many TCX programs are on {interface} for {side} as the kernel allows, {}: take one off \
         (bpftool net show dev {interface})",
        tcx::MOST
    )]
    Full {
        /// The interface.
        interface: Arc<str>,
        /// The side that is full.
        side: String,
    },
    /// The interface went away while the programs were being attached.
    #[error("interface {interface} went away while the programs were being attached")]
    Gone {
        /// The interface.
        interface: Arc<str>,
    },
    /// The interface's frames are of a kind that is not traced.
    #[error("interface {interface} carries {link}, not Ethernet or IP: choose another one")]
    Unsupported {
        /// The interface.
        interface: Arc<str>,
        /// What the interface carries.
        link: LinkType,
    },
    /// The kernel refused for another reason.
    #[error("cannot attach {what} to {interface}: {reason}")]
    Refused {
        /// What was to be attached.
        what: &'static str,
        /// The interface.
        interface: Arc<str>,
        /// Why it was refused.
        reason: String,
    },
}
