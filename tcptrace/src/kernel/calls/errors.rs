//! Errors of system calls: their numbers, what caused them, and what to do where no more files may be open.

use aya::programs::ProgramError;
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use std::{error::Error, io, iter};

/// The number of an error, if it has one.
pub(crate) fn errno(error: &io::Error) -> Option<Errno> {
    Errno::from_io_error(error)
}

/// Of a program that the kernel was asked about.
pub(crate) fn program_errno(error: &ProgramError) -> Option<Errno> {
    if let ProgramError::SyscallError(error) = error { errno(&error.io_error) } else { None }
}

/// An error and what caused it, in one line; and what to do, if it is that no more files may be open.
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

/// What to do about too many open files.
pub const RAISE_OPEN_FILES: &str = "raise the limit first (ulimit -n 1024)";

/// An error if no more files may be open, for those who would hear of it late or not at all.
pub(crate) fn may_open_one() -> io::Result<()> {
    may_open(1)
}

/// So many more files may be open at once.
pub(crate) fn may_open(files: usize) -> io::Result<()> {
    let mut open = Vec::with_capacity(files);
    while open.len() < files {
        match fcntl_dupfd_cloexec(io::stderr(), 0) {
            Ok(one) => open.push(one),
            Err(error @ Errno::MFILE) => return Err(error.into()),
            // Something else may be wrong with stderr, which is another's concern.
            Err(_) => break,
        }
    }
    Ok(())
}

/// No more files may be open, wherever that was found out.
#[must_use]
pub fn is_open_files(error: &(dyn Error + 'static)) -> bool {
    let mut causes = iter::successors(Some(error), |&error| error.source());
    causes.any(|it| it.downcast_ref().and_then(errno) == Some(Errno::MFILE))
}
