//! The instructions that each layer took when somebody last looked at them, which are checked in: a change that makes one grow
//! has to say so.

use super::layers::LAYERS;
use std::{collections::BTreeMap, error::Error, fs, path::PathBuf};

/// By how much a layer may grow, in percent. Hashes are seeded at random, so that two runs differ by a part of a percent.
const MOST: f64 = 5.0;

/// Instructions a record, by layer.
type Counts = BTreeMap<String, f64>;

fn path() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "benches", "measure", "user", "instructions.json"].iter().collect()
}

/// Writes what was counted into the file.
pub(super) fn accept(counts: &Counts) -> Result<(), Box<dyn Error>> {
    let rounded: BTreeMap<_, _> = counts.iter().map(|(name, count)| (name, count.round())).collect();
    let path = path();
    fs::write(&path, format!("{}\n", serde_json::to_string_pretty(&rounded)?))
        .map_err(|error| format!("{}: {error}", path.display()).into())
}

/// Compares what was counted with the file, and says of each layer by how much it has changed.
pub(super) fn check(counts: &Counts) -> Result<Vec<String>, Box<dyn Error>> {
    let path = path();
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let known: Counts = serde_json::from_str(&text)?;
    let (mut lines, mut grown) = (Vec::new(), Vec::new());
    for layer in &LAYERS {
        let (Some(before), Some(now)) = (known.get(layer.name), counts.get(layer.name)) else {
            return Err(format!("{} has no '{}': --accept writes it anew", path.display(), layer.name).into());
        };
        let percent = (now / before - 1.0) * 100.0;
        lines.push(format!("{:<10} {now:>6.0} instructions a record, {percent:+.1} %", layer.name));
        if percent > MOST {
            grown.push(layer.name);
        }
    }
    if grown.is_empty() {
        return Ok(lines);
    }
    let why = "more than 5 % above what is checked in: make it cheaper, or say in the commit why it is worth that and run \
               `cargo xtask bench user --accept`";
    Err(format!("{}\n{} took {why}", lines.join("\n"), grown.join(", ")).into())
}
