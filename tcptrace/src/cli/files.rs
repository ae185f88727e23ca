//! Arguments about the files that are written: what goes into them, and when another is begun.

use super::{Format, parse};
use crate::{event::Kinds, sink::files::Rotation};
use clap::error::ErrorKind;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Arguments about the files that are written, as typed.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Files")]
pub(super) struct FileArgs {
    /// Write the events to a file too.
    ///
    /// They are JSON with --json, or if the name ends in .json, .jsonl or .ndjson, and text otherwise. What is on stdout stays as it
    /// is, unless -q is given: then the file alone has events. A file that is there is appended to, a symbolic link is refused, and
    /// strftime's conversions in the name are filled in. SIGHUP has the file opened again.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    output: Option<PathBuf>,

    /// Access mode of new files, in octal
    #[arg(long, value_name = "MODE", default_value = "600", value_parser = parse::file_mode, hide_short_help = true)]
    output_mode: u32,

    /// Begin another file before one is larger than this.
    ///
    /// SIZE is in bytes, or with K, M, G or T for the powers of 1024, from 4K on. It holds for --output and -w. The file that is done
    /// with is renamed: events.jsonl becomes events-20260613T100000.123Z.jsonl, by the time in UTC.
    #[arg(long, value_name = "SIZE", value_parser = parse::file_size, hide_short_help = true)]
    rotate_size: Option<u64>,

    /// Begin another file this often, by the clock on the wall.
    ///
    /// DURATION is from 1s to 24h, and is counted from midnight: 1h is at each full hour. A file that nothing came into goes on.
    #[arg(long, value_name = "DURATION", value_parser = parse::rotate_every, hide_short_help = true)]
    rotate_every: Option<Duration>,

    /// Keep so many files that are done with, and remove the oldest.
    ///
    /// Only files of the names that a rotation gives are removed.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), hide_short_help = true)]
    keep: Option<u32>,

    /// Compress files that are done with by zstd
    #[arg(long, hide_short_help = true)]
    rotate_zstd: bool,
}

impl FileArgs {
    /// The format of the file that the events go to, if there is one.
    pub(super) fn format(&self, asked: Format) -> Option<Format> {
        let path = self.output.as_ref()?;
        let is_json =
            path.extension().is_some_and(|it| ["json", "jsonl", "ndjson"].iter().any(|json| it == *json));
        Some(if is_json { Format::Json } else { asked })
    }

    /// What is to be done, where `events` of the `format` go to the file, and packets to the capture `write`.
    pub(super) fn config(
        self,
        events: Option<(Format, Kinds)>,
        write: Option<&Path>,
    ) -> Result<FilesConfig, clap::Error> {
        let rotation = Rotation {
            size: self.rotate_size,
            every: self.rotate_every,
            keep: self.keep,
            zstd: self.rotate_zstd,
        };
        let stdout = Path::new("-");
        let write = write.filter(|path| *path != stdout);
        if self.output.as_deref() == Some(stdout) {
            return Err(wrong("'--output -' is not taken: events go to stdout without it\n"));
        }
        let files = [self.output.as_deref(), write];
        if files.iter().flatten().any(|path| path.extension().is_some_and(|it| it == "zst")) {
            return Err(wrong(
                "a file that is written is not compressed: leave out .zst, and give --rotate-zstd for those that are done with\n",
            ));
        }
        if rotation != Rotation::default() && files == [None, None] {
            return Err(wrong(
                "--rotate-size, --rotate-every, --keep and --rotate-zstd need --output FILE or -w FILE\n",
            ));
        }
        let has_pattern =
            |path: &&Path| path.file_name().is_some_and(|it| it.as_encoded_bytes().contains(&b'%'));
        if (rotation.keep.is_some() || rotation.zstd)
            && !rotation.is_asked()
            && !files.iter().flatten().any(has_pattern)
        {
            return Err(wrong("--keep and --rotate-zstd need --rotate-size or --rotate-every\n"));
        }
        if let [Some(output), Some(write)] = files
            && output == write
        {
            return Err(wrong("--output and -w cannot write to the same file\n"));
        }
        let output =
            self.output.zip(events).map(|(path, (format, events))| OutputFile { path, format, events });
        Ok(FilesConfig { output, mode: self.output_mode, rotation })
    }
}

fn wrong(line: &str) -> clap::Error {
    clap::Error::raw(ErrorKind::ArgumentConflict, line)
}

/// What the files are that are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesConfig {
    /// Where events go besides stdout.
    pub output: Option<OutputFile>,
    /// The access mode of files that are new.
    pub mode: u32,
    /// When another file is begun.
    pub rotation: Rotation,
}

/// A file that events go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputFile {
    /// The file.
    pub path: PathBuf,
    /// Lines for people or for programs.
    pub format: Format,
    /// The kinds of events that go there.
    pub events: Kinds,
}
