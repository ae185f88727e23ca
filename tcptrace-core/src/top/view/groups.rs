//! The table of groups.

use super::pen::{Emphasis, Pen};
use crate::top::{board::Board, by::Key, columns::Column, group::Group, ui::Ui};
use ratatui_core::layout::Rect;

pub(super) fn draw(board: &Board, ui: &Ui, pen: &mut Pen<'_>, headings: Rect, body: Rect) {
    let columns = Column::fitting(usize::from(body.width), ui.sort);
    heads(ui, &columns, pen, headings);
    let groups = ui.groups(board);
    let room = usize::from(body.height);
    let (place, above) = ui.groups.resolve(groups.iter().map(|group| group.key.clone()), room);
    if groups.is_empty() {
        let why = if ui.filters[0].is_empty() { "no connections yet" } else { "no row has that" };
        pen.text(body.x + 1, body.y, usize::from(body.width) - 1, why, Emphasis::Weak);
    }
    for (y, (nth, group)) in (body.y..).zip(groups.iter().enumerate().skip(above).take(room)) {
        row(board, group, &columns, pen, Rect { y, height: 1, ..body }, nth == place);
    }
}

fn heads(ui: &Ui, columns: &[(Column, usize)], pen: &mut Pen<'_>, line: Rect) {
    let mut x = line.x;
    let order = pen.look.marks.order(ui.falls);
    for (column, width) in columns {
        let mark = if *column == ui.sort { order } else { "" };
        let heading =
            if *column == Column::Group { ui.by.word().to_uppercase() } else { column.heading().to_owned() };
        if column.is_left() {
            pen.text(x + 1, line.y, width - 1, &format!("{heading}{mark}"), Emphasis::Strong);
        } else {
            pen.right(x, line.y, *width, &format!("{mark}{heading}"), Emphasis::Strong);
        }
        x += u16::try_from(*width).unwrap_or_default();
    }
    pen.underline(line);
}

fn row(
    board: &Board,
    group: &Group,
    columns: &[(Column, usize)],
    pen: &mut Pen<'_>,
    line: Rect,
    selected: bool,
) {
    let mut x = line.x;
    for (column, width) in columns {
        let text = column.text(group, board, pen.look.marks);
        let emphasis = match column {
            Column::Failed | Column::Reason if group.failed.total() > 0 => Emphasis::Wrong,
            Column::Group if group.key == Key::Other => Emphasis::Weak,
            _ => Emphasis::None,
        };
        if column.is_left() {
            pen.text(x + 1, line.y, width - 1, &text, emphasis);
        } else {
            pen.right(x + 1, line.y, width - 1, &text, emphasis);
        }
        x += u16::try_from(*width).unwrap_or_default();
    }
    if selected {
        pen.select(line);
    }
}
