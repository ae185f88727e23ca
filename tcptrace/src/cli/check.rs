//! The arguments of `tcptrace check`.

use super::{
    Command, IngressHook, Interfaces, interfaces::InterfaceArgs, kernel::KernelArgs, settings::SettingsFile,
};
use crate::kernel::namespaces::Namespaces;
use tcptrace_common::wire::tunnel::Decap;

/// The arguments of `check` as typed.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    interfaces: InterfaceArgs,

    #[command(flatten)]
    kernel: KernelArgs,

    #[command(flatten)]
    file: SettingsFile,

    /// Print one JSON object
    #[arg(long, help_heading = "Output")]
    json: bool,
}

impl CheckArgs {
    pub(super) fn command(self) -> Result<Command, clap::Error> {
        let (interfaces, netns) = self.interfaces.config()?;
        let kernel = self.kernel.config();
        Ok(Command::Check(CheckConfig {
            interfaces,
            netns,
            ingress: kernel.ingress,
            decap: kernel.decap,
            ring_bytes: kernel.ring_bytes,
            sockets: kernel.sockets,
            processes: kernel.processes,
            first_byte: kernel.first_byte,
            server_name: kernel.server_name,
            json: self.json,
        }))
    }
}

/// What `tcptrace check` is to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is asked for by itself")]
pub struct CheckConfig {
    /// The interfaces that would be traced.
    pub interfaces: Interfaces,
    /// The network namespaces that they are in.
    pub netns: Namespaces,
    /// The hook for packets that come in.
    pub ingress: IngressHook,
    /// The tunnels that would be looked into.
    pub decap: Decap,
    /// The size of the ring buffer that would be made, in bytes.
    pub ring_bytes: u32,
    /// Whether the kernel programs ask this host's sockets (`--no-sockets`).
    pub sockets: bool,
    /// Whether the processes that use sockets are told (`--process`).
    pub processes: bool,
    /// Whether the kernel programs would record the first data of each direction (`--first-byte`).
    pub first_byte: bool,
    /// Whether the first data is read for the name of the server that is asked (`--server-name`).
    pub server_name: bool,
    /// Whether the report is one JSON object instead of lines for people.
    pub json: bool,
}

impl CheckConfig {
    /// Whether a trace would leave out an interface that it cannot attach to, instead of failing. It does so in a trace of
    /// all interfaces or of all namespaces.
    #[must_use]
    pub fn may_leave_out(&self) -> bool {
        self.netns == Namespaces::All || self.interfaces == Interfaces::Any
    }
}
