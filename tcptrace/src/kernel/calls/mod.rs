//! The forms in which the kernel is asked: netlink, what of bpf(2) the library does not have, descriptors on the runtime; and
//! its error numbers.

pub mod errors;
pub(crate) mod netlink;
pub mod raw;
pub(crate) mod readiness;
