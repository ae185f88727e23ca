//! Network namespaces: finds them, runs code inside one, and hears of changes in all of them.

mod found;
mod netns;
pub(crate) mod nsid;
mod search;

pub use found::FoundNamespace;
#[cfg(feature = "testing")]
pub(crate) use found::container;
pub(crate) use netns::{Home, may_trace_all};
pub use netns::{Namespaces, Netns, NetnsError};
pub use search::{AllInterfaces, NamespaceSurvey, interfaces, mount_changes, survey};
pub(crate) use search::{MOST, no_more};
#[cfg(feature = "testing")]
pub(crate) use search::{mounts, of_link};
