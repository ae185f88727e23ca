//! The events that a script expects, and whether they are those that came.

use super::{Problem, Scene, fields::Fields, scene::Who, words::Words};
use std::net::SocketAddr;
use tcptrace_core::event::{Address, Event, Kind, Role, State, Transition};

/// The most columns of a line of fields.
const WIDTH: usize = 100;

/// An expected event.
#[derive(Debug)]
pub(super) struct Expectation {
    what: ExpectedEvent,
    fields: Vec<(String, String)>,
}

/// An event without its fields.
#[derive(Debug, PartialEq)]
enum ExpectedEvent {
    Transition { who: Who, from: State, to: State, inferred: bool },
    Other(Kind),
}

impl Expectation {
    /// Parses what follows the `=`.
    pub(super) fn parse(words: &mut Words<'_>) -> Result<Self, Problem> {
        let word = words.need("what is expected")?;
        let kind = word
            .parse()
            .ok()
            .filter(|kind| !matches!(kind, Kind::Start | Kind::Transition | Kind::Segment | Kind::Stats));
        let what = if let Some(kind) = kind {
            ExpectedEvent::Other(kind)
        } else {
            let who =
                Who::parse(word).map_err(|_| Problem::Unknown(word.to_owned(), "an event, or C or S"))?;
            let from = state(words.need("a state")?)?;
            words.expect("->")?;
            let to = words.need("a state")?;
            let name = to.strip_suffix('?');
            ExpectedEvent::Transition { who, from, to: state(name.unwrap_or(to))?, inferred: name.is_some() }
        };
        let mut expectation = Self { what, fields: Vec::new() };
        expectation.fields(words)?;
        Ok(expectation)
    }

    /// Parses `NAME=VALUE ...`.
    pub(super) fn fields(&mut self, words: &mut Words<'_>) -> Result<(), Problem> {
        while let Some(word) = words.next() {
            let field = word.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty());
            let (name, value) = field.ok_or_else(|| Problem::Unknown(word.to_owned(), "FIELD=VALUE"))?;
            if self.fields.iter().any(|(known, _)| known == name) {
                return Err(Problem::Twice(name.to_owned()));
            }
            self.fields.push((name.to_owned(), value.trim_matches('"').to_owned()));
        }
        Ok(())
    }

    pub(super) fn is_transition(&self) -> bool {
        matches!(self.what, ExpectedEvent::Transition { .. })
    }

    /// Whether the event is the expected one.
    pub(super) fn fits(&self, event: &Event, scene: &Scene) -> bool {
        if ExpectedEvent::of(event, scene) != self.what {
            return false;
        }
        let came = Fields::of(event);
        self.fields.iter().all(|(name, value)| came.is(name, value))
    }

    /// Writes an event of the expected kind with the fields that are expected; `None` for an event of another kind.
    pub(super) fn write_alike(&self, event: &Event, scene: &Scene) -> Option<Vec<String>> {
        let alike = match &self.what {
            ExpectedEvent::Transition { .. } => event.kind() == Kind::Transition,
            ExpectedEvent::Other(kind) => event.kind() == *kind,
        };
        alike.then(|| write(event, scene, self.fields.iter().map(|(name, _)| name.as_str())))
    }
}

/// Writes an event with the fields that say something about it, and with `ts` if `is_late` is true.
pub(super) fn write_by_itself(event: &Event, scene: &Scene, is_late: bool) -> Vec<String> {
    let names = Fields::of(event).worth_showing(event);
    write(event, scene, names.into_iter().chain(is_late.then_some("ts")))
}

fn write<'a>(event: &Event, scene: &Scene, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let came = Fields::of(event);
    let mut lines = Vec::new();
    let mut line = format!("    = {}", ExpectedEvent::of(event, scene).name());
    for name in names {
        let field = came.written(name);
        if line.len() + 1 + field.len() > WIDTH {
            lines.push(std::mem::replace(&mut line, "    =  ".to_owned()));
        }
        line = line + " " + &field;
    }
    lines.push(line);
    lines
}

impl ExpectedEvent {
    fn of(event: &Event, scene: &Scene) -> Self {
        match event {
            Event::Transition(Transition { common, endpoint, from, to, inferred, .. }) => {
                let ends =
                    [common.client, common.server].map(|Address { ip, port }| SocketAddr::new(ip, port));
                let [client, server] = ends;
                let who = match endpoint {
                    Role::Client => scene.who(client, server),
                    Role::Server => scene.who(server, client),
                };
                Self::Transition { who, from: *from, to: *to, inferred: *inferred }
            }
            other => Self::Other(other.kind()),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Transition { who, from, to, inferred } => {
                let mark = if *inferred { "?" } else { "" };
                format!("{} {} -> {}{mark}", who.name(), from.name(), to.name())
            }
            Self::Other(kind) => kind.name().to_owned(),
        }
    }
}

fn state(word: &str) -> Result<State, Problem> {
    let known = State::ALL.into_iter().find(|state| state.name() == word);
    known.ok_or_else(|| Problem::Unknown(word.to_owned(), "a state"))
}
