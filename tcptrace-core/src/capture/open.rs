//! Opens capture files: regular files or streams, compressed or not.

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

/// How many bytes of compressed data are read at a time.
const COMPRESSED_BLOCK: usize = 256 << 10;
/// How many bytes at the beginning of a file tell whether it is compressed.
const MAGIC: usize = 4;

/// A file that is being read.
pub(super) struct Opened {
    pub(super) window: Window,
    pub(super) name: String,
    /// The count of bytes read so far, where that is not the offset of the window.
    pub(super) read: Option<Arc<AtomicU64>>,
    pub(super) total: Option<u64>,
    pub(super) compressed: bool,
}

/// A file that is open, and of which nothing was read.
pub struct Unread {
    file: Arc<File>,
    name: String,
    /// The length in bytes of a regular file. Files of /proc claim to be empty, and have none here.
    len: Option<u64>,
    /// A pipe that interrupts waiting: once it has something to read, reading the file fails.
    until: Option<Arc<PipeReader>>,
}

/// A regular file that was opened, and can be read a second time from where it stood.
pub(super) struct Reopen {
    unread: Unread,
    from: u64,
}

impl Reopen {
    /// Moves the file back to where it stood before it was read.
    pub(super) fn rewind(self) -> Result<Unread, FileError> {
        let Self { unread, from } = self;
        match (&*unread.file).seek(SeekFrom::Start(from)) {
            Ok(_) => Ok(unread),
            Err(source) => Err(FileError::Open { name: unread.name, source }),
        }
    }
}

impl Unread {
    /// Makes waiting for a stream fail once there is something to read from `until`.
    #[must_use]
    pub fn interrupted_by(self, until: Arc<PipeReader>) -> Self {
        Self { until: Some(until), ..self }
    }

    /// The length of the file in bytes, where it is a regular file.
    pub(super) const fn len(&self) -> Option<u64> {
        self.len
    }

    /// A second handle on the file for reading it once more; `None` where it can be read only once.
    pub(super) fn reopen(&self) -> Result<Option<Reopen>, FileError> {
        if self.len.is_none() {
            return Ok(None);
        }
        let Self { file, name, len, until } = self;
        match (&**file).stream_position() {
            Ok(from) => {
                let (file, name, until) = (Arc::clone(file), name.clone(), until.clone());
                Ok(Some(Reopen { unread: Self { file, name, len: *len, until }, from }))
            }
            Err(source) => Err(FileError::Open { name: name.clone(), source }),
        }
    }

    /// Whether `other` is open on the same regular file.
    #[must_use]
    pub fn is_same_file(&self, other: &File) -> bool {
        let identity = |file: &File| {
            let metadata = file.metadata().ok().filter(fs::Metadata::is_file)?;
            Some((metadata.dev(), metadata.ino()))
        };
        identity(&self.file).is_some_and(|it| identity(other) == Some(it))
    }
}

/// A stream that can be waited for without end: reading fails once there is something in the pipe `until`.
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
pub(super) fn open_unread(path: &Path) -> Result<Unread, FileError> {
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

/// Begins to read an open file, and finds out whether it is compressed.
pub(super) fn start_reading(Unread { file, name, len, until }: Unread) -> Result<Opened, FileError> {
    let failed = |source| FileError::Open { name: name.clone(), source };
    let Some(total) = len else {
        return stream(name, Box::new(Interruptible { file, until }));
    };
    // A file that the shell redirects may have been read in part.
    let from = (&*file).stream_position().map_err(failed)?;
    let mut magic = [0; MAGIC];
    let len = file.read_at(&mut magic, from).map_err(failed)?;
    if Compression::of(&magic[..len]).is_none() {
        // No more is read than the file has now: the end of a file that is being written would run away.
        let window = Window::file(Box::new(file.take(total.saturating_sub(from))), from);
        return Ok(Opened { window, name, read: None, total: Some(total), compressed: false });
    }
    let opened = stream(name, Box::new(file))?;
    Ok(Opened { total: Some(total), ..opened })
}

/// Begins to read a stream of bytes, and finds out whether it is compressed.
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
            // RFC 1952 §2.3.1; the third byte is deflate, the only method that is defined.
            [0x1f, 0x8b, 8, _] => Some(Self::Gzip),
            // RFC 8878 §3.1.1, and §3.1.2 for a skippable frame.
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Counts the bytes that are read, to show progress.
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
