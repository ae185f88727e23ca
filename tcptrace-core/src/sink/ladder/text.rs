//! Draws a ladder in text.

use super::rungs::{Entered, Rung, Rungs};
use crate::{event::Role, segment::Timestamp, sink::units::Millis};
use bytes::{BufMut as _, BytesMut};
use std::fmt::Write as _;

/// The columns beside the arrows: two times, two states, the two ends and the blanks between.
const BESIDE: usize = 49;

/// Draws the rungs, in lines of this width.
pub(crate) fn draw(rungs: &Rungs, width: usize, out: &mut BytesMut) {
    let room = width.saturating_sub(BESIDE);
    line(out, format_args!("{:>9} {:>9}  {:<12}  {:room$}  SERVER", "ms", "+ms", "CLIENT", ""));
    let mut before = None;
    let first = rungs.all().first().map(|rung| rung.ts);
    for rung in rungs.all() {
        let since_first = first.map(|first| since(rung.ts, first)).unwrap_or_default();
        let since_before = before.map(|before| since(rung.ts, before)).unwrap_or_default();
        before = Some(rung.ts);
        let [client, server] = rung.entered.map(state);
        let middle = middle(rung, room);
        line(out, format_args!("{since_first:>9} {since_before:>9}  {client:<12} |{middle}| {server}"));
        if let Some(note) = &rung.note {
            line(out, format_args!("{:33} ! {note}", ""));
        }
    }
    if rungs.missing > 0 {
        line(out, format_args!("{:33} ({} more segments)", "", rungs.missing));
    }
}

fn line(out: &mut BytesMut, text: std::fmt::Arguments<'_>) {
    let begin = out.len();
    // Memory is the only limit of such a buffer.
    let _ = out.write_fmt(text);
    while out.len() > begin && out.last() == Some(&b' ') {
        out.truncate(out.len() - 1);
    }
    out.put_u8(b'\n');
}

/// The milliseconds between two times; a dash where one of them is not known.
fn since(later: Timestamp, earlier: Timestamp) -> String {
    if [later, earlier].contains(&Timestamp::UNKNOWN) {
        return "-".to_owned();
    }
    Millis(later.since(earlier)).to_string()
}

/// A state as it stands at the margin; one that no segment shows has a question mark.
fn state(entered: Option<Entered>) -> String {
    entered.map_or_else(String::new, |entered| {
        format!("{}{}", entered.state.name(), if entered.inferred { "?" } else { "" })
    })
}

/// What is between the two ends: an arrow with what the segment says, or only that.
fn middle(rung: &Rung, room: usize) -> String {
    // An arrow is two dashes, a blank, the label, a blank, a dash and the point.
    let most = room.saturating_sub(if rung.sender.is_some() { 7 } else { 2 });
    let fitting = rung.labels.iter().find(|label| label.chars().count() <= most);
    let label: String = match (fitting, rung.labels.last()) {
        (Some(label), _) => label.clone(),
        (None, Some(shortest)) => shortest.chars().take(most).collect(),
        (None, None) => String::new(),
    };
    match rung.sender {
        Some(Role::Client) => {
            let mut arrow = format!("-- {label} ");
            arrow.extend(std::iter::repeat_n('-', room.saturating_sub(arrow.chars().count() + 1)));
            arrow.push('>');
            arrow
        }
        Some(Role::Server) => {
            let mut arrow = format!("<-- {label} ");
            arrow.extend(std::iter::repeat_n('-', room.saturating_sub(arrow.chars().count())));
            arrow
        }
        None => format!(" {label:<0$}", room.saturating_sub(1)),
    }
}
