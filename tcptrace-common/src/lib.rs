//! What the kernel programs and user space share: the records between them, the header parser and the
//! lifecycle test. Nothing here does I/O or allocates, so that the same code runs under the verifier, over a
//! capture file, and in a unit test.
#![no_std]

pub mod abi;
pub mod seq;
pub mod tcp;
