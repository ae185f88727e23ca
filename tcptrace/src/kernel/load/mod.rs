//! Loads the kernel programs with their sizes, seeds and maps, and explains why the kernel refuses them.

mod btf;
mod cgroup;
mod entry;
mod error;
mod explain;
mod gates;
pub mod heap;
pub mod object;
mod options;
pub(crate) mod pending;
mod privileges;
mod programs;
pub mod ring;
pub mod runs;
mod version;

pub(crate) use cgroup::{CgroupLinks, PROGRAMS as CGROUP_PROGRAMS, TracepointLinks};
pub(crate) use entry::{ALIVE, Entry};
pub use error::LoadError;
pub(crate) use explain::not_permitted;
pub use options::LoadOptions;
pub use programs::{CounterMap, Programs};
pub(crate) use programs::{Role, raise_open_files};
pub(crate) use version::{kernel_before, kernel_release};
