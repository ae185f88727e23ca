//! `tcptrace check`: its arguments.

use super::{Command, IngressHook, Interfaces, interfaces::InterfaceArgs, kernel::KernelArgs};
use crate::kernel::namespaces::Namespaces;
use tcptrace_common::wire::tunnel::Decap;

/// The arguments of `check` as typed.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    interfaces: InterfaceArgs,

    #[command(flatten)]
    kernel: KernelArgs,

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
            json: self.json,
        }))
    }
}

/// What to look at before a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckConfig {
    /// Those that would be traced.
    pub interfaces: Interfaces,
    /// The network namespaces that they are in.
    pub netns: Namespaces,
    /// The hook for packets that come in.
    pub ingress: IngressHook,
    /// Tunnels that would be looked into.
    pub decap: Decap,
    /// Bytes of the ring that would be made.
    pub ring_bytes: u32,
    /// One JSON object instead of lines for people.
    pub json: bool,
}

impl CheckConfig {
    /// Not each of the interfaces was asked for by its name: a trace leaves out those that it cannot attach to.
    #[must_use]
    pub fn may_leave_out(&self) -> bool {
        self.netns == Namespaces::All || self.interfaces == Interfaces::Any
    }
}
