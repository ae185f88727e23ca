//! The errors of reading a script.

use thiserror::Error;

/// An error in a line of a script.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {problem}")]
pub struct Error {
    /// The number of the line, from 1.
    pub line: usize,
    /// What is wrong with it.
    #[source]
    pub problem: Problem,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// The line ends too early.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A word has no meaning where it stands.
    #[error("'{0}' is not {1}")]
    Unknown(String, &'static str),
    /// The line goes on for too long.
    #[error("'{0}' is more than the line can have")]
    TooMuch(String),
    /// A word stands there a second time.
    #[error("'{0}' is there twice")]
    Twice(String),
    /// The scene is set after something happened.
    #[error("'{0}' belongs before the first segment")]
    TooLate(String),
    /// An expectation comes before anything happened that could cause it.
    #[error("nothing has happened yet that could be expected to cause this")]
    TooEarly,
    /// Something happens after the end of the trace.
    #[error("nothing happens after the end of the trace")]
    AfterTheEnd,
    /// One host has IPv4, the other IPv6.
    #[error("one of the addresses is IPv4, another IPv6")]
    Versions,
    /// There are more octets of options than a header has room for.
    #[error("these options take {0} octets, and a header has room for 40")]
    Options(usize),
    /// A segment without SYN has options.
    #[error("only SYNs are recorded with their options")]
    OptionsWithoutSyn,
    /// A restriction of levels has no reason.
    #[error("'levels' ends with a colon and the reason")]
    NoReason,
}
