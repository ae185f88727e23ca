//! Writes a [`Report`] as a page of HTML that stands alone: it loads nothing, and its own script and style are the only ones that a
//! browser runs, as their digests are in its policy. Without the script all is there, in the order in which it came.

mod axis;
mod examples;
mod latency;
mod outline;
mod over_time;
mod resets;
mod sources;
mod states;
mod table;
mod words;

use super::Report;
use crate::sink::markup::Escaped;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use sha2::{Digest as _, Sha256};
use std::fmt::{self, Write};

const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// A part of the page, with its name in the address, its heading, and what writes it.
type Section = (&'static str, &'static str, fn(&Report, &mut String) -> fmt::Result);

const SECTIONS: [Section; 9] = [
    ("happened", "What happened", outline::write),
    ("latency", "How long handshakes took", latency::write),
    ("failures", "What failed, and when", over_time::write),
    ("states", "How long each state lasted", states::write),
    ("resets", "Who reset connections", resets::write),
    ("slowest", "The slowest handshakes", examples::write_slowest),
    ("oddest", "The oddest connections", examples::write_oddest),
    ("connections", "Connections", table::write),
    ("source", "What this page is of", sources::write),
];

pub(super) fn render(report: &Report) -> String {
    let mut out = String::with_capacity(1 << 18);
    // Writing to a String cannot fail.
    let _ = write(report, &mut out);
    out
}

fn write(report: &Report, out: &mut String) -> fmt::Result {
    let files = report.files.join(", ");
    let files = Escaped(&files);
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\" />\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; \
         base-uri 'none'; form-action 'none'\" />\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\" />\n\
         <meta name=\"color-scheme\" content=\"light dark\" />\n<meta name=\"referrer\" content=\"no-referrer\" />\n\
         <title>TCP connections of {files}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#happened\">Skip to what happened</a>\n\
         <svg class=\"defs\" aria-hidden=\"true\" focusable=\"false\"><defs><marker id=\"head\" markerWidth=\"9\" markerHeight=\"8\" \
         refX=\"8\" refY=\"4\" orient=\"auto\"><path d=\"M0,0 L8,4 L0,8\"/></marker></defs></svg>\n\
         <header>\n<h1>TCP connections</h1>\n<p class=\"files\">of {files}</p>\n",
        Digest(STYLE),
        Digest(SCRIPT),
    )?;
    if let Some([first, last]) = report.period {
        writeln!(out, "<p>{} to {} UTC</p>", words::moment(first), words::moment(last))?;
    }
    if let Some(filter) = &report.filter {
        writeln!(out, "<p>Only connections that match {}</p>", Escaped(filter))?;
    }
    writeln!(out, "<nav aria-label=\"Parts of this page\">\n<ul>")?;
    for (id, heading, _) in SECTIONS {
        writeln!(out, "<li><a href=\"#{id}\">{heading}</a></li>")?;
    }
    writeln!(out, "</ul>\n</nav>\n</header>\n<main>")?;
    sources::write_warning(report, out)?;
    for (id, heading, section) in SECTIONS {
        writeln!(
            out,
            "<section id=\"{id}\" aria-labelledby=\"{id}-heading\">\n<h2 id=\"{id}-heading\">{heading}</h2>"
        )?;
        section(report, out)?;
        writeln!(out, "</section>")?;
    }
    let version = env!("CARGO_PKG_VERSION");
    writeln!(
        out,
        "</main>\n<footer><p>Made by tcptrace report, version {version}. Times are UTC.</p></footer>"
    )?;
    writeln!(out, "<script>{SCRIPT}</script>\n</body>\n</html>")
}

/// The digest of a script or style, as a policy has it.
struct Digest(&'static str);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 44];
        let len = BASE64_STANDARD.encode_slice(Sha256::digest(self.0), &mut text).map_err(|_| fmt::Error)?;
        f.write_str(str::from_utf8(&text[..len]).map_err(|_| fmt::Error)?)
    }
}
