//! The files, and playing them straight to the tracker.

use libtest_mimic::{Failed, Trial};
use std::{
    convert::Infallible,
    fmt::{Display, Write as _},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};
use tcptrace::{
    script::{Level, Played, Script},
    segment::Input,
};

/// One file.
pub(crate) struct Case {
    /// `group/case`
    pub(crate) name: String,
    /// As an editor opens it, from the workspace.
    pub(crate) path: String,
    pub(crate) text: String,
    script: Result<Script, Failed>,
}

pub(crate) type Cases = Vec<Arc<Case>>;

impl Case {
    fn read(root: &Path, path: &Path) -> Self {
        let name = path.strip_prefix(root).unwrap_or(path).with_extension("");
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let path = format!("tcptrace/tests/lifecycle/{}.tcp", name.display());
        let script = Script::parse(&text)
            .map_err(|error| Failed::from(format!("{path}:{}: {}", error.line, error.problem)));
        Self { name: name.display().to_string(), path, text, script }
    }

    pub(crate) fn script(&self) -> Result<&Script, Failed> {
        self.script.as_ref().map_err(Clone::clone)
    }

    /// Plays it to the tracker itself; what comes, in the file's own words, is the file.
    fn play_straight(&self) -> Result<(), Failed> {
        let Ok(played) = self.script()?.play(|input| Ok::<_, Infallible>(Some(input.clone())));
        self.check(&played)?;
        if played.story(false) == self.text {
            Ok(())
        } else {
            Err(format!("{}: told again it is another text", self.path).into())
        }
    }

    /// Plays it, and demands what it expects.
    pub(crate) fn play<E: Display>(
        &self,
        see: impl FnMut(&Input) -> Result<Option<Input>, E>,
    ) -> Result<(), Failed> {
        let played = self.script()?.play(see).map_err(|error| error.to_string())?;
        self.check(&played)
    }

    fn check(&self, played: &Played<'_>) -> Result<(), Failed> {
        played.difference().map_or(Ok(()), |difference| Err(format!("{}:{difference}", self.path).into()))
    }

    /// It is to be played at this level. One that cannot be read fails at the first.
    pub(crate) fn has_level(&self, level: Level) -> bool {
        self.script.as_ref().map_or(level == Level::Tracker, |script| script.scene().has_level(level))
    }
}

/// All files, in the order of their names.
pub(crate) fn all() -> Cases {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lifecycle");
    let mut paths: Vec<PathBuf> = entries(&root)
        .filter(|path| path.is_dir())
        .flat_map(|group| entries(&group))
        .filter(|path| path.extension().is_some_and(|extension| extension == "tcp"))
        .collect();
    paths.sort();
    paths.iter().map(|path| Arc::new(Case::read(&root, path))).collect()
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries.map(|entry| entry.unwrap_or_else(|error| panic!("{error}")).path())
}

pub(crate) fn trials(cases: &Cases) -> Vec<Trial> {
    let mut trials = Vec::new();
    for case in cases {
        if case.has_level(Level::Tracker) {
            let played = Arc::clone(case);
            trials.push(Trial::test(format!("tracker: {}", case.name), move || played.play_straight()));
        }
    }
    trials
}

/// A line for each file that is not played at every level.
pub(crate) fn restricted(cases: &Cases) -> String {
    let mut text = String::new();
    let mut count = 0;
    for case in cases {
        let Some(levels) = case.script.as_ref().ok().and_then(|script| script.scene().levels.as_ref()) else {
            continue;
        };
        count += 1;
        let names: Vec<&str> = levels.only.iter().map(|level| level.name()).collect();
        _ = writeln!(text, "only at {}: {}: {}", names.join(", "), case.name, levels.reason);
    }
    _ = writeln!(text, "{} lifecycle files, {count} of them not at every level", cases.len());
    text
}
