//! The table of the connections of a group.

use super::pen::{Emphasis, Pen};
use crate::{
    event::State,
    sink::{text::NamedAddress, units::Nanos},
    top::{
        board::{Board, Entered},
        by::{By, Key},
        columns::{reason, short_millis},
        rows::{Life, Order, Row, held},
        ui::Ui,
    },
};
use ratatui_core::layout::Rect;

/// The width of what is left of the addresses: a state and how long, of both ends.
const STATE: u16 = 21;
const HANDSHAKE: u16 = 8;

pub(super) fn draw(board: &Board, ui: &Ui, key: &Key, pen: &mut Pen<'_>, headings: Rect, body: Rect) {
    let (rows, left_out) = ui.connections(board, key);
    let room = usize::from(body.height);
    let (place, above) = ui.connections.resolve(rows.iter().map(|row| row.id), room);
    let widths = Widths::of(body.width);
    let mark = |order, heading: &str| {
        if ui.order == order {
            format!("{heading}{}", pen.look.marks.order(ui.order_falls))
        } else {
            heading.to_owned()
        }
    };
    let (from, client, ms) = (
        mark(Order::Begin, ends_heading(ui.by)),
        mark(Order::InState, "CLIENT"),
        mark(Order::Handshake, "ms"),
    );
    widths.put(pen, headings, [&from, &client, "SERVER", &ms, "HOW AND WHEN"], Emphasis::Strong);
    pen.underline(headings);
    if rows.is_empty() {
        let why = if ui.filters[1].is_empty() { "none is kept any more" } else { "no row has that" };
        pen.text(body.x + 1, body.y, usize::from(body.width) - 1, why, Emphasis::Weak);
    }
    for (y, (nth, row)) in (body.y..).zip(rows.iter().enumerate().skip(above).take(room)) {
        let line = Rect { y, height: 1, ..body };
        connection(board, row, ui.by, &widths, pen, line);
        if nth == place {
            pen.select(line);
        }
    }
    if left_out > 0 {
        let text = format!("{left_out} more are open and not listed");
        pen.right(headings.x, headings.y, usize::from(headings.width), &text, Emphasis::Wrong);
    }
}

/// What the first column has: the end that the group does not tell.
const fn ends_heading(by: By) -> &'static str {
    match by {
        By::Service | By::Name => "FROM",
        By::Client => "TO",
        By::Process | By::Container | By::Interface => "FROM > TO",
    }
}

/// Where the columns stand.
struct Widths {
    ends: u16,
    state: u16,
    handshake: u16,
    end: u16,
}

impl Widths {
    fn of(width: u16) -> Self {
        // The name of the longest state, the time in it, and blanks.
        let state = if width >= 80 { STATE } else { 14 };
        let handshake = if width >= 72 { HANDSHAKE } else { 0 };
        let left = width.saturating_sub(2 * state + handshake);
        let end = if width >= 100 { 24 } else { 0 };
        Self { ends: left - end, state, handshake, end }
    }

    fn put(&self, pen: &mut Pen<'_>, line: Rect, texts: [&str; 5], emphasis: Emphasis) {
        let [ends, client, server, handshake, end] = texts;
        let mut x = line.x;
        let mut left = |width: u16| {
            let at = x;
            x += width;
            (at + 1, usize::from(width.saturating_sub(1)))
        };
        for (width, text) in [(self.ends, ends), (self.state, client), (self.state, server)] {
            let (at, room) = left(width);
            pen.text(at, line.y, room, text, emphasis);
        }
        let (at, room) = left(self.handshake);
        pen.right(at - 1, line.y, room, handshake, emphasis);
        let (at, room) = left(self.end);
        pen.text(at, line.y, room, end, emphasis);
    }
}

fn connection(board: &Board, row: &Row<'_>, by: By, widths: &Widths, pen: &mut Pen<'_>, line: Rect) {
    let [client, server] = row.ends().map(|end| NamedAddress(end, board.names()));
    let ends = match by {
        By::Service | By::Name => client.to_string(),
        By::Client => server.to_string(),
        By::Process | By::Container | By::Interface => format!("{client}>{server}"),
    };
    let handshake = row.handshake_ns().map_or_else(|| "-".to_owned(), short_millis);
    let now = board.now();
    let (states, end, emphasis) = match row.life {
        Life::Open(open) => {
            let for_ns = now.since(open.started);
            let states = open
                .states
                .map(|it| it.map_or_else(|| "not known".to_owned(), |it| state(&it, held(&it, now))));
            (states, format!("open for {}", coarse(for_ns)), Emphasis::None)
        }
        Life::Ended(ended) => {
            let ago = coarse(now.since(ended.ended));
            let word = reason(ended.outcome);
            let end = format!("{word} {ago} ago");
            let last = ended.states.map(|it| it.map_or("-", State::name).to_owned());
            // At less than a hundred columns the outcome takes the place of the client's state.
            let states = if widths.end > 0 { last } else { [word.to_owned(), format!("{ago} ago")] };
            (states, end, if ended.failed { Emphasis::Wrong } else { Emphasis::Weak })
        }
    };
    widths.put(pen, line, [&ends, &states[0], &states[1], &handshake, &end], emphasis);
}

/// A state, and how long an end has been in it. A question mark says that no segment shows it.
fn state(entered: &Entered, held: Option<u64>) -> String {
    let mark = if entered.inferred { "?" } else { "" };
    let held = held.map(|ns| format!(" {}", coarse(ns))).unwrap_or_default();
    format!("{}{mark}{held}", entered.state.name())
}

/// A duration in six characters or a few more.
pub(super) fn coarse(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    match seconds {
        0..10 => format!("{}.{}s", seconds, ns / 100_000_000 % 10),
        10..600 => format!("{seconds}s"),
        _ => Nanos(ns).to_string(),
    }
}
