//! Tells one story of what several vantages saw: of captures, or of the lines of JSON that traces have written.

use super::{
    RunError,
    events::{EventFiles, Selection},
    filter,
    screen::Screen,
};
use crate::{
    cli::{MergeConfig, VantageFile},
    confine::{self, Purpose},
    merge::{MergeText, Merged, MergedConnection, Merger, Name},
    sink::output::OutputError,
};
use jiff::tz::TimeZone;
use std::{
    io::{self, BufWriter, StdoutLock, Write as _},
    slice,
};

/// Reads the files of all vantages, and prints what they tell together. Where a file is damaged, what comes before the damage is
/// told, and then the damage is the error.
pub fn merge(config: &MergeConfig) -> Result<(), RunError> {
    let filter = filter::compile(&config.filter)?;
    let files: Vec<EventFiles> = config
        .files
        .iter()
        .map(|file| EventFiles::open(slice::from_ref(&file.path)))
        .collect::<Result<_, _>>()?;
    let screen = Screen::new(config.width);
    let text = MergeText::new(Some(screen.columns()), TimeZone::system());
    confine::confine(Purpose::File, &[])?;
    let mut merger = Merger::new(names(&config.files));
    let selection = Selection::new(filter, config.decap);
    let mut damage = Ok(());
    for (vantage, files) in files.into_iter().enumerate() {
        let read = files.read(&selection, &mut |event| {
            merger.event(vantage, event);
            Ok(true)
        });
        damage = damage.and(read);
    }
    let mut printer = Printer { config, text, out: BufWriter::new(io::stdout().lock()), line: String::new() };
    let summary = merger.finish(&mut |connection| printer.connection(connection))?;
    if config.json {
        printer.json(&Merged::Summary(summary))?;
    } else {
        printer.text.summary(&summary, &mut printer.line);
        printer.write()?;
    }
    printer.out.flush().map_err(of_stdout)?;
    damage
}

/// What the vantages are called: as was given, or as their files. Where files of several folders are called the same, the folders
/// are named too, and what is still called the same has a number.
fn names(files: &[VantageFile]) -> Vec<Name> {
    let short = |file: &VantageFile| match (&file.name, file.path.file_name()) {
        (Some(name), _) => name.clone(),
        (None, Some(name)) => name.to_string_lossy().into_owned(),
        (None, None) => file.path.to_string_lossy().into_owned(),
    };
    let mut names: Vec<Name> = Vec::new();
    for file in files {
        let is_told_apart = |other: &VantageFile| short(other) != short(file) || other.path == file.path;
        let wanted = match &file.name {
            None if !files.iter().all(is_told_apart) => file.path.to_string_lossy().into_owned(),
            _ => short(file),
        };
        let numbered = (2..).map(|n| format!("{wanted}#{n}"));
        let mut candidates = std::iter::once(wanted.clone()).chain(numbered);
        let free = candidates.find(|name| names.iter().all(|taken| **taken != **name));
        names.push(free.unwrap_or(wanted).into());
    }
    names
}

/// Prints what is told.
struct Printer<'a> {
    config: &'a MergeConfig,
    text: MergeText,
    out: BufWriter<StdoutLock<'static>>,
    line: String,
}

impl Printer<'_> {
    fn connection(&mut self, connection: MergedConnection) -> Result<(), RunError> {
        if self.config.json {
            return self.json(&Merged::Connection(connection));
        }
        if self.config.all || connection.is_remarkable() {
            self.text.connection(&connection, &mut self.line);
            self.write()?;
        }
        Ok(())
    }

    fn json(&mut self, line: &Merged) -> Result<(), RunError> {
        serde_json::to_writer(&mut self.out, line).map_err(|error| of_stdout(error.into()))?;
        self.out.write_all(b"\n").map_err(of_stdout)
    }

    fn write(&mut self) -> Result<(), RunError> {
        self.out.write_all(self.line.as_bytes()).map_err(of_stdout)?;
        self.line.clear();
        Ok(())
    }
}

/// A reader who has enough is no failure.
fn of_stdout(error: io::Error) -> RunError {
    match error.kind() {
        io::ErrorKind::BrokenPipe => RunError::Output(OutputError::Closed),
        _ => RunError::System { what: "write to stdout", source: error },
    }
}
