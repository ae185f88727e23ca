//! Draws a ladder as a picture in SVG, which has its own colours for light and dark surroundings.

use super::rungs::{Entered, Rung, Rungs};
use crate::{
    event::{Connection, Role},
    segment::Timestamp,
    sink::{markup::Escaped, units::Millis},
};
use bytes::BytesMut;
use std::fmt::{self, Write as _};

/// The picture's width, and where the lines of the two ends are, in its units.
const WIDTH: usize = 760;
const CLIENT: usize = 230;
const SERVER: usize = 620;
/// Above the first rung, and of one rung.
const HEAD: usize = 74;
const STEP: usize = 34;

const STYLE: &str = "\
svg{font:13px ui-monospace,Menlo,Consolas,monospace;background:#fff;color:#1b1f24}\
text{fill:currentColor}line,path{stroke:currentColor;fill:none}.end{stroke-opacity:.35;stroke-width:2}\
.state{fill:#0a5c9e;font-weight:600}.time{fill-opacity:.65}.note{fill:#a4262c}\
@media(prefers-color-scheme:dark){svg{background:#16191d;color:#e6e9ed}.state{fill:#7cc0f5}.note{fill:#ff8f8f}}";

/// Draws the rungs of a connection.
pub(super) fn draw(connection: &Connection, rungs: &Rungs, out: &mut BytesMut) {
    // Memory is the only limit of such a buffer.
    let _ = write_picture(connection, rungs, out);
}

/// Draws the rungs of a connection as a part of a page, which has the style, and the point of the arrows by the name `head`.
#[cfg(feature = "report")]
pub(crate) fn embed(connection: &Connection, rungs: &Rungs, out: &mut dyn fmt::Write) -> fmt::Result {
    let title = title(connection);
    let (title, height) = (Escaped(&title), height(rungs));
    writeln!(
        out,
        "<svg class=\"ladder\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Ladder of {title}\">"
    )?;
    write_rungs(connection, rungs, out)
}

fn title(connection: &Connection) -> String {
    let common = &connection.common;
    let outcome = connection.outcome.json_name().replace('_', " ");
    format!("{} > {}: {outcome}", common.client, common.server)
}

fn height(rungs: &Rungs) -> usize {
    HEAD + STEP * (rungs.all().len() + 1)
}

fn write_picture(connection: &Connection, rungs: &Rungs, out: &mut BytesMut) -> fmt::Result {
    let title = title(connection);
    let (title, height) = (Escaped(&title), height(rungs));
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">\
         <title>{title}</title><style>{STYLE}</style>\
         <defs><marker id=\"head\" markerWidth=\"9\" markerHeight=\"8\" refX=\"8\" refY=\"4\" orient=\"auto\">\
         <path d=\"M0,0 L8,4 L0,8\"/></marker></defs>"
    )?;
    write_rungs(connection, rungs, out)
}

fn write_rungs(connection: &Connection, rungs: &Rungs, out: &mut dyn fmt::Write) -> fmt::Result {
    let (common, height) = (&connection.common, height(rungs));
    text(out, CLIENT, 24, "middle", "", &common.client)?;
    text(out, SERVER, 24, "middle", "", &common.server)?;
    text(out, 10, 24, "start", "time", &"ms")?;
    for end in [CLIENT, SERVER] {
        writeln!(out, "<line class=\"end\" x1=\"{end}\" y1=\"36\" x2=\"{end}\" y2=\"{}\"/>", height - 14)?;
    }
    let first = rungs.all().first().map(|rung| rung.ts);
    for (place, rung) in rungs.all().iter().enumerate() {
        let y = HEAD + STEP * place;
        if let Some(first) = first.filter(|first| ![rung.ts, *first].contains(&Timestamp::UNKNOWN)) {
            text(out, 84, y + 4, "end", "time", &Millis(rung.ts.since(first)))?;
        }
        write_rung(out, rung, y)?;
    }
    out.write_str("</svg>\n")
}

fn write_rung(out: &mut dyn fmt::Write, rung: &Rung, y: usize) -> fmt::Result {
    let label = rung.labels.first().map(String::as_str).unwrap_or_default();
    let (from, to) = match rung.sender {
        Some(Role::Client) => (CLIENT, SERVER),
        Some(Role::Server) => (SERVER, CLIENT),
        None => (CLIENT, CLIENT),
    };
    if from != to {
        let y2 = y + STEP / 4;
        writeln!(out, "<line x1=\"{from}\" y1=\"{y}\" x2=\"{to}\" y2=\"{y2}\" marker-end=\"url(#head)\"/>")?;
    }
    text(out, usize::midpoint(CLIENT, SERVER), y - 4, "middle", "", &label)?;
    if let Some(note) = &rung.note {
        text(out, usize::midpoint(CLIENT, SERVER), y + 20, "middle", "note", note)?;
    }
    let [client, server] = rung.entered;
    write_state(out, client, CLIENT - 10, y + 4, "end")?;
    write_state(out, server, SERVER + 10, y + 4, "start")
}

fn write_state(
    out: &mut dyn fmt::Write,
    entered: Option<Entered>,
    x: usize,
    y: usize,
    anchor: &str,
) -> fmt::Result {
    let Some(Entered { state, inferred }) = entered else { return Ok(()) };
    text(out, x, y, anchor, "state", &format_args!("{}{}", state.name(), if inferred { "?" } else { "" }))
}

fn text(
    out: &mut dyn fmt::Write,
    x: usize,
    y: usize,
    anchor: &str,
    class: &str,
    what: &dyn fmt::Display,
) -> fmt::Result {
    let what = what.to_string();
    let what = Escaped(&what);
    writeln!(out, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" class=\"{class}\">{what}</text>")
}
