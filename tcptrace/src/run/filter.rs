//! Compiles the filter, which is on the command line or in a file.

use super::RunError;
use crate::{
    cli::{FilterText, meant},
    filter::Filter,
    kernel::interfaces,
    names::SystemNames,
};
use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

/// Compiles the filter, with the system's names of hosts and ports.
pub(super) fn compile(text: &FilterText) -> Result<Filter, RunError> {
    let (text, typed) = match text {
        FilterText::Given(text) => (text.clone(), true),
        FilterText::File(path) => {
            (filter_file(path).map_err(|source| RunError::FilterFile { path: path.clone(), source })?, false)
        }
    };
    Filter::compile(text.trim_end(), &SystemNames).map_err(|error| {
        // The interfaces are listed only if there is an error to explain.
        let is_interface =
            |word: &str| interfaces::list().is_ok_and(|all| all.iter().any(|it| it.is_called(word)));
        // Only on the command line can a word be in the place of an option's value.
        let meant = if typed { meant(&text, |word| Path::new(word).is_file(), is_interface) } else { None };
        RunError::Filter { error, meant }
    })
}

fn filter_file(path: &Path) -> io::Result<String> {
    /// How many bytes are read of the file: more than any filter has that compiles.
    const MOST: u64 = 4 << 20;
    let mut text = String::new();
    let len = File::open(path)?.take(MOST + 1).read_to_string(&mut text)?;
    if len as u64 > MOST { Err(io::Error::other("it is longer than 4 MiB")) } else { Ok(text) }
}
