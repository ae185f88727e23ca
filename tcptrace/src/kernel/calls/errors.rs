//! Errors of system calls: their numbers, their causes, and what to do if no more files may be open.

use aya::programs::ProgramError;
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use std::{error::Error, io, iter};

/// The error number, if the error has one.
pub(crate) fn errno(error: &io::Error) -> Option<Errno> {
    Errno::from_io_error(error)
}

/// The error number of a question about a program, if the error has one.
pub(crate) fn program_errno(error: &ProgramError) -> Option<Errno> {
    if let ProgramError::SyscallError(error) = error { errno(&error.io_error) } else { None }
}

/// An error and its causes in one line, with what to do if no more files may be open.
pub(crate) fn with_sources(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    if is_open_files(error) {
        text = format!("{text}: {RAISE_OPEN_FILES}");
    }
    text.replace('\n', " / ")
}

/// What to do if no more files may be open.
pub const RAISE_OPEN_FILES: &str = "raise the limit first (ulimit -n 1024)";

/// An error if no more files may be open. It is asked before calls that would say so late or not at all.
pub(crate) fn may_open_one() -> io::Result<()> {
    may_open(1)
}

/// An error if not so many more files may be open at once.
pub(crate) fn may_open(files: usize) -> io::Result<()> {
    let mut open = Vec::with_capacity(files);
    while open.len() < files {
        match fcntl_dupfd_cloexec(io::stderr(), 0) {
            Ok(one) => open.push(one),
            Err(error @ Errno::MFILE) => return Err(error.into()),
            // Stderr may be closed, which says nothing about the limit.
            Err(_) => break,
        }
    }
    Ok(())
}

/// Whether the error, or one of its causes, is that no more files may be open.
#[must_use]
pub fn is_open_files(error: &(dyn Error + 'static)) -> bool {
    let mut causes = iter::successors(Some(error), |&error| error.source());
    causes.any(|it| it.downcast_ref().and_then(errno) == Some(Errno::MFILE))
}
