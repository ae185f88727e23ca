//! Runs a loaded program over a packet by `BPF_PROG_TEST_RUN`, for tests and benchmarks.
