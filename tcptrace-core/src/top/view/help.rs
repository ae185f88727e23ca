//! The help.

use super::pen::{Emphasis, Pen};
use crate::top::columns::Column;
use ratatui_core::layout::Rect;

/// The keys, and what each does.
const KEYS: [(&str, &str); 12] = [
    ("up down PgUp PgDn Home End", "choose a row (also j, k)"),
    ("Enter, Esc", "connections, the ladder of one; back"),
    ("s S or > < (arrows)", "sort by the next column, the one before"),
    ("r", "sort the other way round"),
    ("g", "group by service, name, client, ..."),
    ("/", "filter: rows that have a text"),
    ("f n N", "find a text, the next, the one before"),
    ("p or space", "hold what is shown, and go on"),
    ("?", "this help"),
    ("Ctrl-L", "draw everything again"),
    ("q or Ctrl-C", "quit"),
    ("", ""),
];

/// Where the columns stand that are explained beside the keys.
const BESIDE: u16 = 60;

/// Draws the help, of which so many lines are above the screen. Returns how many are.
pub(super) fn draw(scroll: usize, pen: &mut Pen<'_>, area: Rect) -> usize {
    let width = usize::from(area.width);
    let keys: Vec<_> = KEYS.iter().map(|(key, what)| format!("{key:<28}{what}")).collect();
    let columns = Column::ALL.into_iter().filter(|column| *column != Column::Group);
    let columns: Vec<_> =
        columns.map(|column| format!("{:<14}{}", column.heading(), column.meaning())).collect();
    if area.width >= 2 * BESIDE {
        for (y, text) in (area.y..area.y + area.height).zip(&keys) {
            pen.text(area.x, y, usize::from(BESIDE) - 1, text, Emphasis::None);
        }
        for (y, text) in (area.y..area.y + area.height).zip(&columns) {
            pen.text(area.x + BESIDE, y, width - usize::from(BESIDE), text, Emphasis::None);
        }
        return 0;
    }
    let lines = [keys, columns].concat();
    let scroll = scroll.min(lines.len().saturating_sub(usize::from(area.height)));
    for (y, text) in (area.y..area.y + area.height).zip(lines.iter().skip(scroll)) {
        pen.text(area.x, y, width, text, Emphasis::None);
    }
    scroll
}
