//! A file that is written in one piece: an old one of its name is replaced when all is written, so that nobody ever finds a part.

use super::{
    Confine, FilesError,
    folder::{Folder, How},
};
use rustix::{
    fs::{Mode, fchmod},
    io::Errno,
};
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

/// A file that is to be written in one piece.
#[derive(Debug)]
pub struct Whole {
    folder: Folder,
    name: OsString,
    /// What is there under this name.
    old: Option<File>,
    mode: u32,
}

/// The thread that writes it.
#[derive(Debug)]
pub struct WholeWriter {
    content: mpsc::SyncSender<Vec<u8>>,
    thread: JoinHandle<io::Result<()>>,
    path: PathBuf,
}

impl Whole {
    /// Finds out whether the file can be written, and changes nothing. `mode` is the access mode of one that is new.
    pub fn open(path: &Path, mode: u32) -> Result<Self, FilesError> {
        let failed = |source| FilesError::Create { path: path.to_owned(), source };
        let name = path.file_name().map(OsStr::to_owned).ok_or_else(|| FilesError::Name {
            path: path.to_owned(),
            why: "it ends in no name of a file".to_owned(),
        })?;
        let folder = Folder::of(path).map_err(failed)?;
        let mut whole = Self { folder, name, old: None, mode };
        match whole.folder.stat(&whole.name) {
            Err(Errno::NOENT) => whole.try_to_make().map_err(failed)?,
            Err(error) => return Err(failed(error.into())),
            Ok(_) => {
                let how = How { mode, follows: false };
                let old = whole.folder.append_to(&whole.name, how).map_err(failed)?;
                let metadata = old.metadata().map_err(failed)?;
                if metadata.is_file() {
                    whole.mode = metadata.permissions().mode() & 0o777;
                    whole.try_to_make().map_err(failed)?;
                }
                whole.old = Some(old);
            }
        }
        Ok(whole)
    }

    /// What is there under this name.
    #[must_use]
    pub fn file(&self) -> Option<&File> {
        self.old.as_ref()
    }

    /// Starts the thread that writes, which `confine`s itself to the folder before anything else, and waits for the content.
    pub fn start(self, confine: &Confine) -> Result<WholeWriter, FilesError> {
        let path = self.folder.path(&self.name);
        let (content, contents) = mpsc::sync_channel::<Vec<u8>>(1);
        let (tell, told) = mpsc::channel();
        let confine = Arc::clone(confine);
        let thread = thread::Builder::new()
            .name("page".to_owned())
            .spawn(move || {
                let confined = confine(self.folder.fd(), self.folder.is_of_others());
                let is_confined = confined.is_ok();
                // The other end waits for it.
                let _ = tell.send(confined);
                match contents.recv() {
                    Ok(content) if is_confined => self.write(&content),
                    // Nothing is to be written after all.
                    _ => Ok(()),
                }
            })
            .map_err(|source| FilesError::Create { path: path.clone(), source })?;
        told.recv().unwrap_or(Ok(()))?;
        Ok(WholeWriter { content, thread, path })
    }

    /// The name under which a file is written before it takes the place of the old one.
    fn new_name() -> OsString {
        format!(".tcptrace-{}.new", process::id()).into()
    }

    fn try_to_make(&self) -> io::Result<()> {
        self.folder.make(&Self::new_name())?;
        Ok(self.folder.remove(&Self::new_name())?)
    }

    fn write(self, content: &[u8]) -> io::Result<()> {
        if let Some(mut old) = self.old.as_ref().filter(|old| !old.metadata().is_ok_and(|it| it.is_file())) {
            // A pipe or device cannot be replaced.
            return old.write_all(content);
        }
        let new = Self::new_name();
        let mut file = self.folder.make(&new)?;
        let written = file
            .write_all(content)
            .and_then(|()| Ok(fchmod(&file, Mode::from_raw_mode(self.mode))?))
            .and_then(|()| Ok(self.folder.replace(&new, &self.name)?));
        if written.is_err() {
            // The error that is told is the one before.
            let _ = self.folder.remove(&new);
        }
        written
    }
}

impl WholeWriter {
    /// Writes the content, and waits until all of it is there.
    pub fn write(self, content: Vec<u8>) -> Result<(), FilesError> {
        let Self { content: sender, thread, path } = self;
        // A thread that is gone has its reason.
        let _ = sender.send(content);
        drop(sender);
        let written =
            thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that writes has died")));
        written.map_err(|source| FilesError::Create { path, source })
    }
}
