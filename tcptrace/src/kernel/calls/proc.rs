//! What the files of `/proc` have in common (`proc(5)`).

use std::fs;

/// The entries of a directory that are numbers, in the directory's order, which in /proc is ascending.
pub(crate) fn numbers(directory: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// A path from the table of mounts, in which blanks and backslashes are written as a backslash and three octal digits.
pub(crate) fn unescaped(mut text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    while let Some((&first, rest)) = text.split_first() {
        let octal = rest.get(..3).filter(|_| first == b'\\').and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        plain.push(octal.unwrap_or(first));
        text = if octal.is_some() { &rest[3..] } else { rest };
    }
    plain
}
