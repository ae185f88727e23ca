//! Everything that asks something of the kernel: loading and attaching the programs, the list of interfaces,
//! and the files and calls that say why it refused.

pub mod interface;
mod netlink;
pub mod object;
pub mod test_run;
pub mod watch;
