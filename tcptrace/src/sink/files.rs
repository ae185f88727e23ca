//! Files that events and packets are written to: they rotate by size and time, are opened again on request, and
//! survive a full disk.
//!
//! A file never has a part of an event that is followed by another: what a full disk cut off is taken away, or
//! completed where nothing can be taken away, and half a line that a killed process left is ended first. While one
//! process writes a file, no other does, by flock(2).

mod folder;
mod framing;
mod holder;
mod keeper;
mod name;
mod schedule;
mod whole;
mod zstd;

pub use framing::Framing;
pub use whole::{Whole, WholeWriter};

use super::{
    batch::Batch,
    pipe::{OutputError, Pipe, Pressure},
    place::{Place, PlaceError, write_all},
    units::{Count, Nanos},
};
use crate::{confine::ConfineError, stderr};
use folder::{Folder, How};
use jiff::{SignedDuration, Timestamp, Zoned, tz::TimeZone};
use keeper::Keeper;
use name::Name;
use rustix::{
    fs::{fstat, ftruncate},
    io::Errno,
};
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::fd::BorrowedFd,
    path::PathBuf,
    sync::{Arc, mpsc},
    time::Duration,
};
use thiserror::Error;

/// How long files are not rotated after it failed.
const POSTPONED: Duration = Duration::from_mins(1);

/// What to write to, and when to begin another file.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The file. In its name, strftime's conversions are filled in.
    pub path: PathBuf,
    /// The access mode of files that are new.
    pub mode: u32,
    /// Whether a symbolic link is followed in a folder that is not everybody's.
    pub follows: bool,
    /// Whether a file that is there is emptied. Otherwise it is appended to.
    pub empties: bool,
    /// What the bytes are.
    pub framing: Framing,
    /// When to begin another file.
    pub rotation: Rotation,
    /// The time zone that days and names are of.
    pub zone: TimeZone,
}

/// When to begin another file, and what becomes of those that are done with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// A file has at most so many bytes, unless one event alone has more.
    pub size: Option<u64>,
    /// A file is done with at each multiple of this on the clock.
    pub every: Option<Duration>,
    /// How many files are kept besides the one that is written.
    pub keep: Option<u32>,
    /// Whether files that are done with are compressed.
    pub zstd: bool,
}

impl Rotation {
    /// Whether a second file can come.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.size.is_some() || self.every.is_some()
    }
}

/// Confines the calling thread to a folder, which is another user's or not.
pub type Confine = Arc<dyn Fn(BorrowedFd<'_>, bool) -> Result<(), ConfineError> + Send + Sync>;

/// Why files could not be begun.
#[derive(Debug, Error)]
pub enum FilesError {
    /// The file could not be opened or made.
    #[error("cannot create {}: {source}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The name makes no sense.
    #[error("cannot name files by {}: {why}", path.display())]
    Name {
        /// The name.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Another process writes the file.
    #[error("{} is written by {holder} already: write to another file, or end that", path.display())]
    Held {
        /// The file.
        path: PathBuf,
        /// Which process.
        holder: String,
    },
    /// What is no file cannot be rotated.
    #[error("{} is no regular file and cannot be rotated: leave out --rotate-size and --rotate-every", path.display())]
    NoFile {
        /// What is there.
        path: PathBuf,
    },
    /// The thread that writes could not be confined.
    #[error(transparent)]
    Confine(#[from] ConfineError),
    /// The thread that writes could not be started.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// Files that are written one after the other.
#[derive(Debug)]
pub struct Files {
    plan: Plan,
    folder: Folder,
    name: Name,
    /// The file that is written; `None` while none could be opened.
    open: Option<Open>,
    /// When the next file is to begin.
    due: Option<Timestamp>,
    /// Until when files are not rotated, as it failed.
    postponed: Option<Timestamp>,
    /// When a file was last done with: no two are at once.
    last_done: Timestamp,
    /// What a file has to begin with that does not begin with the first event.
    head: framing::Head,
    keeper: Option<Keeper>,
}

/// A file that is open.
#[derive(Debug)]
struct Open {
    file: File,
    name: OsString,
    /// Whether it is a regular file, and no pipe or device.
    regular: bool,
    /// How many bytes it has.
    len: u64,
    /// Whether nothing has been written since it was opened.
    fresh: bool,
    /// Bytes to be written before the next event.
    before: Vec<u8>,
}

impl Files {
    /// Opens the file, and changes nothing in it.
    pub fn open(plan: Plan) -> Result<Self, FilesError> {
        let create = |path: PathBuf| move |source| FilesError::Create { path, source };
        let text = plan.path.file_name().map(OsStr::to_owned).ok_or_else(|| FilesError::Name {
            path: plan.path.clone(),
            why: "it ends in no name of a file".to_owned(),
        })?;
        let folder = Folder::of(&plan.path).map_err(create(plan.path.clone()))?;
        let name =
            Name::new(&text, &plan.zone).map_err(|why| FilesError::Name { path: plan.path.clone(), why })?;
        let head = framing::Head::new(plan.framing);
        let mut files = Self {
            plan,
            folder,
            name,
            open: None,
            due: None,
            postponed: None,
            last_done: Timestamp::MIN,
            head,
            keeper: None,
        };
        let now = files.now();
        files.due = files.plan.rotation.every.map(|every| schedule::next(&now, every));
        let current = files
            .name
            .current(&now)
            .map_err(|why| FilesError::Name { path: files.plan.path.clone(), why })?;
        let path = files.folder.path(&current);
        let open = files.open_file(&current).map_err(create(path.clone()))?;
        if !open.regular && files.plan.rotation.is_asked() {
            return Err(FilesError::NoFile { path });
        }
        if open.regular && !folder::lock(&open.file) {
            return Err(FilesError::Held { path, holder: holder::holder(&open.file) });
        }
        files.open = Some(open);
        Ok(files)
    }

    /// The file that is open.
    #[must_use]
    pub fn file(&self) -> Option<&File> {
        self.open.as_ref().map(|open| &open.file)
    }

    /// Begins to write, by threads of their own, which `confine` themselves before anything else.
    pub fn start(
        mut self,
        pressure: Pressure,
        queue_bytes: usize,
        confine: &Confine,
    ) -> Result<Pipe, FilesError> {
        let Rotation { keep, zstd, .. } = self.plan.rotation;
        let current = self.open.as_ref().map(|open| open.name.clone()).unwrap_or_default();
        if keep.is_some() || zstd {
            let (folder, name) = (self.folder.clone(), self.name.clone());
            self.keeper = Some(Keeper::start(folder, name, current, (keep, zstd), Arc::clone(confine))?);
        }
        let (folder, confine) = (self.folder.clone(), Arc::clone(confine));
        let (tell, told) = mpsc::channel();
        let pipe = Pipe::to(self, pressure, queue_bytes, move || {
            // The other end waits for it.
            let _ = tell.send(confine(folder.fd(), folder.is_of_others()));
        })?;
        told.recv().unwrap_or(Ok(()))?;
        Ok(pipe)
    }

    fn now(&self) -> Zoned {
        Zoned::new(Timestamp::now(), self.plan.zone.clone())
    }

    fn open_file(&self, name: &OsStr) -> io::Result<Open> {
        let Plan { mode, follows, .. } = self.plan;
        let file = self.folder.append_to(name, How { mode, follows })?;
        let metadata = file.metadata()?;
        let len = metadata.len();
        Ok(Open {
            file,
            name: name.to_owned(),
            regular: metadata.is_file(),
            len,
            fresh: true,
            before: Vec::new(),
        })
    }

    /// Opens the file of this name, for which no other process may be writing.
    fn open_next(&mut self, name: &OsStr) -> Result<(), PlaceError> {
        let open =
            self.open_file(name).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::PERM))?;
        if open.regular && !folder::lock(&open.file) {
            return Err(Errno::WOULDBLOCK.into());
        }
        if let Some(keeper) = &self.keeper {
            keeper.look(name);
        }
        self.open = Some(open);
        Ok(())
    }

    fn name_now(&self) -> Result<OsString, PlaceError> {
        self.name.current(&self.now()).map_err(|_| Errno::INVAL.into())
    }

    /// Begins the next file if it is time to.
    fn turn_if_due(&mut self) -> Result<(), PlaceError> {
        let (Some(due), Some(every)) = (self.due, self.plan.rotation.every) else { return Ok(()) };
        let now = Timestamp::now();
        let is_due = now >= due;
        if is_due || schedule::is_too_far(now, due, every) {
            self.due = Some(schedule::next(&self.now(), every));
        }
        if is_due { self.rotate() } else { Ok(()) }
    }

    /// Ends the file, and begins the next.
    fn rotate(&mut self) -> Result<(), PlaceError> {
        let next = self.name_now()?;
        if let Some(open) = &self.open {
            let is_there = self.folder.is_named(&open.file, &open.name);
            let is_empty = open.len == 0;
            if next == open.name && is_there {
                if is_empty {
                    return Ok(());
                }
                let (file, at) = (open.name.clone(), self.done_at());
                if let Err(error) = self.put_away(&file, at) {
                    let path = self.folder.path(&file);
                    stderr::say(format_args!(
                        "cannot rotate {}: {}: it grows on, and is tried again in a minute",
                        path.display(),
                        PlaceError::from(error)
                    ));
                    self.postponed = Timestamp::now().checked_add(POSTPONED).ok();
                    return Ok(());
                }
            } else if is_there && is_empty {
                // Nothing came in its time. If it cannot be removed, an empty file stays.
                let _ = self.folder.remove(&open.name);
            }
        }
        self.open = None;
        self.open_next(&next)
    }

    /// Renames the file that is done with.
    fn put_away(&mut self, file: &OsStr, mut at: Timestamp) -> rustix::io::Result<()> {
        loop {
            match self.folder.rename(file, &Name::done(file, at)) {
                Err(Errno::EXIST) => at += MILLISECOND,
                Ok(()) => {
                    self.last_done = at;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The time by which the file that is done with is called: now, but after the one before.
    fn done_at(&self) -> Timestamp {
        let after = self.last_done.checked_add(MILLISECOND).unwrap_or(Timestamp::MIN);
        Timestamp::now().max(after)
    }

    /// Whether the file may be rotated for its size.
    fn may_rotate(&self) -> bool {
        self.postponed.is_none_or(|until| Timestamp::now() >= until)
    }

    /// Whether the file had packets when it was opened. Its end may be half a block, behind which nothing could be read,
    /// so that it is put away where files rotate.
    fn has_a_stranger(&self) -> bool {
        let is_capture = self.plan.framing == Framing::Blocks && !self.plan.empties;
        let has_bytes = self.open.as_ref().is_some_and(|open| open.fresh && open.len > 0);
        is_capture && self.plan.rotation.is_asked() && has_bytes && self.may_rotate()
    }

    /// Empties the file if that was asked for, and decides what is to be written before the first event.
    fn begin_file(&mut self, first: &[u8]) -> Result<(), PlaceError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if !open.fresh {
            return Ok(());
        }
        if self.plan.empties && open.regular {
            ftruncate(&open.file, 0)?;
            open.len = 0;
        }
        // Only what was there when the trace began is emptied.
        self.plan.empties = false;
        open.fresh = false;
        open.before = match self.plan.framing {
            Framing::Lines if open.regular && open.len > 0 => {
                let reader = self.folder.read(&open.name).ok();
                if reader.is_some_and(|file| framing::ends_a_line(&file, open.len)) {
                    Vec::new()
                } else {
                    vec![b'\n']
                }
            }
            Framing::Lines => Vec::new(),
            Framing::Blocks => self.head.before(first),
        };
        Ok(())
    }

    /// Writes as much of the batch as belongs to the file that is open: `bytes` of it.
    fn append(&mut self, batch: &mut Batch, bytes: usize) -> Result<(), PlaceError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        open.write_before()?;
        let torn = batch.torn();
        let piece = batch.piece(bytes);
        let result = write_all(&open.file, batch, bytes);
        match result {
            Ok(()) => {
                open.len += bytes as u64;
                if torn == 0 {
                    self.head.remember(&piece);
                }
            }
            Err(_) => open.cut_off(batch),
        }
        result
    }
}

const MILLISECOND: SignedDuration = SignedDuration::from_millis(1);

impl Open {
    /// Writes what comes before the next event.
    fn write_before(&mut self) -> Result<(), PlaceError> {
        while !self.before.is_empty() {
            match rustix::io::write(&self.file, &self.before) {
                Ok(n) => {
                    self.before.drain(..n);
                    self.len += n as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes the part of an event that was written away again. Where that cannot be, as in a pipe, the event is
    /// completed by the next write.
    fn cut_off(&mut self, batch: &mut Batch) {
        let Ok(size) = fstat(&self.file).map(|stat| u64::try_from(stat.st_size).unwrap_or(0)) else { return };
        self.len = size;
        let torn = batch.torn() as u64;
        if self.regular && torn > 0 && ftruncate(&self.file, size.saturating_sub(torn)).is_ok() {
            self.len = size.saturating_sub(torn);
            batch.mend();
        }
    }
}

impl Place for Files {
    fn write(&mut self, batch: &mut Batch) -> Result<(), PlaceError> {
        self.turn_if_due()?;
        while !batch.rest().is_empty() {
            if self.open.is_none() {
                let name = self.name_now()?;
                self.open_next(&name)?;
            }
            if self.has_a_stranger() {
                self.rotate()?;
            }
            self.begin_file(batch.rest())?;
            let Some(open) = &self.open else { continue };
            let used = open.len + open.before.len() as u64;
            let room = match self.plan.rotation.size {
                Some(size) if open.regular && self.may_rotate() => size.saturating_sub(used),
                _ => u64::MAX,
            };
            let is_empty = open.len == 0;
            let bytes = match batch.fitting(usize::try_from(room).unwrap_or(usize::MAX)) {
                // A part of an event is in the file already, or the file has nothing and the event is large.
                0 if batch.torn() > 0 || is_empty => batch.next_event(),
                0 => {
                    self.rotate()?;
                    continue;
                }
                bytes => bytes,
            };
            self.append(batch, bytes)?;
        }
        Ok(())
    }

    fn next_tick(&self) -> Option<Duration> {
        self.due.map(|due| schedule::wait(Timestamp::now(), due))
    }

    fn tick(&mut self) {
        // What fails now fails when there is something to write, and is told then.
        let _ = self.turn_if_due();
    }

    fn reopen(&mut self) -> Result<(), PlaceError> {
        let name = self.name_now()?;
        if let Some(open) = &self.open
            && (!open.regular || (open.name == name && self.folder.is_named(&open.file, &name)))
        {
            return Ok(());
        }
        self.open = None;
        self.open_next(&name)
    }

    fn recovers(&self) -> bool {
        true
    }

    fn failed(&mut self, error: PlaceError) {
        stderr::say(format_args!(
            "cannot write {}: {error}: it is tried again each second; what finds no room in memory meanwhile is lost; {}",
            self.plan.path.display(),
            match error {
                PlaceError::Closed => "start its reader again",
                PlaceError::System(_) => "make room, or see to the disk",
            }
        ));
    }

    fn recovered(&mut self, lost: u64, after: Duration) {
        let lost: &dyn std::fmt::Display = match lost {
            0 => &"nothing was lost",
            _ => &Count(lost, "event was lost", "events were lost"),
        };
        let after = Nanos(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
        stderr::say(format_args!("writing {} again after {after}: {lost}", self.plan.path.display()));
    }

    fn end(&mut self) {
        self.open = None;
        if let Some(keeper) = self.keeper.take() {
            keeper.end();
        }
    }
}
