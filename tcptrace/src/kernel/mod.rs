//! Everything that asks something of the kernel: loading and attaching the programs, the list of interfaces,
//! and the files and calls that say why it refused.

pub mod attach;
pub(crate) mod clsact;
pub(crate) mod ethtool;
pub mod explain;
mod filters;
pub(crate) mod fuzzing;
mod gates;
pub mod generator;
pub mod heap;
pub mod interface;
mod links;
pub mod load;
pub mod namespaces;
mod netlink;
pub mod netns;
pub(crate) mod nsid;
pub mod object;
pub(crate) mod pending;
pub(crate) mod plan;
mod privileges;
mod raw;
pub(crate) mod readiness;
pub mod ring;
pub mod runs;
pub mod share;
pub mod sink;
pub(crate) mod survey;
pub(crate) mod tcx;
pub mod test_run;
pub mod watch;
