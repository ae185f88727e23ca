//! The forms in which the kernel is asked: netlink, commands of bpf(2) that aya does not have, and waiting for
//! descriptors; and the error numbers of its answers.

pub mod errors;
pub(crate) mod netlink;
pub(crate) mod proc;
pub mod raw;
pub(crate) mod readiness;
