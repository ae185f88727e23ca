//! `cargo xtask schema`: the JSON Schemas of what is printed, from the types.

use crate::{
    setup,
    shell::{capture, root, say},
};
use anyhow::{Context as _, Result};
use std::{fs, path::Path, process::Command};

/// The files, each with what `tcptrace` prints it by.
const FILES: [(&str, &[&str]); 2] = [
    ("tcptrace/schema/events.schema.json", &["schema"]),
    ("tcptrace/schema/merge.schema.json", &["schema", "merge"]),
];

/// Writes the files anew that changed.
pub(crate) fn run() -> Result<()> {
    let binary = setup::ensure()?.build_tcptrace(false)?;
    FILES.iter().try_for_each(|(file, words)| write(&binary, file, words))
}

fn write(binary: &Path, file: &str, words: &[&str]) -> Result<()> {
    let schema = capture(Command::new(binary).args(words))?;
    serde_json::from_str::<serde_json::Value>(&schema)
        .with_context(|| format!("`tcptrace {}` did not print JSON", words.join(" ")))?;
    let path = root().join(file);
    if fs::read_to_string(&path).is_ok_and(|old| old == schema) {
        say(format_args!("{file} is up to date"));
        return Ok(());
    }
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    fs::write(&path, schema).with_context(|| format!("cannot write {}", path.display()))?;
    say(format_args!("{file} is written anew"));
    Ok(())
}
