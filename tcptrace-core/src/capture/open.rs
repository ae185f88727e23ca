//! Opening: what kind of file it is to the system, and whether it is compressed.

use super::{FileError, window::Window, zstd};
use flate2::bufread::MultiGzDecoder;
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};
use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Cursor, PipeReader, Read, Seek as _, SeekFrom},
    os::{
        fd::AsFd,
        unix::fs::{FileExt, MetadataExt},
    },
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// What compressed data is read in.
const COMPRESSED_BLOCK: usize = 256 << 10;
/// Bytes that tell whether it is.
const MAGIC: usize = 4;

/// An open file.
pub(super) struct Opened {
    pub(super) window: Window,
    pub(super) name: String,
    /// Bytes read so far, where that is not the window's offset.
    pub(super) read: Option<Arc<AtomicU64>>,
    pub(super) total: Option<u64>,
    pub(super) compressed: bool,
}

/// A file that is open, and of which nothing was read.
pub struct Unread {
    file: Arc<File>,
    name: String,
    /// Of a file that has one; those of /proc claim to be empty.
    len: Option<u64>,
    /// Where there is something to read from this, nothing more is waited for.
    until: Option<Arc<PipeReader>>,
}

/// A file that can be read once more, from where it would be read now.
pub(super) struct Again {
    unread: Unread,
    from: u64,
}

impl Again {
    /// As it was before it was read.
    pub(super) fn begin_anew(self) -> Result<Unread, FileError> {
        let Self { unread, from } = self;
        match (&*unread.file).seek(SeekFrom::Start(from)) {
            Ok(_) => Ok(unread),
            Err(source) => Err(FileError::Open { name: unread.name, source }),
        }
    }
}

impl Unread {
    /// Has reading from a pipe fail once there is something to read from `until`.
    #[must_use]
    pub fn until(self, until: Arc<PipeReader>) -> Self {
        Self { until: Some(until), ..self }
    }

    /// How long it is, where it has a length.
    pub(super) const fn len(&self) -> Option<u64> {
        self.len
    }

    /// Where it can be read twice, what the second time is read from.
    pub(super) fn again(&self) -> Result<Option<Again>, FileError> {
        if self.len.is_none() {
            return Ok(None);
        }
        let Self { file, name, len, until } = self;
        match (&**file).stream_position() {
            Ok(from) => {
                let (file, name, until) = (Arc::clone(file), name.clone(), until.clone());
                Ok(Some(Again { unread: Self { file, name, len: *len, until }, from }))
            }
            Err(source) => Err(FileError::Open { name: name.clone(), source }),
        }
    }

    /// It is the very file that another descriptor is of.
    #[must_use]
    pub fn is(&self, other: &File) -> bool {
        let identity = |file: &File| {
            let metadata = file.metadata().ok().filter(fs::Metadata::is_file)?;
            Some((metadata.dev(), metadata.ino()))
        };
        identity(&self.file).is_some_and(|it| identity(other) == Some(it))
    }
}

/// What cannot be waited for in vain: reading fails once there is something in a pipe.
struct Interruptible {
    file: Arc<File>,
    until: Option<Arc<PipeReader>>,
}

impl Read for Interruptible {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(until) = &self.until {
            let mut either = [PollFd::new(&*self.file, PollFlags::IN), PollFd::new(&**until, PollFlags::IN)];
            while let Err(error) = poll(&mut either, None) {
                if error != Errno::INTR {
                    return Err(error.into());
                }
            }
            if !either[1].revents().is_empty() {
                return Err(io::Error::other("a signal came"));
            }
        }
        self.file.read(buffer)
    }
}

/// Opens a path, or the standard input for `-`.
pub(super) fn find(path: &Path) -> Result<Unread, FileError> {
    let standard_input = path.as_os_str() == "-";
    let name = if standard_input { "the standard input".to_owned() } else { path.display().to_string() };
    let opened = if standard_input {
        io::stdin().as_fd().try_clone_to_owned().map(File::from)
    } else {
        File::open(path)
    };
    let opened = opened.and_then(|file| file.metadata().map(|metadata| (file, metadata)));
    match opened {
        Ok((file, metadata)) => {
            let len = Some(metadata.len()).filter(|&len| metadata.is_file() && len > 0);
            Ok(Unread { file: Arc::new(file), name, len, until: None })
        }
        Err(source) => Err(FileError::Open { name, source }),
    }
}

/// Begins to read it.
pub(super) fn begin(Unread { file, name, len, until }: Unread) -> Result<Opened, FileError> {
    let failed = |source| FileError::Open { name: name.clone(), source };
    let Some(total) = len else {
        return stream(name, Box::new(Interruptible { file, until }));
    };
    // What the shell redirects may have been read in part.
    let from = (&*file).stream_position().map_err(failed)?;
    let mut magic = [0; MAGIC];
    let len = file.read_at(&mut magic, from).map_err(failed)?;
    if Compression::of(&magic[..len]).is_none() {
        // No more than there is now: of a file that is being written the end would run ahead.
        let window = Window::file(Box::new(file.take(total.saturating_sub(from))), from);
        return Ok(Opened { window, name, read: None, total: Some(total), compressed: false });
    }
    let opened = stream(name, Box::new(file))?;
    Ok(Opened { total: Some(total), ..opened })
}

/// Reads from anything.
pub(super) fn stream(name: String, mut read: Box<dyn Read + Send>) -> Result<Opened, FileError> {
    let mut start = Vec::with_capacity(MAGIC);
    let source = match read.by_ref().take(MAGIC as u64).read_to_end(&mut start) {
        Ok(_) => Cursor::new(start.clone()).chain(read),
        Err(source) => return Err(FileError::Open { name, source }),
    };
    let count = Arc::new(AtomicU64::new(0));
    let counted = Counted { source, count: Arc::clone(&count) };
    let compression = Compression::of(&start);
    let window = match compression {
        None => Window::stream(Box::new(counted)),
        Some(Compression::Gzip) => Window::decompressed(Box::new(MultiGzDecoder::new(buffered(counted)))),
        Some(Compression::Zstd) => Window::decompressed(Box::new(zstd::Decoder::new(buffered(counted)))),
    };
    Ok(Opened { window, name, read: Some(count), total: None, compressed: compression.is_some() })
}

fn buffered(read: impl Read + Send) -> impl BufRead + Send {
    BufReader::with_capacity(COMPRESSED_BLOCK, read)
}

#[derive(Clone, Copy)]
enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    fn of(start: &[u8]) -> Option<Self> {
        match *start.first_chunk::<MAGIC>()? {
            // RFC 1952 §2.3.1, with the only method there is
            [0x1f, 0x8b, 8, _] => Some(Self::Gzip),
            // RFC 8878 §3.1.1 and, for a frame to be skipped, §3.1.2
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Counts what is read, for the progress.
struct Counted<R> {
    source: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.source.read(buffer)?;
        self.count.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }
}
