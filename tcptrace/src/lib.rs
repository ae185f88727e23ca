//! tcptrace: every TCP connection on a NIC, how it opened, failed and closed.

pub mod decode;
pub mod event;
pub mod kernel;
pub mod parse;
pub mod segment;
pub mod source;
pub mod track;
