//! Parses a script line by line.

use super::{Error, Expectation, Line, LineKind, Problem, START, Scene, Script, Step, input, words::Words};
use tcptrace_core::segment::{Input, Timestamp};

/// Parses a script.
pub(super) fn script(text: &str) -> Result<Script, Error> {
    let mut reader =
        Reader { scene: Scene::default(), lines: Vec::new(), last: START, begun: false, ended: false };
    for (place, text) in text.lines().enumerate() {
        let what = reader.line(text).map_err(|problem| Error { line: place + 1, problem })?;
        reader.lines.push(Line { text: text.to_owned(), what });
    }
    let Reader { scene, lines, .. } = reader;
    Ok(Script { scene, lines })
}

struct Reader {
    scene: Scene,
    lines: Vec<Line>,
    /// The time of the last step.
    last: Timestamp,
    begun: bool,
    ended: bool,
}

impl Reader {
    fn line(&mut self, text: &str) -> Result<LineKind, Problem> {
        let mut words = Words::of(text);
        match words.next() {
            None => Ok(LineKind::Aside),
            Some("=") => self.expected(&mut words),
            Some(name) if self.scene.line(name, &mut words)? => {
                if self.begun {
                    return Err(Problem::TooLate(name.to_owned()));
                }
                words.end().map(|()| LineKind::Aside)
            }
            Some(time) => {
                if !time.starts_with(|c: char| c == '+' || c.is_ascii_digit()) {
                    return Err(Problem::Unknown(time.to_owned(), "a time, the scene's or an expectation"));
                }
                if !self.begun {
                    self.scene.check()?;
                }
                if self.ended {
                    return Err(Problem::AfterTheEnd);
                }
                self.begun = true;
                let step = input::step(time, &mut words, self.last, &mut self.scene)?;
                self.last = step.ts();
                self.ended = matches!(step, Step::End(_));
                Ok(LineKind::Step(step))
            }
        }
    }

    fn expected(&mut self, words: &mut Words<'_>) -> Result<LineKind, Problem> {
        if !self.begun {
            return Err(Problem::TooEarly);
        }
        let more = words.peek().is_some_and(|word| word.contains('='));
        if more {
            let before = self.lines.iter_mut().rev().map(|line| &mut line.what);
            let mut before = before.skip_while(|what| matches!(what, LineKind::More | LineKind::Aside));
            let Some(LineKind::Expected(expectation)) = before.next() else {
                return Err(Problem::Missing("what is expected"));
            };
            expectation.fields(words)?;
            return Ok(LineKind::More);
        }
        Expectation::parse(words).map(LineKind::Expected)
    }
}

impl Step {
    /// The time at which it happens.
    pub(super) fn ts(&self) -> Timestamp {
        match self {
            Self::Input(Input::Segment(segment)) => segment.ts,
            Self::Input(Input::Icmp(error)) => error.quoted.ts,
            Self::Input(Input::Lost(report)) => report.until,
            Self::Input(Input::Admission(change)) => change.ts,
            Self::Input(Input::Clock(change)) => change.ts,
            Self::Input(Input::Accepted(acceptance)) => acceptance.ts,
            // A script has no way to write these inputs.
            Self::Input(Input::Passed(_) | Input::AcceptQueue(..)) => Timestamp(0),
            Self::Input(Input::Tick(ts) | Input::Overwritten(ts)) | Self::End(ts) => *ts,
        }
    }
}
