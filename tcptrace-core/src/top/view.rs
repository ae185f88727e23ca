//! Draws what the user looks at.
//!
//! Above are a line about the trace, one about all connections, and one about what was lost; below a line for notices and for what
//! is typed, and one with keys. What is between is a table, a ladder or the help.

mod connections;
mod groups;
mod help;
mod ladder;
mod pen;

pub use pen::Look;

use super::{
    RATE_SECONDS,
    board::Board,
    columns::percent,
    ui::{Typing, Ui},
};
use crate::sink::units::{Count, Nanos};
use pen::{Emphasis, Pen};
use ratatui_core::{buffer::Buffer, layout::Rect};

/// The least size at which nothing has to be left out that is wanted at first.
const COLUMNS: u16 = 80;
const ROWS: u16 = 24;
/// The least size at which there is a table.
const LEAST_COLUMNS: u16 = 32;
const LEAST_ROWS: u16 = 8;
/// Lines above the table, its headings among them.
const ABOVE: u16 = 4;
/// Lines below it.
const BELOW: u16 = 2;

/// What is drawn besides the board.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// What is traced: an interface, or files.
    pub what: String,
    /// How far the reading of files has come; empty of a live trace.
    pub state: String,
    /// The latest notice, and how many there were.
    pub notice: Option<(String, usize)>,
}

/// How many rows of a table have room on a screen that is so high.
#[must_use]
pub const fn room(height: u16) -> usize {
    height.saturating_sub(ABOVE + BELOW) as usize
}

/// Draws everything into a buffer, all of which it fills.
pub fn draw(board: &Board, ui: &mut Ui, around: &Surroundings, look: &Look, buffer: &mut Buffer) {
    buffer.reset();
    let area = buffer.area;
    let mut pen = Pen::new(buffer, look);
    if area.width < LEAST_COLUMNS || area.height < LEAST_ROWS {
        let text =
            format!("{}x{} is too small for a table: {COLUMNS}x{ROWS} is meant", area.width, area.height);
        pen.paragraph(area, &text);
        return;
    }
    title(board, ui, around, &mut pen, area);
    totals(board, &mut pen, area.y + 1, area);
    lost(board, &mut pen, area.y + 2, area);
    let body = Rect { y: area.y + ABOVE, height: area.height - ABOVE - BELOW, ..area };
    let headings = Rect { y: body.y - 1, height: 1, ..area };
    let without_headings = Rect { y: headings.y, height: body.height + 1, ..area };
    if let Some(scroll) = ui.help {
        ui.help = Some(help::draw(scroll, &mut pen, without_headings));
    } else if let Some(id) = ui.shown {
        ui.scroll = ladder::draw(board, id, ui.scroll, &mut pen, without_headings);
    } else if let Some(key) = ui.opened.clone() {
        connections::draw(board, ui, &key, &mut pen, headings, body);
    } else {
        groups::draw(board, ui, &mut pen, headings, body);
    }
    below(ui, around, &mut pen, area);
}

fn title(board: &Board, ui: &Ui, around: &Surroundings, pen: &mut Pen<'_>, area: Rect) {
    let span = board.span().map(|ns| {
        let seconds = ns / 1_000_000_000;
        if seconds < 600 { format!("{seconds} s") } else { Nanos(ns).to_string() }
    });
    let parts = [ui.paused.then_some("PAUSED"), Some(&*around.state), span.as_deref()];
    let right = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ");
    let by = match (&ui.opened, ui.shown) {
        (_, Some(id)) => format!("connection {id}"),
        (Some(key), None) => format!("{} {}", ui.by.word(), key.named(board.names())),
        (None, None) => format!("by {}", ui.by.word()),
    };
    let left = format!("tcptrace top  {}  {by}", around.what);
    let room = usize::from(area.width).saturating_sub(right.chars().count() + 1);
    pen.text(area.x, area.y, room, &left, Emphasis::Strong);
    pen.right(area.x, area.y, usize::from(area.width), &right, Emphasis::Strong);
}

fn totals(board: &Board, pen: &mut Pen<'_>, y: u16, area: Rect) {
    let totals = board.totals();
    let text = format!(
        "open {}  new {:.1}/s ({RATE_SECONDS} s)  failed {} ({} of {})  {} in all",
        totals.open,
        totals.rate,
        percent(totals.failed_percent()),
        totals.failed,
        totals.failed + totals.established,
        Count(totals.begun, "connection", "connections"),
    );
    pen.text(area.x, y, usize::from(area.width), &text, Emphasis::None);
}

fn lost(board: &Board, pen: &mut Pen<'_>, y: u16, area: Rect) {
    let lost = board.lost();
    let (text, emphasis) = if board.has_lost() {
        (format!("LOST: {lost}"), Emphasis::Wrong)
    } else {
        (format!("lost: {lost}"), Emphasis::Weak)
    };
    pen.text(area.x, y, usize::from(area.width), &text, emphasis);
}

/// The line for what is typed and for notices, and the line with keys.
fn below(ui: &Ui, around: &Surroundings, pen: &mut Pen<'_>, area: Rect) {
    let (y, width) = (area.y + area.height - BELOW, usize::from(area.width));
    let filter = ui.filter();
    if let Some(typing) = ui.typing {
        let (word, text) = if typing == Typing::Filter { ("filter", filter) } else { ("find", &*ui.find) };
        pen.text(area.x, y, width, &format!("{word}: {text}_"), Emphasis::Strong);
    } else if area.width < COLUMNS || area.height < ROWS {
        let what = match (area.width < COLUMNS, area.height < ROWS) {
            (true, true) => "columns and rows",
            (true, false) => "columns",
            _ => "rows",
        };
        let text =
            format!("{}x{}: there is room for more {what} from {COLUMNS}x{ROWS} on", area.width, area.height);
        pen.text(area.x, y, width, &text, Emphasis::Weak);
    } else if !filter.is_empty() && ui.shown.is_none() {
        pen.text(area.x, y, width, &format!("filter: {filter}  (Esc takes it away)"), Emphasis::Weak);
    } else if let Some((notice, count)) = &around.notice {
        let more = if *count > 1 { format!(" (the last of {count} notices)") } else { String::new() };
        pen.text(area.x, y, width, &format!("{notice}{more}"), Emphasis::Weak);
    }
    let keys = if ui.types() {
        "Enter keeps it  Esc takes it away  Ctrl-U clears"
    } else if ui.help.is_some() {
        "up/down scroll  Esc back  q quit"
    } else if ui.shown.is_some() {
        "Esc back  up/down scroll  p pause  ? help  q quit"
    } else if ui.opened.is_some() {
        "Enter ladder  Esc back  / filter  s sort  r reverse  p pause  ? help  q quit"
    } else {
        "Enter look in  / filter  s sort  r reverse  g group  p pause  ? help  q quit"
    };
    pen.text(area.x, y + 1, width, keys, Emphasis::None);
}
