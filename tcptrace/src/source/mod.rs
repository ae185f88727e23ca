//! Where the input comes from.

pub mod pcap;
