//! `-w FILE`: the lifecycle segments, and ICMP errors that quote them, as pcapng.

use super::RunError;
use crate::{
    segment::Observation,
    sink::{
        pcapng::{Origin, Writer},
        pipe::{Finished, OutputError, Pipe, Pressure, QUEUE_BYTES},
    },
};
use std::{
    fs::OpenOptions,
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
    path::{Path, PathBuf},
    time::Duration,
};

/// The file, its format, and the thread that writes it.
pub(super) struct Capture {
    path: PathBuf,
    pipe: Pipe,
    writer: Writer,
    block: Vec<u8>,
}

impl Capture {
    /// Creates the file, readable by its owner alone, or begins to write to stdout for `-`. `on_end` is called when
    /// writing has ended before the trace.
    pub(super) fn create(
        path: &Path,
        pressure: Pressure,
        on_end: impl FnOnce() + Send + 'static,
    ) -> Result<Self, RunError> {
        let failed = |source| RunError::Create { path: path.to_owned(), source };
        let fd: OwnedFd = if path == Path::new("-") {
            io::stdout().as_fd().try_clone_to_owned().map_err(failed)?
        } else {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            options.open(path).map_err(failed)?.into()
        };
        let pipe = Pipe::start(fd, pressure, QUEUE_BYTES, on_end)?;
        let mut capture =
            Self { path: path.to_owned(), pipe, writer: Writer::new(), block: Vec::with_capacity(512) };
        // A trace without connections is a capture too.
        capture.writer.begin(&mut capture.block);
        capture.append()?;
        Ok(capture)
    }

    /// Writes the packet behind `what`, which passed at `unix_ns` on the interface called `name`.
    pub(super) fn packet(
        &mut self,
        what: &Observation,
        unix_ns: u64,
        name: Option<&str>,
        origin: Origin<'_>,
    ) -> Result<(), RunError> {
        self.writer.packet(what, unix_ns, name, origin, &mut self.block);
        self.append()
    }

    /// Hands over what has collected.
    pub(super) fn flush(&mut self) -> Result<(), RunError> {
        self.watch_for_gaps(Pipe::flush)
    }

    fn append(&mut self) -> Result<(), RunError> {
        let block = std::mem::take(&mut self.block);
        let result = self.watch_for_gaps(|pipe| pipe.append(|out| out.extend_from_slice(&block)));
        self.block = block;
        self.block.clear();
        result
    }

    /// What was dropped may have described interfaces: a new section describes them again.
    fn watch_for_gaps(
        &mut self,
        step: impl FnOnce(&mut Pipe) -> Result<(), OutputError>,
    ) -> Result<(), RunError> {
        let before = self.pipe.dropped();
        let result = step(&mut self.pipe);
        if self.pipe.dropped() > before {
            self.writer = Writer::new();
        }
        result.map_err(|error| failed(&self.path, error))
    }

    /// Writes the rest, and says how many packets are not in the file.
    pub(super) fn finish(self, patience: Duration) -> Result<u64, RunError> {
        let Finished { dropped, result, .. } = self.pipe.finish(patience);
        result.map_err(|error| failed(&self.path, error))?;
        Ok(dropped)
    }
}

fn failed(path: &Path, error: OutputError) -> RunError {
    match error {
        // Whoever read our stdout has gone away.
        OutputError::Closed => RunError::Output(OutputError::Closed),
        error => RunError::Write { path: path.to_owned(), error },
    }
}
