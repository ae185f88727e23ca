//! Attaches the kernel programs to interfaces and takes them off, without touching what others have there.
//!
//! TC programs are attached by TCX links where the kernel has them (6.6 and newer), and by filters on clsact elsewhere.
//! XDP programs are always attached by links. A link ends with the process, whatever ends that. TC programs are put
//! before all others of their side: they let every packet pass, and a program before them that ends the chain would
//! hide packets from them.

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
