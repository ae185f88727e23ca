//! The files in `stories/`: each is one way that a connection can go, in the language of [`crate::script`]. Each is
//! played at three levels, and must give what it expects at all of them. Its segments go straight to the tracker; they
//! go as packets through the header parser and the lifecycle test in user space (`tcptrace-core/tests/lifecycle` plays
//! these two levels); and they go as packets through the loaded kernel programs (`tcptrace/tests/lifecycle`), which
//! needs root and BPF.

use crate::{
    packet,
    script::{Level, Played, Script},
};
use std::{
    convert::Infallible,
    fmt::{Display, Write as _},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};
use tcptrace_core::segment::Input;

/// One file of `stories/`.
#[derive(Debug)]
pub struct Story {
    /// The name of the story: `group/case`.
    pub name: String,
    /// The path of the file from the workspace, as an editor opens it.
    path: String,
    text: String,
    script: Result<Script, String>,
}

/// All stories, or some of them.
pub type Stories = Vec<Arc<Story>>;

impl Story {
    fn read(root: &Path, path: &Path) -> Self {
        let name = path.strip_prefix(root).unwrap_or(path).with_extension("");
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let path = format!("tcptrace-testing/stories/{}.tcp", name.display());
        let script =
            Script::parse(&text).map_err(|error| format!("{path}:{}: {}", error.line, error.problem));
        Self { name: name.display().to_string(), path, text, script }
    }

    /// The script of the file, or what is wrong with the file.
    pub fn script(&self) -> Result<&Script, String> {
        self.script.as_ref().map_err(Clone::clone)
    }

    /// Plays the script to the tracker, and checks that it gives what is expected, and that the file is what
    /// [`Played::story`] would write.
    pub fn play_to_tracker(&self) -> Result<(), String> {
        let Ok(played) = self.script()?.play(|input| Ok::<_, Infallible>(Some(input.clone())));
        self.check(&played)?;
        if played.story(false) == self.text {
            Ok(())
        } else {
            Err(format!("{}: written from what came, it is another text", self.path))
        }
    }

    /// Plays the script through `capture`, and checks that it gives what is expected.
    pub fn play<E: Display>(
        &self,
        capture: impl FnMut(&Input) -> Result<Option<Input>, E>,
    ) -> Result<(), String> {
        let played = self.script()?.play(capture).map_err(|error| error.to_string())?;
        self.check(&played)
    }

    fn check(&self, played: &Played<'_>) -> Result<(), String> {
        played.difference().map_or(Ok(()), |difference| Err(format!("{}:{difference}", self.path)))
    }

    /// Whether the story is played at this level. A file with an error is played at the first one, so that it fails
    /// there.
    pub fn has_level(&self, level: Level) -> bool {
        self.script.as_ref().map_or(level == Level::Tracker, |script| script.scene().has_level(level))
    }

    /// Checks that every expectation counts: with another value, or without its line, the story must fail. Also checks
    /// that the first line is a title.
    pub fn check_demands(&self) -> Result<(), String> {
        if self.script()?.title().is_none() {
            return Err(format!("{}:1: the first line is to say which story it is", self.path));
        }
        let lines: Vec<&str> = self.text.lines().collect();
        for (place, line) in lines.iter().enumerate().filter(|(_, line)| line.trim_start().starts_with('=')) {
            let others = fields(line).map(|(name, value)| {
                let other = if value == "null" { "0" } else { "null" };
                Some(line.replacen(&format!("{name}={value}"), &format!("{name}={other}"), 1))
            });
            // A line of nothing but further fields may be left out, which only demands less.
            let none = (!is_more(line)).then_some(None);
            for wrong in others.chain(none) {
                let rest = lines[place + 1..].iter().skip_while(|line| wrong.is_none() && is_more(line));
                let text: Vec<&str> =
                    lines[..place].iter().chain(&wrong.as_deref()).chain(rest).copied().collect();
                if self.holds(&text.join("\n"))? {
                    let wrong = wrong.unwrap_or_else(|| "nothing in its place".to_owned());
                    return Err(format!("{}:{}: holds as well with: {wrong}", self.path, place + 1));
                }
            }
        }
        Ok(())
    }

    /// Whether the story holds with another text.
    fn holds(&self, text: &str) -> Result<bool, String> {
        let script = Script::parse(text).map_err(|error| error.to_string())?;
        let played = if self.has_level(Level::Tracker) {
            script.play(|input| Ok(Some(input.clone())))
        } else {
            let mut parser = packet::parser(script.scene());
            script.play(|input| packet::capture(&mut parser, input))
        };
        Ok(played?.difference().is_none())
    }
}

/// All files, sorted by name.
pub fn all() -> Stories {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("stories");
    let mut paths: Vec<PathBuf> = entries(&root)
        .filter(|path| path.is_dir())
        .flat_map(|group| entries(&group))
        .filter(|path| path.extension().is_some_and(|extension| extension == "tcp"))
        .collect();
    paths.sort();
    paths.iter().map(|path| Arc::new(Story::read(&root, path))).collect()
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries.map(|entry| entry.unwrap_or_else(|error| panic!("{error}")).path())
}

fn is_more(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next() == Some("=") && words.next().is_some_and(|word| word.contains('='))
}

/// Each `NAME=VALUE` of a line.
fn fields(line: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut quoted = false;
    let words = line.split(move |c: char| {
        quoted ^= c == '"';
        c == ' ' && !quoted
    });
    words.filter_map(|word| word.split_once('=')).filter(|(name, _)| !name.is_empty())
}

/// A line for each story that is not played at every level, and how many there are.
pub fn restricted(stories: &[Arc<Story>]) -> String {
    let mut text = String::new();
    let mut count = 0;
    for story in stories {
        let Some(levels) = story.script.as_ref().ok().and_then(|script| script.scene().levels.as_ref())
        else {
            continue;
        };
        count += 1;
        let names: Vec<&str> = levels.only.iter().map(|level| level.name()).collect();
        _ = writeln!(text, "only at {}: {}: {}", names.join(", "), story.name, levels.reason);
    }
    _ = writeln!(text, "{} stories, {count} of them not at every level", stories.len());
    text
}
