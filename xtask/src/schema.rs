//! `cargo xtask schema`: the JSON Schema of the events, from the types that are printed.

use crate::{
    setup,
    shell::{capture, root, say},
};
use anyhow::{Context as _, Result};
use std::{fs, process::Command};

const FILE: &str = "tcptrace/schema/events.schema.json";

/// Writes the file anew, if it changed.
pub(crate) fn run() -> Result<()> {
    let binary = setup::ensure()?.build_tcptrace(false)?;
    let schema = capture(Command::new(binary).arg("schema"))?;
    serde_json::from_str::<serde_json::Value>(&schema).context("`tcptrace schema` did not print JSON")?;
    let path = root().join(FILE);
    if fs::read_to_string(&path).is_ok_and(|old| old == schema) {
        say(format_args!("{FILE} is up to date"));
        return Ok(());
    }
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    fs::write(&path, schema).with_context(|| format!("cannot write {}", path.display()))?;
    say(format_args!("{FILE} is written anew"));
    Ok(())
}
