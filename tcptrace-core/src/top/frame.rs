//! The bytes that make a terminal show a buffer (ECMA-48, xterm's control sequences).

use ratatui_core::{
    buffer::{Buffer, Cell},
    style::{Color, Modifier},
};
use std::fmt::Write as _;

/// Takes the screen: the alternate one, without a cursor.
pub const TAKE: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
/// Gives the screen back as it was.
pub const GIVE_BACK: &str = "\x1b[0m\x1b[?25h\x1b[?1049l";
/// Empties the screen.
pub const CLEAR: &str = "\x1b[0m\x1b[2J";

/// The bytes that make of what is shown what is to be shown; empty where nothing is another. Both are of the same size.
#[must_use]
pub fn change(shown: &Buffer, next: &Buffer) -> String {
    let mut out = String::new();
    let mut style = None;
    let mut cursor = None;
    for (x, y, cell) in shown.diff(next) {
        if cursor != Some((x, y)) {
            // Memory is the only limit of a String.
            let _ = write!(out, "\x1b[{};{}H", y + 1, x + 1);
        }
        let of_cell = (cell.fg, cell.modifier);
        if style.replace(of_cell) != Some(of_cell) {
            sgr(cell, &mut out);
        }
        out.push_str(cell.symbol());
        // A character that is two columns wide moves the cursor further: then its place is told again.
        cursor = cell.symbol().is_ascii().then_some((x + 1, y));
    }
    if !out.is_empty() {
        out.push_str("\x1b[0m");
    }
    out
}

/// The control sequence for a cell's style.
fn sgr(cell: &Cell, out: &mut String) {
    out.push_str("\x1b[0");
    for (modifier, code) in
        [(Modifier::BOLD, 1), (Modifier::DIM, 2), (Modifier::UNDERLINED, 4), (Modifier::REVERSED, 7)]
    {
        if cell.modifier.contains(modifier) {
            let _ = write!(out, ";{code}");
        }
    }
    // The only colour there is.
    if cell.fg == Color::Red {
        out.push_str(";31");
    }
    out.push('m');
}

#[cfg(test)]
mod tests {
    use super::change;
    use ratatui_core::{
        buffer::Buffer,
        layout::Rect,
        style::{Color, Modifier, Style},
    };

    #[test]
    fn only_what_changed_is_written() {
        let shown = Buffer::empty(Rect::new(0, 0, 10, 2));
        assert_eq!(change(&shown, &shown), "");
        let mut next = shown.clone();
        next.set_string(2, 1, "ab", Style::new());
        next.set_string(5, 1, "c", Style::new().fg(Color::Red).add_modifier(Modifier::BOLD));
        assert_eq!(change(&shown, &next), "\x1b[2;3H\x1b[0mab\x1b[2;6H\x1b[0;1;31mc\x1b[0m");
        let mut wide = next.clone();
        wide.set_string(0, 0, "網a", Style::new());
        assert_eq!(change(&next, &wide), "\x1b[1;1H\x1b[0m網\x1b[1;3Ha\x1b[0m");
    }
}
