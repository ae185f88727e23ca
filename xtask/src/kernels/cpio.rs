//! Writes a cpio archive of the kind that the kernel unpacks at its start (`newc`,
//! Documentation/driver-api/early-userspace/buffer-format.rst).

use anyhow::{Context as _, Result};
use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;
/// Bytes before an entry's name.
const HEADER: usize = 110;

/// An archive that is being written. Directories come by themselves, and a path that is there already is left as it is.
pub(super) struct Archive<W: Write> {
    out: W,
    there: BTreeSet<PathBuf>,
}

impl Archive<BufWriter<File>> {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self::new(BufWriter::new(file)))
    }
}

impl<W: Write> Archive<W> {
    const fn new(out: W) -> Self {
        Self { out, there: BTreeSet::new() }
    }

    /// A file that everybody may read and execute.
    pub(super) fn file(&mut self, path: &Path, content: &[u8]) -> Result<()> {
        self.entry(path, PROGRAM, (0, 0), content)
    }

    pub(super) fn link(&mut self, path: &Path, target: &str) -> Result<()> {
        self.entry(path, LINK, (0, 0), target.as_bytes())
    }

    pub(super) fn directory(&mut self, path: &Path) -> Result<()> {
        self.entry(path, DIRECTORY, (0, 0), &[])
    }

    /// A device by its two numbers.
    pub(super) fn device(&mut self, path: &Path, major: u32, minor: u32) -> Result<()> {
        self.entry(path, CHARACTER_DEVICE, (major, minor), &[])
    }

    /// The last entry, which ends the archive.
    pub(super) fn finish(mut self) -> Result<W> {
        self.write("TRAILER!!!", 0, (0, 0), &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &Path, mode: u32, device: (u32, u32), content: &[u8]) -> Result<()> {
        if self.there.contains(path) {
            return Ok(());
        }
        if let Some(parent) = path.parent().filter(|parent| parent.file_name().is_some()) {
            self.entry(parent, DIRECTORY, (0, 0), &[])?;
        }
        self.there.insert(path.to_owned());
        let name = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
        self.write(name.trim_start_matches('/'), mode, device, content)
    }

    fn write(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) -> Result<()> {
        let len = u32::try_from(content.len()).with_context(|| format!("{name} is too large for cpio"))?;
        let name_len = u32::try_from(name.len() + 1)?;
        // Every file that has one link may have the same inode number.
        let (inode, links, nobody) = (0, 1, 0);
        write!(self.out, "070701{inode:08x}{mode:08x}{nobody:08x}{nobody:08x}{links:08x}{:08x}", 0)?;
        write!(self.out, "{len:08x}{:08x}{:08x}{:08x}{:08x}", 0, 0, device.0, device.1)?;
        write!(self.out, "{name_len:08x}{:08x}{name}\0", 0)?;
        self.pad(HEADER + name.len() + 1)?;
        self.out.write_all(content)?;
        self.pad(content.len())
    }

    /// Name and content each end at a multiple of 4.
    fn pad(&mut self, written: usize) -> Result<()> {
        Ok(self.out.write_all(&[0; 3][..written.wrapping_neg() % 4])?)
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;
    use std::path::Path;

    #[test]
    fn an_archive_is_as_the_kernel_reads_it() {
        let mut archive = Archive::new(Vec::new());
        archive.file(Path::new("/a/b"), b"hello").expect("memory takes it");
        archive.file(Path::new("/a/b"), b"again").expect("the first one stays");
        archive.device(Path::new("/c"), 5, 1).expect("memory takes it");
        let bytes = archive.finish().expect("memory takes it");
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8(bytes).expect("text");
        let mode = |at: usize| u32::from_str_radix(&text[at + 14..at + 22], 16).expect("digits");
        let heads: Vec<usize> = text.match_indices("070701").map(|(at, _)| at).collect();
        assert_eq!(
            heads.iter().map(|&at| mode(at)).collect::<Vec<_>>(),
            [0o040_755, 0o100_755, 0o020_600, 0]
        );
        assert!(heads.iter().all(|at| at % 4 == 0));
        let file = &text[heads[1]..heads[2]];
        assert_eq!(&file[54..62], "00000005", "its length");
        assert_eq!(&file[94..102], "00000004", "its name's length, with the zero");
        assert_eq!(file[110..].trim_end_matches('\0'), "a/b\0\0\0hello");
        assert_eq!(&text[heads[2] + 78..heads[2] + 94], "0000000500000001");
        assert!(text.trim_end_matches('\0').ends_with("TRAILER!!!"));
    }
}
