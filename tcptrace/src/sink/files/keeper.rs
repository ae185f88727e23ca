//! What becomes of files that are done with: they are compressed, and the oldest are removed. A thread of low priority
//! does it, which finds the files by their names, so that it goes on where another run left off.

use super::{
    Confine,
    folder::{Folder, lock},
    name::{Name, ZSTD},
    zstd,
};
use crate::{
    confine::ConfineError,
    sink::{pipe::OutputError, place::WriteError},
    stderr,
};
use rustix::{
    fs::{Mode, Timespec, Timestamps, fchmod, fstat, futimens},
    io::Errno,
    process::setpriority_process,
};
use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::ffi::OsStrExt as _,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

/// The ending of a file that is being compressed.
const PART: &str = ".part";

/// The thread that looks after files.
#[derive(Debug)]
pub(super) struct Keeper {
    thread: JoinHandle<()>,
    wake: mpsc::Sender<()>,
    /// The file that is written, which is left alone.
    current: Arc<Mutex<OsString>>,
}

impl Keeper {
    /// Starts the thread, which looks after the files that are there first. Of those that are done with as many are kept
    /// as the number says, and with the flag they are compressed.
    pub(super) fn start(
        folder: Folder,
        name: Name,
        current: OsString,
        (keep, zstd): (Option<u32>, bool),
        confine: Confine,
    ) -> Result<Self, super::FilesError> {
        let (wake, woken) = mpsc::channel();
        let (tell, told) = mpsc::channel::<Result<(), ConfineError>>();
        let current = Arc::new(Mutex::new(current));
        let work = Work { folder, name, current: Arc::clone(&current), keep, zstd };
        let thread = thread::Builder::new().name("tcptrace-files".to_owned()).spawn(move || {
            // It may fail where a sandbox forbids it, and matters little.
            let _ = setpriority_process(None, 19);
            let confined = confine(work.folder.fd(), work.folder.is_of_others());
            let goes_on = confined.is_ok();
            let _ = tell.send(confined);
            if goes_on {
                work.look();
                while woken.recv().is_ok() {
                    while woken.try_recv().is_ok() {}
                    work.look();
                }
            }
        });
        let thread = thread.map_err(|error| {
            OutputError::Start(WriteError(Errno::from_io_error(&error).unwrap_or(Errno::AGAIN)))
        })?;
        told.recv().unwrap_or(Ok(()))?;
        Ok(Self { thread, wake, current })
    }

    /// Has the thread look at the files, of which `current` is written.
    pub(super) fn look(&self, current: &OsStr) {
        current.clone_into(&mut self.current.lock().unwrap_or_else(PoisonError::into_inner));
        // The thread has ended only if it could not be confined.
        let _ = self.wake.send(());
    }

    /// Waits until the thread has done what there is to do.
    pub(super) fn end(self) {
        drop(self.wake);
        let _ = self.thread.join();
    }
}

/// What the thread has to do.
struct Work {
    folder: Folder,
    name: Name,
    current: Arc<Mutex<OsString>>,
    keep: Option<u32>,
    zstd: bool,
}

impl Work {
    /// Removes the oldest files, and compresses the others.
    fn look(&self) {
        let names = match self.folder.names() {
            Ok(names) => names,
            Err(error) => return self.complain("look for", OsStr::new(""), &error.into()),
        };
        self.sweep(&names);
        let mut done: Vec<_> = names.into_iter().filter(|name| self.is_done(name)).collect();
        done.sort_by_cached_key(|name| self.age(name));
        if let Some(keep) = self.keep {
            let surplus = done.len().saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX));
            for name in done.drain(..surplus) {
                self.remove(&name);
            }
        }
        if self.zstd {
            for name in done.iter().filter(|name| !name.as_bytes().ends_with(ZSTD.as_bytes())) {
                match self.compress(name) {
                    Ok(()) => {}
                    // It was removed meanwhile, or another process has it.
                    Err(error)
                        if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::WouldBlock) => {}
                    Err(error) => {
                        self.complain("compress", name, &error);
                        // What is wrong with one is likely wrong with all, such as a full disk.
                        break;
                    }
                }
            }
        }
    }

    fn is_done(&self, name: &OsStr) -> bool {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *name != **current && self.name.is_done(name) && self.is_file(name)
    }

    fn is_file(&self, name: &OsStr) -> bool {
        self.folder.stat(name).is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFREG)
    }

    /// What orders files by age: when they were last written, and of those at once the time that the name says.
    fn age(&self, name: &OsStr) -> (i64, u64, Option<String>) {
        let written = self.folder.stat(name).map(|stat| (stat.st_mtime, stat.st_mtime_nsec));
        let (seconds, nanoseconds) = written.unwrap_or_default();
        (seconds, nanoseconds, Name::stamp(name))
    }

    /// Removes a file, unless another process writes it.
    fn remove(&self, name: &OsStr) {
        if self.folder.read(name).is_ok_and(|file| !lock(&file)) {
            return;
        }
        match self.folder.remove(name) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => self.complain("remove", name, &error.into()),
        }
    }

    /// Puts a compressed file into the place of one that is done with. It has the same mode and is as old.
    fn compress(&self, name: &OsStr) -> io::Result<()> {
        let file = self.folder.read(name)?;
        if !lock(&file) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (whole, part) = (with(name, &[ZSTD]), with(name, &[ZSTD, PART]));
        let made = self.folder.make(&part)?;
        let result = zstd::compress(&file, &made).and_then(|()| {
            let stat = fstat(&file)?;
            fchmod(&made, Mode::from_raw_mode(stat.st_mode & 0o777))?;
            let at =
                Timespec { tv_sec: stat.st_mtime, tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or(0) };
            futimens(&made, &Timestamps { last_access: at, last_modification: at })?;
            self.folder.replace(&part, &whole)?;
            Ok(self.folder.remove(name)?)
        });
        if result.is_err() {
            // The file itself is still there.
            let _ = self.folder.remove(&part);
        }
        result
    }

    /// Removes what a process left that was killed while it compressed. What is compressed at present is compressed by
    /// this thread, or its file is locked.
    fn sweep(&self, names: &[OsString]) {
        for part in names {
            let Some(name) = part.as_bytes().strip_suffix(PART.as_bytes()).map(OsStr::from_bytes) else {
                continue;
            };
            let Some(source) = name.as_bytes().strip_suffix(ZSTD.as_bytes()).map(OsStr::from_bytes) else {
                continue;
            };
            let is_compressed_now = self.folder.read(source).is_ok_and(|file| !lock(&file));
            if self.name.is_done(name) && !is_compressed_now {
                let _ = self.folder.remove(part);
            }
        }
    }

    fn complain(&self, what: &str, name: &OsStr, error: &io::Error) {
        stderr::say(format_args!("cannot {what} files: {}: {error}", self.folder.path(name).display()));
    }
}

fn with(name: &OsStr, endings: &[&str]) -> OsString {
    let mut name = name.to_owned();
    for ending in endings {
        name.push(ending);
    }
    name
}
