//! Writes lifecycle segments, and ICMP errors that quote them, to the pcapng file of `-w FILE`.

use super::{Beginning, Consumer, Moment, Opened, Opening, Packet};
use crate::{
    event::{Event, Kinds},
    run::{PATIENCE, RunError, create::create},
    sink::{
        pcapng::Writer,
        pipe::{Finished, OutputError, Pipe, QUEUE_BYTES},
    },
    source::pcap::Unread,
};
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

pub(super) fn open(opening: &Opening<'_>) -> Opened {
    let path = opening.config.write.clone()?;
    Some(Capture::create(path, opening.unread).map(|capture| Box::new(capture) as _))
}

/// The capture that is written.
struct Capture {
    path: PathBuf,
    /// The open file, until the trace begins. Not a byte of it is changed before.
    file: Option<File>,
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
        let Some(file) = self.file.take() else { return Ok(()) };
        // The file is emptied only now, when the input is known to be good. A pipe has no length (EINVAL), and what is
        // in a file that is the standard output may be another program's.
        if self.path != Path::new("-")
            && let Err(source) = file.set_len(0)
            && source.kind() != io::ErrorKind::InvalidInput
        {
            return Err(RunError::Create { path: self.path.clone(), source });
        }
        let pipe = Pipe::start(file.into(), beginning.pressure, QUEUE_BYTES, beginning.on_end())?;
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
        lacks.then(|| format!("the capture lacks {missing} packets: its disk was too slow\n"))
    }
}

impl Capture {
    /// Opens the file, unless it is one of those that are read.
    fn create(path: PathBuf, unread: &[Unread]) -> Result<Self, RunError> {
        let file = match create(&path) {
            Ok(file) => file,
            Err(source) => return Err(RunError::Create { path, source }),
        };
        if unread.iter().any(|unread| unread.is_same_file(&file)) {
            return Err(RunError::Same { path });
        }
        Ok(Self { path, file: Some(file), writing: None, missing: 0 })
    }

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
