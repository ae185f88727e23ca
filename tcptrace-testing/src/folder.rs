//! A folder of a test's own.

use std::{
    env, fs,
    ops::Deref,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// A folder among the temporary files, with what a test puts there. It is removed when it is dropped.
pub struct Folder(PathBuf);

impl Folder {
    /// A new one, which is empty.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("tcptrace-test-{}-{number}", process::id()));
        fs::create_dir(&path).expect("a folder can be made");
        Self(path)
    }

    /// The paths of what is in it, in the order of the names.
    pub fn paths(&self) -> Vec<PathBuf> {
        let mut paths: Vec<_> =
            fs::read_dir(&self.0).expect("our folder").map(|it| it.expect("a file").path()).collect();
        paths.sort();
        paths
    }

    /// The path of something in it, as a word of a command.
    pub fn word(&self, name: &str) -> String {
        self.join(name).to_str().expect("a path that is text").to_owned()
    }
}

impl Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A test that fails has a reason of its own.
        let _ = fs::remove_dir_all(&self.0);
    }
}
