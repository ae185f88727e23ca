//! All that asks the kernel for something, by what it asks:
//!
//! | room | what it asks |
//! |---|---|
//! | [`load`] | to take the programs and their maps, and why it does not |
//! | [`attach`] | to put the programs on an interface and take them off, and what else is there |
//! | [`interfaces`] | which interfaces there are, and to be told of changes |
//! | [`namespaces`] | which network namespaces there are, to go there, and to be told of changes in them |
//! | `sockets` | which sockets there are, and which processes have them |
//! | [`calls`] | nothing by itself: it has the forms in which the others ask |

pub mod attach;
pub mod calls;
#[cfg(feature = "testing")]
pub mod fuzzing;
pub mod interfaces;
pub mod load;
pub mod namespaces;
pub(crate) mod sockets;
