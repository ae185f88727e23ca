//! What tests and benchmarks ask of the kernel, and nothing else does.

pub(crate) mod fuzzing;
pub mod generator;
pub mod sink;
pub mod test_run;
