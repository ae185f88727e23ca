//! Arguments that say how the kernel programs are loaded and attached.

use super::parse;
use crate::kernel::attach;
use std::path::PathBuf;
use tcptrace_common::wire::tunnel::Decap;

/// Arguments that say how the kernel programs are loaded and attached, as typed.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Packets")]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(super) struct KernelArgs {
    /// Look into tunnels too: all, or those in LIST.
    ///
    /// LIST names them, separated by commas: `ipip`, `6in4`, `4in6`, `gre`, `erspan`, `vxlan`, `geneve`, `gtpu`, `tzsp`; those in
    /// UDP with a port if it is not the usual one, as in `vxlan:4790`. [default: none]
    #[arg(long, value_name = "LIST", num_args = 0..=1, require_equals = true, default_missing_value = "all", value_parser = parse::decap, hide_short_help = true)]
    decap: Option<Decap>,

    /// Time the first request and the first answer
    ///
    /// A connection then says when each end sent its first data, and how long the server took to answer. It costs two records a
    /// connection more.
    #[arg(long, hide_short_help = true)]
    first_byte: bool,

    /// Tell the names of servers that clients ask for
    ///
    /// These are TLS's server name and protocols, or the host of a request in HTTP/1, from the beginning of the client's first
    /// data: at most 2 KiB of it are copied out of the kernel, and only where it begins as such a request does. It is
    /// `--first-byte` too.
    #[arg(long, hide_short_help = true)]
    server_name: bool,

    /// Hook for incoming packets
    #[arg(long, value_name = "HOOK", value_enum, default_value_t = IngressHook::Tc, hide_short_help = true)]
    ingress: IngressHook,

    /// Tell which process uses each socket of this host.
    ///
    /// Who connected, accepted and closed it is seen by programs at the root of the cgroups, also for processes that end at once.
    #[arg(long, conflicts_with = "no_sockets")]
    process: bool,

    /// Tell names of Kubernetes pods, not their UIDs alone
    ///
    /// They are read from the names of folders that the kubelet makes for the logs of pods, as `--pod-names=DIR` if that is not
    /// /var/log/pods.
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, default_missing_value = "/var/log/pods", conflicts_with = "no_sockets", hide_short_help = true)]
    pod_names: Option<PathBuf>,

    /// Do not ask this host's sockets
    ///
    /// Whose a socket is, and what it knows of its connection at the end, is left out then: a record of a SYN, FIN or RST costs
    /// up to a tenth of a microsecond less.
    #[arg(long, hide_short_help = true)]
    no_sockets: bool,

    /// Ring buffer between the kernel and tcptrace.
    ///
    /// SIZE is a power of two from 64K to 1G.
    #[arg(long, value_name = "SIZE", default_value = "8M", value_parser = parse::ring_bytes, hide_short_help = true)]
    ring_size: u32,
}

impl KernelArgs {
    pub(super) fn config(self) -> KernelConfig {
        KernelConfig {
            ingress: self.ingress,
            decap: self.decap.unwrap_or(Decap::NONE),
            ring_bytes: self.ring_size,
            sockets: !self.no_sockets,
            processes: self.process,
            pod_names: self.pod_names,
            first_byte: self.first_byte || self.server_name,
            server_name: self.server_name,
        }
    }
}

/// How the kernel programs are to be loaded and attached.
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(super) struct KernelConfig {
    pub(super) ingress: IngressHook,
    pub(super) decap: Decap,
    pub(super) ring_bytes: u32,
    pub(super) sockets: bool,
    pub(super) processes: bool,
    pub(super) pod_names: Option<PathBuf>,
    pub(super) first_byte: bool,
    pub(super) server_name: bool,
}

/// The hook for packets that come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum IngressHook {
    /// Traffic control: sees what the stack sees, disturbs nothing
    Tc,
    /// XDP, in the driver where it can: earlier and cheaper, but attaching may reset the link
    Xdp,
}

impl From<IngressHook> for attach::IngressHook {
    fn from(hook: IngressHook) -> Self {
        match hook {
            IngressHook::Tc => Self::Tc,
            IngressHook::Xdp => Self::Xdp,
        }
    }
}
