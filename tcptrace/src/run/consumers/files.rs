//! Writes events as lines to the files of `--output FILE`.

use super::{Opened, Opening, json, lines::Lines};
use crate::{
    cli::{Format, OutputFile},
    run::create::create,
    sink::{
        Sink,
        files::Framing,
        text::{TextOptions, TextSink, TimeFormat, Width},
    },
};

pub(super) fn open(opening: &Opening<'_>) -> Opened {
    let &Opening { config, unread, pressure } = opening;
    let OutputFile { path, format, events } = config.files.output.as_ref()?;
    let pipe = match create(config, path, Framing::Lines, pressure, unread) {
        Ok(pipe) => pipe,
        Err(error) => return Some(Err(error)),
    };
    let times = match config.output.times {
        // A file may be read on another day than that of its first line, and after one that was removed.
        TimeFormat::OfDay => TimeFormat::Date,
        times => times,
    };
    let is_compact = config.output.compact;
    let (format, once, zone) = (*format, config.output.once, config.output.zone());
    let make = move |many_interfaces| -> Box<dyn Sink> {
        match format {
            Format::Json => Box::new(json::sink(is_compact)),
            Format::Text => {
                let interfaces = many_interfaces || once;
                let width = Width::new(None);
                Box::new(TextSink::new(TextOptions { interfaces, color: false, zone, times, width }))
            }
        }
    };
    let make = Box::new(move |trace: &super::Beginning| make(trace.many_interfaces));
    Some(Ok(Lines::to_files(config, *events, (path.clone(), pipe), make)))
}
