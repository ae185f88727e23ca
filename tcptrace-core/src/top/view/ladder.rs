//! The ladder of a connection.

use super::{
    connections::coarse,
    pen::{Emphasis, Pen},
};
use crate::{
    event::Event,
    sink::{
        Sink as _,
        ladder::{self, Ladder, LadderSink},
        text::{TextOptions, TextSink, TimeFormat, Width},
        wrap::wrap,
    },
    top::board::Board,
};
use bytes::BytesMut;
use jiff::tz::TimeZone;
use ratatui_core::layout::Rect;

/// Draws the ladder, of which so many lines are above the screen. Returns how many are: there are not always so many.
pub(super) fn draw(board: &Board, id: u64, scroll: usize, pen: &mut Pen<'_>, area: Rect) -> usize {
    let lines = lines(board, id, usize::from(area.width), &pen.look.zone);
    let scroll = scroll.min(lines.len().saturating_sub(usize::from(area.height)));
    for (y, line) in (area.y..area.y + area.height).zip(lines.iter().skip(scroll)) {
        let emphasis = if line.trim_start().starts_with("! ") { Emphasis::Wrong } else { Emphasis::None };
        pen.text(area.x, y, usize::from(area.width), line, emphasis);
    }
    scroll
}

fn lines(board: &Board, id: u64, width: usize, zone: &TimeZone) -> Vec<String> {
    let Some(ladder) = board.ladder(id) else {
        return vec![
            "The segments of this connection are not kept any more: others came after it.".to_owned(),
        ];
    };
    let mut text = head(board, id, ladder, width, zone);
    if ladder.rungs.len() == 0 {
        text.push_str("\nNo event has told its segments: lines of JSON have them with --events all.\n");
    } else {
        let mut drawn = BytesMut::new();
        ladder::draw(&ladder.rungs, width.max(LadderSink::LEAST_WIDTH), &mut drawn);
        text.push_str(&String::from_utf8_lossy(&drawn));
    }
    text.lines().map(str::to_owned).collect()
}

/// The lines above the ladder: what became of the connection, or how far it is.
fn head(board: &Board, id: u64, ladder: &Ladder, width: usize, zone: &TimeZone) -> String {
    let Some(end) = &ladder.end else {
        let common = &ladder.common;
        let age = board.open(id).map(|open| format!("open for {}", coarse(board.now().since(open.started))));
        let age = age.unwrap_or_else(|| "its end was not told".to_owned());
        return wrap(&format!("{} > {}  {}  {age}\n", common.client, common.server, common.interface), width);
    };
    let mut sink = TextSink::new(TextOptions {
        interfaces: true,
        color: false,
        zone: zone.clone(),
        times: TimeFormat::Date,
        width: Width::new(Some(width)),
    });
    let mut head = BytesMut::new();
    sink.event(&Event::Connection(end.clone()), &mut head);
    String::from_utf8_lossy(&head).into_owned()
}
