//! tcptrace: every TCP connection on a NIC, how it opened, failed and closed.

pub mod event;
pub mod kernel;
pub mod segment;
pub mod track;
