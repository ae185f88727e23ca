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
    fs::File,
    io,
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
    /// Begins to write to what `path` was opened as. `on_end` is called when writing has ended before the trace.
    pub(super) fn begin(
        path: PathBuf,
        file: File,
        pressure: Pressure,
        on_end: impl FnOnce() + Send + 'static,
    ) -> Result<Self, RunError> {
        // Not before now, when the input has shown to be one. What is no file has no length (EINVAL), and to the
        // standard output what was there may belong.
        if path != Path::new("-")
            && let Err(source) = file.set_len(0)
            && source.kind() != io::ErrorKind::InvalidInput
        {
            return Err(RunError::Create { path, source });
        }
        let pipe = Pipe::start(file.into(), pressure, QUEUE_BYTES, on_end)?;
        let mut capture = Self { path, pipe, writer: Writer::new(), block: Vec::with_capacity(512) };
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
