//! What the page is of: files and traces, what they lost, and what was left out.

use super::words::{Many, moment};
use crate::{
    event::Start,
    sink::{markup::Escaped, report::Report},
};
use std::fmt::{self, Write as _};

/// Writes at the beginning of the page why it is not of everything, if that is so.
pub(super) fn write_warning(report: &Report, out: &mut String) -> fmt::Result {
    let traces = &report.traces;
    let mut sentences = Vec::new();
    if let Some(why) = &report.damage {
        sentences.push(format!("{why}. The page is of what came before that."));
    }
    let several = traces.told().len() > 1;
    for (number, trace) in (1..).zip(traces.told()) {
        let lost = if trace.is_whole() { Vec::new() } else { trace.lost() };
        for sentence in lost.into_iter().chain(trace.left_out()) {
            sentences.push(if several { format!("Trace {number}: {sentence}") } else { sentence });
        }
    }
    if traces.more_in_part > 0 {
        sentences.push(format!(
            "{} more lost something, or do not say.",
            Many(traces.more_in_part, "trace", "traces")
        ));
    }
    if report.endless > 0 {
        sentences.push(format!(
            "{} established, and no event tells of the end.",
            Many(report.endless, "connection was", "connections were")
        ));
    }
    if sentences.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "<aside class=\"warning\" aria-labelledby=\"warning-heading\">\n<h2 id=\"warning-heading\">This is not everything</h2>"
    )?;
    for sentence in sentences {
        writeln!(out, "<p>{}</p>", Escaped(&sentence))?;
    }
    writeln!(out, "</aside>")
}

/// Writes the files, and what is known of the traces, in one line.
pub(super) fn write(report: &Report, out: &mut String) -> fmt::Result {
    write!(out, "<dl><dt>Files</dt>")?;
    for file in &report.files {
        write!(out, "<dd>{}</dd>", Escaped(file))?;
    }
    for (number, trace) in (1..).zip(report.traces.told()) {
        if let Some(start) = &trace.start {
            write!(out, "<dt>Trace {number}</dt><dd>{}</dd>", Escaped(&told(start)))?;
        }
    }
    if report.traces.more > 0 {
        write!(out, "<dt>More traces</dt><dd>{}</dd>", report.traces.more)?;
    }
    if let Some(filter) = &report.filter {
        write!(out, "<dt>Only connections that match</dt><dd>{}</dd>", Escaped(filter))?;
    }
    writeln!(out, "</dl>")
}

/// What is told of a trace.
fn told(start: &Start) -> String {
    let mut told = format!("tcptrace {} on {}", start.version, start.host);
    // Writing to a String cannot fail.
    if let Some(kernel) = &start.kernel {
        let _ = write!(told, ", Linux {kernel}");
    }
    let _ = write!(told, ", begun {} UTC", moment(start.ts));
    let interfaces: Vec<_> = start.interfaces.iter().map(|it| it.name.as_str()).collect();
    if start.live && !interfaces.is_empty() {
        let _ = write!(told, ", on {}", interfaces.join(", "));
    }
    if !start.files.is_empty() {
        let _ = write!(told, ", of {}", start.files.join(", "));
    }
    let _ = write!(told, ", run {}", start.run);
    told
}
