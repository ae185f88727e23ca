//! Connections one by one, with their ladders.

use super::words::{Many, Number, duration};
use crate::sink::{
    ladder,
    markup::Escaped,
    report::{Report, example::Example},
    text::reason,
};
use std::fmt::{self, Write as _};

const NO_SEGMENTS: &str = "<p>No event tells of segments, so that there are no ladders: captures have them, and lines of JSON with \
                           <code>--events all</code>.</p>";

pub(super) fn write_slowest(report: &Report, out: &mut String) -> fmt::Result {
    if report.slowest.all().len() == 0 {
        return writeln!(out, "<p>No handshake was timed.</p>");
    }
    if !report.has_segments {
        writeln!(out, "{NO_SEGMENTS}")?;
    }
    for (place, example) in report.slowest.all().enumerate() {
        let took = duration(example.connection.times.syn_to_established_ns);
        write_example(report, &took, example, place == 0, out)?;
    }
    Ok(())
}

pub(super) fn write_oddest(report: &Report, out: &mut String) -> fmt::Result {
    let rarest = report.oddest.rarest();
    if rarest.is_empty() {
        writeln!(out, "<p>Nothing odd was seen.</p>")?;
    } else {
        writeln!(
            out,
            "<p>The first connection of each kind of what most do not have; the rarest kind comes first.</p>"
        )?;
        if !report.has_segments {
            writeln!(out, "{NO_SEGMENTS}")?;
        }
    }
    for (place, (oddity, count, example)) in rarest.into_iter().enumerate() {
        let what = format!("{}: {}", Many(count, "connection", "connections"), oddity.words());
        write_example(report, &what, example, place == 0, out)?;
    }
    let anomalies = report.oddest.anomalies();
    if anomalies.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Segments that cannot be\"><table>\n<caption>Segments that \
         cannot be</caption>\n<thead><tr><th scope=\"col\">what is wrong</th><th scope=\"col\" class=\"n\">segments</th></tr></thead>\n<tbody>"
    )?;
    for (why, count) in anomalies {
        writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td></tr>",
            reason(why),
            Number(count)
        )?;
    }
    writeln!(out, "</tbody></table></div>")
}

fn write_example(
    report: &Report,
    what: &str,
    example: &Example,
    open: bool,
    out: &mut String,
) -> fmt::Result {
    let common = &example.connection.common;
    let ends = format!("{} > {}", common.client, common.server);
    let open = if open { " open=\"open\"" } else { "" };
    writeln!(
        out,
        "<details class=\"example\"{open}><summary>{} <span class=\"soft\">{}</span></summary>",
        Escaped(what),
        Escaped(&ends)
    )?;
    writeln!(out, "<p class=\"line\">{}</p>", Escaped(&example.line()))?;
    if let Some(rungs) = &example.rungs {
        let name = Escaped(&ends);
        writeln!(
            out,
            "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Segments of {name}\">"
        )?;
        ladder::embed(&example.connection, rungs, out)?;
        writeln!(out, "</div>")?;
    } else if report.has_segments {
        writeln!(out, "<p>Its segments were not kept: too many connections were open at once.</p>")?;
    }
    writeln!(out, "</details>")
}
