//! Opens the file that a trace writes. That happens before the process confines itself: afterwards nothing can be
//! opened for writing.

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
    process::geteuid,
};
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::AsFd as _,
        unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::Path,
};

/// Opens a file to be written, or the standard output for `-`. A new file is readable by its owner alone. In a folder
/// that everybody can write to, somebody else may have put a link or a file in the place: it is an error, and nothing
/// is written to it.
pub(super) fn create(path: &Path) -> io::Result<File> {
    if path == Path::new("-") {
        return io::stdout().as_fd().try_clone_to_owned().map(File::from);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // If the folder does not exist, opening the file says so below.
    let shared = fs::metadata(folder).is_ok_and(|folder| folder.mode() & 0o002 != 0);
    if shared && fs::symlink_metadata(path).is_ok_and(|file| file.is_symlink()) {
        return Err(io::Error::other("it is a link in a folder that everybody can write to"));
    }
    // NOFOLLOW, as the path may have become a link since. NONBLOCK, so that a pipe that nobody reads is not waited for.
    let no_follow = if shared { OFlags::NOFOLLOW } else { OFlags::empty() };
    let flags = i32::try_from((OFlags::NONBLOCK | no_follow).bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    let file = options.open(path).map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::NXIO) => io::Error::other("nobody reads from this pipe: start its reader first"),
        _ => error,
    })?;
    let metadata = file.metadata()?;
    if shared && metadata.uid() != geteuid().as_raw() && !metadata.file_type().is_char_device() {
        return Err(io::Error::other("it is somebody else's, in a folder that everybody can write to"));
    }
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}
