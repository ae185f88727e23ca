//! A small disk that can be filled.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::{self, Command},
};

/// In memory; unmounted when dropped.
pub(super) struct Disk(PathBuf);

impl Disk {
    pub(super) fn new() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("small-disk-{}", process::id()));
        fs::create_dir_all(&folder).expect("a folder can be made");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=32m", "tmpfs"])
            .arg(&folder)
            .status()
            .expect("mount runs");
        assert!(mounted.success(), "root may mount a file system in memory");
        Self(folder)
    }

    /// Where the tracer writes to.
    pub(super) fn output(&self) -> PathBuf {
        self.0.join("output")
    }

    /// Takes all the space that is left.
    pub(super) fn fill(&self) {
        let mut file = File::create(self.filling()).expect("a file can be made");
        for chunk in [vec![0; 1 << 20], vec![0; 4096], vec![0]] {
            let error = loop {
                if let Err(error) = file.write_all(&chunk) {
                    break error;
                }
            };
            assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
        }
    }

    pub(super) fn free(&self) {
        fs::remove_file(self.filling()).expect("it was filled");
    }

    fn filling(&self) -> PathBuf {
        self.0.join("filling")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // While a test panics, without a second panic.
        let _ = Command::new("umount").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}
