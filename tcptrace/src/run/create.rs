//! Opens the files that a trace writes, and starts the threads that write them, each confined to their folder. That
//! happens before the process confines itself: afterwards nothing can be opened for writing, but by these threads.

use super::RunError;
use crate::{
    cli::Config,
    confine,
    sink::{
        files::{Files, Framing, Plan},
        pipe::{Pipe, Pressure, QUEUE_BYTES},
    },
    source::pcap::Unread,
};
use std::{path::Path, sync::Arc};

/// Opens a file to be written, unless it is one of those that are read, and starts writing to it. Nothing in it is
/// changed before the first bytes come.
pub(super) fn create(
    config: &Config,
    path: &Path,
    framing: Framing,
    pressure: Pressure,
    unread: &[Unread],
) -> Result<Pipe, RunError> {
    let rotation = config.files.rotation;
    // A capture is one of its own, unless it is one of several.
    let alone = framing == Framing::Blocks && !rotation.is_asked();
    let files = Files::open(Plan {
        path: path.to_owned(),
        mode: config.files.mode,
        follows: alone,
        empties: alone,
        framing,
        rotation,
        zone: config.output.zone(),
    })?;
    if unread.iter().any(|unread| files.file().is_some_and(|file| unread.is_same_file(file))) {
        return Err(RunError::Same { path: path.to_owned() });
    }
    Ok(files.start(pressure, QUEUE_BYTES, &(Arc::new(confine::confine_to_folder) as _))?)
}
