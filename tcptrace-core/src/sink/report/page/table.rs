//! The table of connections, which the script sorts and filters.

use super::words::{Many, Number, millis, moment, outcome};
use crate::sink::{
    markup::Escaped,
    report::{Report, rows::Row},
};
use std::fmt::{self, Write as _};

pub(super) fn write(report: &Report, out: &mut String) -> fmt::Result {
    let rows = &report.rows;
    if rows.seen == 0 {
        return writeln!(out, "<p>No connection came to an end.</p>");
    }
    write_which(report, out)?;
    out.write_str(
        "<div class=\"tools\" id=\"tools\" hidden=\"hidden\"><label>Only rows with these words <input type=\"search\" id=\"search\" \
         autocomplete=\"off\" spellcheck=\"false\" /></label><output id=\"shown\" for=\"search\"></output></div>\n\
         <p class=\"printed\">Printed are the first 60 rows.</p>\n",
    )?;
    let has_names = rows.all().any(|row| row.name.is_some());
    let has_users = rows.all().any(|row| row.user.is_some());
    write!(
        out,
        "<div class=\"scroll tall\" tabindex=\"0\" role=\"region\" aria-label=\"Table of connections\"><table id=\"rows\">\n\
         <caption>Times in ms, sent and received in octets, as the client sees it</caption>\n<thead><tr>\
         <th scope=\"col\">began (UTC)</th><th scope=\"col\">client</th><th scope=\"col\">server</th>"
    )?;
    for (has, name) in [(has_names, "name"), (has_users, "program")] {
        if has {
            write!(out, "<th scope=\"col\">{name}</th>")?;
        }
    }
    write!(out, "<th scope=\"col\">outcome</th>")?;
    for name in ["handshake", "lasted", "sent", "received", "retries"] {
        write!(out, "<th scope=\"col\" class=\"n\">{name}</th>")?;
    }
    writeln!(out, "</tr></thead>\n<tbody>")?;
    for row in rows.all() {
        write_row(row, [has_names, has_users], out)?;
    }
    writeln!(out, "</tbody></table></div>")
}

/// Says which connections are in the table, and of how many.
fn write_which(report: &Report, out: &mut String) -> fmt::Result {
    let rows = &report.rows;
    let shown = rows.all().len() as u64;
    if shown == rows.seen {
        return writeln!(
            out,
            "<p>{}.</p>",
            Many(shown, "connection, which is all", "connections, which are all")
        );
    }
    let [slow, failed, all] = rows.lists().map(|count| Number(count as u64));
    writeln!(
        out,
        "<p>{} of {} connections: the {slow} slowest handshakes, {failed} of the {} that failed or were reset, and {all} of all, \
         the last two drawn by lot. A connection can be there for more than one reason.</p>",
        Number(shown),
        Number(rows.seen),
        Number(rows.failed_seen),
    )
}

fn write_row(row: &Row, [has_names, has_users]: [bool; 2], out: &mut String) -> fmt::Result {
    write!(out, "<tr><td>{}</td><td>{}</td><td>{}</td>", moment(row.start), row.client, row.server)?;
    for (has, text) in [(has_names, &row.name), (has_users, &row.user)] {
        if has {
            write!(out, "<td>{}</td>", Escaped(text.as_deref().unwrap_or("-")))?;
        }
    }
    let class = if row.outcome.is_failed_handshake() { " class=\"failed\"" } else { "" };
    write!(out, "<td{class}>{}</td>", outcome(row.outcome))?;
    for ns in [row.handshake_ns, row.lifetime_ns] {
        write!(out, "<td class=\"n\">{}</td>", millis(ns))?;
    }
    for bytes in row.bytes {
        match bytes {
            Some(bytes) => write!(out, "<td class=\"n\">{bytes}</td>")?,
            None => write!(out, "<td class=\"n\">-</td>")?,
        }
    }
    writeln!(out, "<td class=\"n\">{}</td></tr>", row.retries)
}
