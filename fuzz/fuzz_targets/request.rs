#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tcptrace_testing::fuzzing::request(bytes));
