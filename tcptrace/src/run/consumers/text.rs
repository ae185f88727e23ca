//! Writes events as text to the standard output, for people.

use super::{Opened, Opening, lines::Lines};
use crate::{
    cli::{Config, Format},
    event::Event,
    resolver::Resolver,
    run::screen::Screen,
    sink::{
        Sink,
        pipe::Pressure,
        text::{Naming, TextOptions, TextSink},
    },
};
use bytes::BytesMut;
use std::{
    io::{self, IsTerminal as _},
    sync::Arc,
    time::Duration,
};

pub(super) fn open(opening: &Opening<'_>) -> Opened {
    let config = opening.config;
    if config.output.format != Format::Text {
        return None;
    }
    let zone = config.output.zone();
    let screen = Screen::new(config.output.width);
    let names = match config.output.names.then(|| Resolver::start(patience(opening.pressure))).transpose() {
        Ok(names) => names.map(|names| names as Arc<dyn Naming>),
        Err(error) => return Some(Err(error.into())),
    };
    let (color, times, once) = (color(config), config.output.times, config.output.once);
    let make = move |interfaces| {
        let options = TextOptions { interfaces, color, zone, times, width: screen.width() };
        Fitted { text: TextSink::new(options).named_by(names), screen, asked: false }
    };
    Lines::to_stdout(opening, Box::new(move |trace| Box::new(make(trace.many_interfaces || once))))
}

/// How long a line may wait for the name of a host: not at all where packets come meanwhile.
const fn patience(pressure: Pressure) -> Duration {
    match pressure {
        Pressure::Wait => Duration::from_secs(2),
        Pressure::Drop => Duration::ZERO,
    }
}

fn color(config: &Config) -> bool {
    config.output.color.enabled(io::stdout().is_terminal(), std::env::var_os("NO_COLOR").as_deref())
}

/// The sink for text that is as wide as the terminal, which can be resized.
struct Fitted {
    text: TextSink,
    screen: Screen,
    /// Whether the terminal was asked for its width since the batch began. Lines that come together are as wide as the
    /// first of them.
    asked: bool,
}

impl Sink for Fitted {
    fn event(&mut self, event: &Event, out: &mut BytesMut) {
        if !std::mem::replace(&mut self.asked, true) {
            self.screen.follow();
        }
        self.text.event(event, out);
    }

    fn end_of_batch(&mut self) {
        self.asked = false;
    }
}
