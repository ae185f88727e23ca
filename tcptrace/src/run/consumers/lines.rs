//! Writes events as lines to the standard output, in any format.

use super::{Beginning, Consumer};
use crate::{
    cli::{Config, Only},
    event::{Event, Kinds, Stats},
    run::{PATIENCE, RunError},
    sink::{
        Sink,
        output::{Finished, Output, OutputOptions, QUEUE_BYTES},
    },
};
use std::{io, os::fd::AsFd as _};

/// Makes the sink of a format when the trace begins, as its interfaces are known only then.
type MakeSink = Box<dyn FnOnce(&Beginning) -> Box<dyn Sink>>;

/// The consumer that writes lines.
pub(super) struct Lines {
    kinds: Kinds,
    /// Which connections are printed.
    only: Only,
    /// What makes the sink, until the trace begins.
    sink: Option<MakeSink>,
    /// The open output, from the beginning of the trace to its end.
    output: Option<Output>,
}

impl Lines {
    pub(super) fn open(config: &Config, sink: MakeSink) -> Box<dyn Consumer> {
        let (kinds, only) = (config.output.events, config.output.only);
        Box::new(Self { kinds, only, sink: Some(sink), output: None })
    }
}

impl Consumer for Lines {
    fn wants(&self) -> Kinds {
        self.kinds
    }

    fn begin(&mut self, beginning: &Beginning) -> Result<(), RunError> {
        let Some(make) = self.sink.take() else { return Ok(()) };
        let stdout = io::stdout().as_fd().try_clone_to_owned().map_err(RunError::system("use stdout"))?;
        let options = OutputOptions { pressure: beginning.pressure, queue_bytes: QUEUE_BYTES };
        self.output = Some(Output::start(make(beginning), stdout, options, beginning.on_end())?);
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), RunError> {
        match &mut self.output {
            Some(output) if self.only.prints(event) => Ok(output.event(event)?),
            _ => Ok(()),
        }
    }

    fn end_of_batch(&mut self) -> Result<(), RunError> {
        Ok(self.output.as_mut().map_or(Ok(()), Output::flush)?)
    }

    fn complete(&self, stats: &mut Stats) {
        stats.events_dropped += self.output.as_ref().map_or(0, Output::dropped);
    }

    fn backlog(&self) -> f64 {
        self.output.as_ref().map_or(0.0, Output::backlog)
    }

    fn end(&mut self) -> Result<u64, RunError> {
        let Some(output) = self.output.take() else { return Ok(0) };
        let Finished { dropped, result, .. } = output.finish(PATIENCE);
        result?;
        Ok(dropped)
    }
}
