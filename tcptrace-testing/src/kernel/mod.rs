//! The kernel programs over packets that tests and benchmarks make, and what only they have the kernel do.

pub mod drain;
pub mod generator;
pub mod test_run;
