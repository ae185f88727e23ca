//! The screen of `tcptrace top`: what the board makes of events, what keys change, and what is drawn of that. The events are those
//! that the tracker makes of scripts of segments.

mod board;
mod screens;

use tcptrace_core::{
    event::Event,
    segment::Timestamp,
    top::{
        Board, Limits, Ui,
        action::action,
        keys::{Key, Keys},
    },
};
use tcptrace_testing::script::{START, Script};

/// 2020-06-10T07:00:00Z.
const BEGIN: u64 = 1_591_772_400_000_000_000;
const MS: u64 = 1_000_000;

/// A handshake of ten milliseconds, and a close; the data is a request and its answer.
const CLOSED: &str = "
0    C S   1000
10   S S.  5000 1001
10.1 C .   1001 5001
30   C F.  1101 6001
40   S F.  6001 1102
40.1 C .   1102 6002
";

/// A handshake, and nothing after it.
const OPEN: &str = "
0    C S   1000
12   S S.  5000 1001
12.2 C .   1001 5001
";

/// A SYN that is refused.
const REFUSED: &str = "
0    C S   1000
1    S R.  0 1001
";

/// A SYN that comes again, and a reset by the server.
const RESET: &str = "
0    C S   1000
1000 C S   1000
1020 S S.  5000 1001
1021 C .   1001 5001
1030 S R   5001
";

/// Makes the events of connections, one of which has each its own number.
#[derive(Default)]
struct Traffic {
    connections: u16,
    events: Vec<Event>,
}

impl Traffic {
    /// Plays a script that begins at so many milliseconds, as a connection between these addresses.
    fn add(&mut self, at_ms: u64, [client, server]: [&str; 2], script: &str) -> u64 {
        self.change(at_ms, [client, server], script, |_| {})
    }

    fn change(
        &mut self,
        at_ms: u64,
        [client, server]: [&str; 2],
        script: &str,
        change: impl Fn(&mut Event),
    ) -> u64 {
        self.connections += 1;
        let (client, id) = (format!("{client}:{}", 40000 + self.connections), u64::from(self.connections));
        let text = format!("vantage client\nclient {client}\nserver {server}\n{script}\n");
        let script = Script::parse(&text).unwrap_or_else(|error| panic!("{error} of {text}"));
        for mut event in script.events() {
            event.retime(|ts| Timestamp(ts.0 - START.0 + BEGIN + at_ms * MS));
            let common = event.common_mut().expect("all are of a connection");
            common.id = id;
            change(&mut event);
            // The end of the script is not that of the trace.
            if !matches!(&event, Event::Connection(it) if it.outcome == tcptrace_core::Outcome::Open) {
                self.events.push(event);
            }
        }
        id
    }

    /// The events of all connections, in the order in which they happened.
    fn events(&self) -> Vec<Event> {
        let mut events = self.events.clone();
        events.sort_by_key(Event::ts);
        events
    }

    fn board(&self) -> Board {
        let mut board = Board::new(Limits::default());
        self.events().iter().for_each(|event| board.observe(event));
        board
    }
}

/// Three services: one that works, one that is refused now and then, and one whose connections stay open.
fn services() -> Traffic {
    let mut traffic = Traffic::default();
    for nth in 0..40 {
        traffic.add(1000 + nth * 500, ["10.0.0.1", "10.0.0.80:80"], CLOSED);
    }
    for nth in 0..10 {
        let script = if nth % 5 == 0 { CLOSED } else { REFUSED };
        traffic.add(2000 + nth * 1900, ["10.0.0.2", "10.0.0.81:5432"], script);
    }
    for nth in 0..3 {
        traffic.add(15_000 + nth * 2000, ["[2001:db8::3]", "[2001:db8::53]:443"], OPEN);
    }
    traffic.add(3000, ["10.0.0.3", "10.0.0.80:8443"], RESET);
    traffic
}

/// Presses keys, as a terminal sends them.
fn press(ui: &mut Ui, board: &Board, bytes: &str) {
    let mut keys = Keys::default();
    let mut all = keys.push(bytes.as_bytes());
    all.extend(keys.settle());
    for key in all {
        if let Some(action) = action(key, ui.types()) {
            ui.act(action, board, 18);
        } else {
            assert!(!matches!(key, Key::Char(_)), "{key:?} does nothing");
        }
    }
}
