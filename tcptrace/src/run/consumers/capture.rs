//! Writes lifecycle segments, and ICMP errors that quote them, to the pcapng file of `-w FILE`.

use super::{Beginning, Consumer, Moment, Opened, Opening, Packet};
use crate::{
    event::{Event, Kinds},
    run::{PATIENCE, RunError, create::create},
    sink::{
        files::Framing,
        pcapng::Writer,
        pipe::{Finished, OutputError, Pipe, Pressure, QUEUE_BYTES},
    },
};
use std::{
    io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

pub(super) fn open(opening: &Opening<'_>) -> Opened {
    let &Opening { config, unread, pressure } = opening;
    let path = config.write.clone()?;
    let to_stdout = path == Path::new("-");
    let file = (!to_stdout).then(|| create(config, &path, Framing::Blocks, pressure, unread)).transpose();
    Some(file.map(|pipe| Box::new(Capture { path, pressure, pipe, writing: None, missing: 0 }) as _))
}

/// The capture that is written.
struct Capture {
    path: PathBuf,
    pressure: Pressure,
    /// The pipe to the files, until the trace begins; `None` if the capture goes to the standard output.
    pipe: Option<Pipe>,
    /// The writer, from the beginning of the trace to its end.
    writing: Option<Writing>,
    /// How many packets the capture lacks, known at its end.
    missing: u64,
}

impl Consumer for Capture {
    fn wants(&self) -> Kinds {
        Kinds::NONE
    }

    fn wants_packets(&self) -> bool {
        true
    }

    fn begin(&mut self, beginning: &Beginning) -> Result<(), RunError> {
        // A file is emptied only by the first bytes for it, now that the input is known to be good.
        let pipe = if let Some(pipe) = self.pipe.take() {
            pipe
        } else {
            let stdout = io::stdout().as_fd().try_clone_to_owned().map_err(RunError::system("use stdout"))?;
            Pipe::start(stdout, self.pressure, QUEUE_BYTES, || ())?
        };
        pipe.on_end(beginning.on_end());
        let mut writing = Writing { pipe, writer: Writer::new(), block: Vec::with_capacity(512) };
        // A trace without connections makes a valid capture, too.
        writing.writer.begin(&mut writing.block);
        let begun = writing.append();
        self.writing = Some(writing);
        begun.map_err(|error| self.failed(error))
    }

    fn event(&mut self, _: &Event) -> Result<(), RunError> {
        Ok(())
    }

    fn packet(&mut self, packet: &Packet<'_>) -> Result<(), RunError> {
        let Some(writing) = &mut self.writing else { return Ok(()) };
        let &Packet { what, unix_ns, interface, ref origin } = packet;
        writing.writer.packet(what, unix_ns, interface, *origin, &mut writing.block);
        writing.append().map_err(|error| self.failed(error))
    }

    fn end_of_batch(&mut self) -> Result<(), RunError> {
        let Some(writing) = &mut self.writing else { return Ok(()) };
        writing.watch_for_gaps(Pipe::flush).map_err(|error| self.failed(error))
    }

    fn reopen(&mut self) {
        if let Some(writing) = &self.writing {
            writing.pipe.reopen();
        }
    }

    fn end(&mut self) -> Result<u64, RunError> {
        let Some(writing) = self.writing.take() else { return Ok(0) };
        let Finished { dropped, result, .. } = writing.pipe.finish(PATIENCE);
        result.map_err(|error| self.failed(error))?;
        self.missing = dropped;
        // Packets were dropped, and they do not count as events.
        Ok(0)
    }

    fn report(&mut self, moment: Moment<'_>) -> Option<String> {
        let missing = self.missing;
        let lacks = matches!(moment, Moment::End { .. }) && missing > 0;
        lacks.then(|| format!("the capture lacks {missing} packets: its disk was too slow or full\n"))
    }
}

impl Capture {
    fn failed(&self, error: OutputError) -> RunError {
        match error {
            // The reader of our stdout has gone away, which is no failure to write.
            OutputError::Closed => RunError::Output(OutputError::Closed),
            error => RunError::Write { path: self.path.clone(), error },
        }
    }
}

/// The writer of the format, and the pipe to the thread that writes the file.
struct Writing {
    pipe: Pipe,
    writer: Writer,
    block: Vec<u8>,
}

impl Writing {
    /// Hands the block over to the thread that writes.
    fn append(&mut self) -> Result<(), OutputError> {
        let block = std::mem::take(&mut self.block);
        let result = self.watch_for_gaps(|pipe| pipe.append(|out| out.extend_from_slice(&block)));
        self.block = block;
        self.block.clear();
        result
    }

    /// Runs `step`, and begins a new section of the capture if blocks were dropped: they may have described interfaces,
    /// and a new section describes them again.
    fn watch_for_gaps(
        &mut self,
        step: impl FnOnce(&mut Pipe) -> Result<(), OutputError>,
    ) -> Result<(), OutputError> {
        let before = self.pipe.dropped();
        let result = step(&mut self.pipe);
        if self.pipe.dropped() > before {
            self.writer = Writer::new();
        }
        result
    }
}
