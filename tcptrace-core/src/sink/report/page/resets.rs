//! Who reset connections, when, and which hosts did so most.

use super::words::{Many, Number, float, percent};
use crate::{
    event::Address,
    sink::report::{Report, resets::Sender},
};
use std::fmt::{self, Write as _};

/// The most senders that are named.
const SENDERS: usize = 15;

pub(super) fn write(report: &Report, out: &mut String) -> fmt::Result {
    let resets = &report.resets;
    let total = resets.total();
    if total == 0 {
        writeln!(out, "<p>No RST ended a connection or refused one.</p>")?;
    } else {
        writeln!(
            out,
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Resets by sender and time\"><table>\n\
             <caption>RSTs that ended or refused a connection</caption>\n<thead><tr><th scope=\"col\">sent by the</th>\
             <th scope=\"col\">when</th><th scope=\"col\" class=\"n\">connections</th><th scope=\"col\" class=\"n\">of all</th>\
             <th scope=\"col\">part of all</th></tr></thead>\n<tbody>"
        )?;
        for (role, when, count) in resets.kinds() {
            write_row(&[role.json_name(), when.words()], count, total, out)?;
        }
        writeln!(out, "</tbody></table></div>")?;
        write_senders(report, out)?;
    }
    for (count, one, many) in [
        (
            resets.no_such_connection,
            "of them is an answer of a host that knows no such connection",
            "of them are answers of hosts that know no such connection",
        ),
        (
            resets.by_another,
            "of them was sent by somebody else: the end in whose name it came went on",
            "of them were sent by somebody else: the ends in whose names they came went on",
        ),
        (resets.ignored, "more RST came and changed nothing", "more RSTs came and changed nothing"),
    ] {
        if count > 0 {
            writeln!(out, "<p>{}.</p>", Many(count, one, many))?;
        }
    }
    Ok(())
}

fn write_senders(report: &Report, out: &mut String) -> fmt::Result {
    let resets = &report.resets;
    writeln!(
        out,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Hosts that reset most\"><table>\n\
         <caption>Hosts that reset or refused most: servers with their port, clients without</caption>\n<thead><tr>\
         <th scope=\"col\">end</th><th scope=\"col\">address</th><th scope=\"col\" class=\"n\">connections</th>\
         <th scope=\"col\" class=\"n\">of all</th><th scope=\"col\">part of all</th></tr></thead>\n<tbody>"
    )?;
    let named = resets.senders.most(SENDERS, |sender| *sender);
    let mut others = resets.senders.total;
    for (Sender { ip, port }, count) in named {
        others -= count;
        let (role, address) = match port {
            Some(port) => ("server", Address { ip, port }.to_string()),
            None => ("client", ip.to_string()),
        };
        write_row(&[role, &address], count, resets.total(), out)?;
    }
    if others > 0 {
        write_row(&["", "others"], others, resets.total(), out)?;
    }
    writeln!(out, "</tbody></table></div>")
}

fn write_row(names: &[&str; 2], count: u64, total: u64, out: &mut String) -> fmt::Result {
    let [end, what] = names;
    writeln!(
        out,
        "<tr><td>{end}</td><th scope=\"row\">{what}</th><td class=\"n\">{}</td><td class=\"n\">{:.1} %</td><td class=\"cell\">\
         <svg viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect class=\"bar\" y=\"1\" width=\"{:.1}\" \
         height=\"8\"/></svg></td></tr>",
        Number(count),
        percent(count, total),
        100.0 * float(count) / float(total.max(1)),
    )
}
