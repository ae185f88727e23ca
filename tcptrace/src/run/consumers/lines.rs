//! Writes events as lines, in any format, to the standard output or to files.

use super::{Beginning, Consumer, Opened, Opening};
use crate::{
    cli::{Config, Only},
    event::{Event, Kinds, Stats},
    run::{PATIENCE, RunError},
    sink::{
        Sink,
        output::{Finished, Output, OutputError, QUEUE_BYTES},
        pipe::{Pipe, Pressure},
    },
    stderr,
};
use std::{io, os::fd::AsFd as _, path::PathBuf};

/// Makes the sink of a format when the trace begins, as its interfaces are known only then.
type MakeSink = Box<dyn FnOnce(&Beginning) -> Box<dyn Sink>>;

/// The consumer that writes lines.
pub(super) struct Lines {
    kinds: Kinds,
    /// Which connections are printed.
    only: Only,
    to: To,
    /// What makes the sink, until the trace begins.
    sink: Option<MakeSink>,
    /// The open output, from the beginning of the trace to its end.
    output: Option<Output>,
    /// How many events the standard output had lost when it ended before the trace did.
    lost: u64,
}

/// Where lines go.
enum To {
    /// The standard output. Where files are written too, its end is not that of the trace.
    Stdout { pressure: Pressure, beside_files: bool },
    /// Files, of which this was asked for. The pipe to the thread that writes them is taken when the trace begins.
    Files { path: PathBuf, pipe: Option<Pipe> },
}

impl Lines {
    /// A consumer that writes to the standard output; `None` if nothing is to be printed there.
    pub(super) fn to_stdout(opening: &Opening<'_>, sink: MakeSink) -> Opened {
        let config = opening.config;
        let to = To::Stdout { pressure: opening.pressure, beside_files: config.writes_files() };
        let kinds = config.output.events;
        (kinds != Kinds::NONE).then(|| Ok(Self::boxed(config, kinds, to, sink)))
    }

    /// A consumer that writes to files by this pipe.
    pub(super) fn to_files(
        config: &Config,
        kinds: Kinds,
        (path, pipe): (PathBuf, Pipe),
        sink: MakeSink,
    ) -> Box<dyn Consumer> {
        Self::boxed(config, kinds, To::Files { path, pipe: Some(pipe) }, sink)
    }

    fn boxed(config: &Config, kinds: Kinds, to: To, sink: MakeSink) -> Box<dyn Consumer> {
        Box::new(Self { kinds, only: config.output.only, to, sink: Some(sink), output: None, lost: 0 })
    }

    /// What is to be done about an end of the output before that of the trace.
    fn ended(&mut self, error: OutputError) -> Result<(), RunError> {
        match &self.to {
            To::Stdout { beside_files: false, .. } => Err(error.into()),
            To::Stdout { beside_files: true, .. } => {
                // The files go on. What the reader did not want is not lost, but what could not be written is.
                let dropped = self.output.take().map_or(0, |output| output.finish(PATIENCE).dropped);
                if error != OutputError::Closed {
                    self.lost = dropped;
                    stderr::say(format_args!("{error}: the trace goes on in its files"));
                }
                Ok(())
            }
            // The reader of a pipe has gone away, which is no failure to write.
            To::Files { .. } if error == OutputError::Closed => Err(error.into()),
            To::Files { path, .. } => Err(RunError::Write { path: path.clone(), error }),
        }
    }
}

impl Consumer for Lines {
    fn wants(&self) -> Kinds {
        self.kinds
    }

    fn begin(&mut self, beginning: &Beginning) -> Result<(), RunError> {
        let Some(make) = self.sink.take() else { return Ok(()) };
        let pipe = match &mut self.to {
            To::Files { pipe, .. } => pipe.take(),
            To::Stdout { pressure, .. } => {
                let stdout =
                    io::stdout().as_fd().try_clone_to_owned().map_err(RunError::system("use stdout"))?;
                Some(Pipe::start(stdout, *pressure, QUEUE_BYTES, || ())?)
            }
        };
        let Some(pipe) = pipe else { return Ok(()) };
        if !matches!(self.to, To::Stdout { beside_files: true, .. }) {
            pipe.on_end(beginning.on_end());
        }
        self.output = Some(Output::new(make(beginning), pipe));
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), RunError> {
        let result = match &mut self.output {
            Some(output) if self.only.prints(event) => output.event(event),
            _ => Ok(()),
        };
        result.or_else(|error| self.ended(error))
    }

    fn end_of_batch(&mut self) -> Result<(), RunError> {
        let result = self.output.as_mut().map_or(Ok(()), Output::flush);
        result.or_else(|error| self.ended(error))
    }

    fn complete(&self, stats: &mut Stats) {
        stats.events_dropped += self.lost + self.output.as_ref().map_or(0, Output::dropped);
    }

    fn backlog(&self) -> f64 {
        self.output.as_ref().map_or(0.0, Output::backlog)
    }

    fn reopen(&mut self) {
        if let (To::Files { .. }, Some(output)) = (&self.to, &self.output) {
            output.reopen();
        }
    }

    fn end(&mut self) -> Result<u64, RunError> {
        let Some(output) = self.output.take() else { return Ok(self.lost) };
        let Finished { dropped, result, .. } = output.finish(PATIENCE);
        result.or_else(|error| self.ended(error))?;
        Ok(self.lost + dropped)
    }
}
