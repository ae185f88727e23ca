//! Where the captures are and what is known about them.

use serde::{Deserialize, de::DeserializeOwned};
use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

/// The captures.
pub(crate) struct Corpus {
    root: PathBuf,
}

/// One with TCP in it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Capture {
    pub(crate) name: String,
    pub(crate) format: String,
    pub(crate) tcp_frames: u64,
    pub(crate) features: Vec<String>,
}

/// One that is damaged, odd or empty.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Negative {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) tshark_err: Vec<String>,
}

impl Capture {
    pub(crate) fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|known| known == feature)
    }
}

impl Corpus {
    /// Finds them.
    pub(crate) fn find() -> Option<Self> {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
        let root = env::var_os("TCPTRACE_CORPUS").map_or(beside, PathBuf::from);
        root.join("manifest.jsonl").is_file().then_some(Self { root })
    }

    pub(crate) fn captures(&self) -> Vec<Capture> {
        lines(&self.root.join("manifest.jsonl"))
    }

    pub(crate) fn negatives(&self) -> Vec<Negative> {
        lines(&self.root.join("negative.jsonl"))
    }

    pub(crate) fn capture(&self, name: &str) -> PathBuf {
        self.root.join("pcaps").join(name)
    }

    pub(crate) fn truth(&self, name: &str) -> PathBuf {
        self.root.join("truth").join(format!("{name}.jsonl"))
    }

    /// What Zeek's own tests expect in conn.log, of the captures that have such a test.
    pub(crate) fn conn_logs(&self, name: &str) -> Vec<PathBuf> {
        let prefix = format!("{name}__");
        let of_capture = |path: &PathBuf| {
            path.file_name().and_then(OsStr::to_str).is_some_and(|file| file.starts_with(&prefix))
        };
        let files = fs::read_dir(self.root.join("zeek")).into_iter().flatten().flatten();
        let mut logs: Vec<PathBuf> = files.map(|file| file.path()).filter(of_capture).collect();
        logs.sort();
        logs
    }

    pub(crate) fn negative(&self, name: &str) -> PathBuf {
        self.root.join("negative").join(name)
    }
}

pub(crate) fn lines<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(parse).collect()
}
