//! tcptrace: every TCP connection on a NIC, how it opened, failed and closed.

pub mod check;
pub mod cli;
pub mod confine;
pub mod decode;
pub mod event;
pub mod filter;
#[doc(hidden)]
pub mod fuzzing;
pub mod kernel;
pub mod once;
pub mod parse;
mod random;
pub mod run;
pub mod script;
pub mod segment;
pub mod sink;
pub mod source;
pub mod stderr;
pub mod track;
pub mod tunnel;
pub mod wall;
