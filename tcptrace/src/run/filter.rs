//! The filter, from the command line or a file.

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
        // Their names are asked for only where there is an error to explain.
        let is_interface =
            |word: &str| interfaces::list().is_ok_and(|all| all.iter().any(|it| it.is_called(word)));
        // In a file a word is not in the place of an option's value.
        let meant = if typed { meant(&text, |word| Path::new(word).is_file(), is_interface) } else { None };
        RunError::Filter { error, meant }
    })
}

fn filter_file(path: &Path) -> io::Result<String> {
    /// Beyond what compiles.
    const MOST: u64 = 4 << 20;
    let mut text = String::new();
    let len = File::open(path)?.take(MOST + 1).read_to_string(&mut text)?;
    if len as u64 > MOST { Err(io::Error::other("it is longer than 4 MiB")) } else { Ok(text) }
}
