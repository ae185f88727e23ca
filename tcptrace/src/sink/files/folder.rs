//! The folder that files are written in. It is opened once, and everything in it is named relative to that: a folder
//! above it that is renamed or replaced meanwhile changes nothing.

use rustix::{
    fs::{
        AtFlags, CWD, Dir, FlockOperation, Mode, OFlags, RenameFlags, Stat, fchmod, fcntl_getfl, fcntl_setfl,
        flock, fstat, openat, renameat_with, statat, unlinkat,
    },
    io::Errno,
    process::geteuid,
};
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            ffi::{OsStrExt as _, OsStringExt as _},
            fs::{FileTypeExt as _, MetadataExt as _},
        },
    },
    path::{Path, PathBuf},
    sync::Arc,
};

/// How a file is opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    /// The access mode of a file that is new.
    pub(super) mode: u32,
    /// Whether a file of another name may be meant, by a symbolic link.
    pub(super) follows: bool,
}

/// An open folder.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    fd: Arc<OwnedFd>,
    path: PathBuf,
    /// Whether everybody can write to it, so that somebody else may have put a link or a file into it.
    shared: bool,
    /// Whether it is another user's.
    of_others: bool,
}

impl Folder {
    /// Opens the folder that `path` is in.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let fd = openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let stat = fstat(&fd)?;
        let (shared, of_others) = (stat.st_mode & 0o002 != 0, stat.st_uid != geteuid().as_raw());
        Ok(Self { fd: Arc::new(fd), path: folder.to_owned(), shared, of_others })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn is_of_others(&self) -> bool {
        self.of_others
    }

    /// The path of a file in the folder, to be told.
    pub(super) fn path(&self, name: &OsStr) -> PathBuf {
        if self.path == Path::new(".") { PathBuf::from(name) } else { self.path.join(name) }
    }

    /// Opens a file to append to it, and makes it if it is not there.
    pub(super) fn append_to(&self, name: &OsStr, how: How) -> io::Result<File> {
        if let Ok(stat) = self.stat(name)
            && stat.st_mode & libc::S_IFMT == libc::S_IFLNK
        {
            if self.shared {
                return Err(io::Error::other("it is a link in a folder that everybody can write to"));
            }
            if !how.follows {
                return Err(io::Error::other("it is a symbolic link: give the file that is meant"));
            }
        }
        // NOFOLLOW, as it may have become a link since. NONBLOCK, so that a pipe that nobody reads is not waited for.
        let no_follow = if self.shared || !how.follows { OFlags::NOFOLLOW } else { OFlags::empty() };
        let flags =
            OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | no_follow;
        let mode = Mode::from_raw_mode(how.mode);
        let file = match openat(&*self.fd, name, flags | OFlags::CREATE | OFlags::EXCL, mode) {
            Ok(fd) => {
                // The mask of the process has a say in the mode that open(2) gives.
                fchmod(&fd, mode)?;
                return Ok(blocking(fd)?);
            }
            Err(Errno::EXIST) => match openat(&*self.fd, name, flags | OFlags::CREATE, mode) {
                Err(Errno::NXIO) => {
                    return Err(io::Error::other("nobody reads from this pipe: start its reader first"));
                }
                opened => blocking(opened?)?,
            },
            Err(error) => return Err(error.into()),
        };
        let metadata = file.metadata()?;
        if self.shared && metadata.uid() != geteuid().as_raw() && !metadata.file_type().is_char_device() {
            return Err(io::Error::other("it is somebody else's, in a folder that everybody can write to"));
        }
        Ok(file)
    }

    /// Opens a file to read it, but no link.
    pub(super) fn read(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(File::from(openat(&*self.fd, name, flags, Mode::empty())?))
    }

    /// Makes a file that is empty, in the place of one that is there. The old one is removed and not written to, as in a
    /// folder that everybody can write to it may be somebody else's.
    pub(super) fn make(&self, name: &OsStr) -> io::Result<File> {
        match self.remove(name) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(openat(&*self.fd, name, flags, Mode::from_raw_mode(0o600))?))
    }

    /// What is known of a file. A link is not followed.
    pub(super) fn stat(&self, name: &OsStr) -> rustix::io::Result<Stat> {
        statat(&*self.fd, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Whether the open file still has this name.
    pub(super) fn is_named(&self, file: &File, name: &OsStr) -> bool {
        let (Ok(named), Ok(open)) = (self.stat(name), fstat(file)) else { return false };
        (named.st_dev, named.st_ino) == (open.st_dev, open.st_ino)
    }

    /// Renames a file, unless there is one of that name.
    pub(super) fn rename(&self, from: &OsStr, to: &OsStr) -> rustix::io::Result<()> {
        match renameat_with(&*self.fd, from, &*self.fd, to, RenameFlags::NOREPLACE) {
            // Some file systems have no such flag.
            Err(Errno::INVAL) if matches!(self.stat(to), Err(Errno::NOENT)) => {
                renameat_with(&*self.fd, from, &*self.fd, to, RenameFlags::empty())
            }
            result => result,
        }
    }

    /// Renames a file, in the place of one that is there.
    pub(super) fn replace(&self, from: &OsStr, to: &OsStr) -> rustix::io::Result<()> {
        renameat_with(&*self.fd, from, &*self.fd, to, RenameFlags::empty())
    }

    pub(super) fn remove(&self, name: &OsStr) -> rustix::io::Result<()> {
        unlinkat(&*self.fd, name, AtFlags::empty())
    }

    /// The names of everything in the folder.
    pub(super) fn names(&self) -> rustix::io::Result<Vec<OsString>> {
        let fd = openat(&*self.fd, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let names =
            Dir::new(fd)?.map(|entry| entry.map(|it| OsString::from_vec(it.file_name().to_bytes().to_vec())));
        Ok(names
            .collect::<rustix::io::Result<Vec<_>>>()?
            .into_iter()
            .filter(|it| it.as_bytes() != b"." && it.as_bytes() != b"..")
            .collect())
    }
}

/// Has writes wait for the reader of a pipe.
fn blocking(fd: OwnedFd) -> rustix::io::Result<File> {
    fcntl_setfl(&fd, fcntl_getfl(&fd)? - OFlags::NONBLOCK)?;
    Ok(File::from(fd))
}

/// Locks a file for this process alone, and returns whether it could be had. Where locks do not exist, it can.
pub(super) fn lock(file: impl AsFd) -> bool {
    flock(file, FlockOperation::NonBlockingLockExclusive) != Err(Errno::WOULDBLOCK)
}
