//! Puts the programs on interfaces and takes them off, without touching anything of anybody else.
//!
//! TC programs go by TCX links where the kernel has them (6.6 and newer), else onto clsact; XDP goes by a link
//! always. A link ends with the process, whatever ends that. TC programs go first of all on their side: they
//! let every packet pass on, and a program before them that ends the chain would hide packets from them.

mod attached;
pub(crate) mod clsact;
mod error;
mod filters;
mod hooks;
pub mod links;
mod notice;
pub(crate) mod plan;
pub mod share;
pub(crate) mod survey;
pub(crate) mod tcx;

pub use attached::Attached;
pub use error::AttachError;
pub use hooks::{AttachMode, IngressHook};
pub use notice::Notice;
