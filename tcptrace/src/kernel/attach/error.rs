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
    /// The namespace could not be entered any more.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// Somebody's XDP program is there.
    #[error(
        "an XDP program is already on {interface} (bpftool net show dev {interface}): use --ingress tc, \
         which runs beside it"
    )]
    XdpThere {
        /// Where.
        interface: Arc<str>,
    },
    /// The older ingress qdisc is at the place of clsact.
    #[error(
        "an ingress qdisc is on {interface}, in the place that this kernel needs for tracing what goes \
         out: remove it (tc qdisc del dev {interface} ingress), or run 6.6 or newer"
    )]
    IngressQdisc {
        /// Where.
        interface: Arc<str>,
    },
    /// The kernel has no room for one more program.
    #[error(
        "as many TCX programs are on {interface} for {side} as the kernel allows, {}: take one off \
         (bpftool net show dev {interface})",
        tcx::MOST
    )]
    Full {
        /// Where.
        interface: Arc<str>,
        /// Which side.
        side: String,
    },
    /// It went away meanwhile.
    #[error("interface {interface} went away while the programs were being attached")]
    Gone {
        /// Which.
        interface: Arc<str>,
    },
    /// Its frames are not understood.
    #[error("interface {interface} carries {link}, not Ethernet or IP: choose another one")]
    Unsupported {
        /// Which.
        interface: Arc<str>,
        /// What it carries.
        link: LinkType,
    },
    /// Anything else.
    #[error("cannot attach {what} to {interface}: {reason}")]
    Refused {
        /// Which hook.
        what: &'static str,
        /// Where.
        interface: Arc<str>,
        /// Why.
        reason: String,
    },
}
