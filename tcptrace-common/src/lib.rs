//! What the kernel programs and user space share: the records between them, the parser of headers, the filter, and the
//! test whether a segment is part of a connection's lifecycle. Nothing here does I/O or allocates, so that the same
//! code runs under the verifier, over a capture file, and in a unit test.
#![no_std]
#![expect(
    clippy::inline_always,
    reason = "the kernel programs have to become few functions with small stacks"
)]

pub mod abi;
pub mod admission;
pub mod filter;
pub mod flow;
pub mod lifecycle;
pub mod record;
pub mod request;
pub mod seq;
pub mod tcp;
pub mod tunnel;
pub mod vlan;
pub mod wire;
