//! How long handshakes took with each server: a picture of each of the busiest, and the figures of more.

use super::{
    axis::Axis,
    words::{self, Many, Number, duration, float, percent, short},
};
use crate::{
    event::Percentiles,
    sink::{
        markup::Escaped,
        report::{Report, services::Service},
        summary::Distribution,
    },
};
use std::fmt::{self, Write as _};

/// The most servers with a picture, and in the table.
const PICTURES: usize = 8;
const ROWS: usize = 100;

/// The picture's size, and where its plot is.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 362.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 158.0;

pub(super) fn write(report: &Report, out: &mut String) -> fmt::Result {
    let services = &report.services;
    if services.all.whole.count() == 0 {
        return writeln!(out, "<p>No handshake was timed.</p>");
    }
    out.write_str(
        "<p>From the first SYN to the ACK that establishes. The axis of times is logarithmic: each power of ten is as wide as \
         another.</p>\n<ul class=\"key\">\
         <li><svg viewBox=\"0 0 40 12\" aria-hidden=\"true\"><rect class=\"bar\" x=\"6\" width=\"28\" height=\"12\"/></svg>bars: how \
         many took so long (left)</li>\
         <li><svg viewBox=\"0 0 40 12\" aria-hidden=\"true\"><path class=\"cdf\" d=\"M0,6H40\"/></svg>solid line: the part of them \
         that took at most so long (right)</li>\
         <li><svg viewBox=\"0 0 40 12\" aria-hidden=\"true\"><path class=\"cdf network\" d=\"M0,6H40\"/></svg>dashed: the same of \
         the network's part</li>\
         <li><svg viewBox=\"0 0 40 12\" aria-hidden=\"true\"><path class=\"cdf host\" d=\"M0,6H40\"/></svg>dotted: the same of this \
         host's part</li></ul>\n",
    )?;
    if services.all.network.count() == 0 {
        out.write_str(
            "<p>Network and host are not told apart here: that takes a trace on the client's or the server's own host.</p>\n",
        )?;
    }
    let busiest = services.busiest();
    writeln!(out, "<div class=\"cards\">")?;
    card("All servers", &services.all, out)?;
    if busiest.len() > 1 {
        let timed = busiest.iter().filter(|(_, service)| service.whole.count() > 0);
        for (address, service) in timed.take(PICTURES) {
            card(&words::server(*address, service.name.as_ref()), service, out)?;
        }
    }
    writeln!(out, "</div>")?;
    write_table(report, out)
}

fn card(name: &str, service: &Service, out: &mut String) -> fmt::Result {
    let Percentiles { count, p50, p90, p99, max } = service.whole.percentiles();
    let name = Escaped(name);
    writeln!(out, "<figure class=\"card\">\n<h3>{name}</h3>")?;
    write!(
        out,
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Histogram and distribution of {} with {name}: half took at \
         most {}, nine tenths {}, 99 hundredths {}, the slowest {}\">",
        Many(count, "handshake", "handshakes"),
        duration(p50),
        duration(p90),
        duration(p99),
        duration(max),
    )?;
    let parts = [&service.whole, &service.network, &service.host];
    let min = parts.iter().filter_map(|times| times.min()).min().unwrap_or_default();
    let longest = parts.iter().filter_map(|times| times.percentiles().max).max().unwrap_or_default();
    let axis = Axis::covering(min, longest, LEFT, RIGHT - LEFT);
    let bins = axis.bins(service.whole.recorded());
    write_plot(&axis, &bins, out)?;
    for (times, class) in parts.into_iter().zip(["cdf", "cdf network", "cdf host"]) {
        write_line(&axis, times, class, out)?;
    }
    writeln!(out, "</svg>")?;
    write!(
        out,
        "<figcaption>{}: half took at most {}",
        Many(count, "handshake", "handshakes"),
        duration(p50)
    )?;
    let [network, host] = [&service.network, &service.host].map(|times| times.percentiles().p50);
    if network.is_some() {
        write!(out, " (medians of the parts: network {}, host {})", duration(network), duration(host))?;
    }
    writeln!(out, ", nine tenths {}, the slowest {}</figcaption>", duration(p90), duration(max))?;
    write_bins(&axis, &bins, count, out)?;
    writeln!(out, "</figure>")
}

/// Writes the grid, the bars and the labels at the axes.
fn write_plot(axis: &Axis, bins: &[u64], out: &mut String) -> fmt::Result {
    let most = bins.iter().copied().max().unwrap_or_default().max(1);
    for quarter in 0..=4_u32 {
        let y = BOTTOM - (BOTTOM - TOP) * f64::from(quarter) / 4.0;
        write!(out, "<path class=\"grid\" d=\"M{LEFT},{y}H{RIGHT}\"/>")?;
        write!(out, "<text x=\"{}\" y=\"{}\">{}%</text>", RIGHT + 4.0, y + 4.0, quarter * 25)?;
    }
    for (pair, count) in axis.edges().windows(2).zip(bins) {
        if *count > 0 {
            let (x, next) = (axis.x(pair[0]), axis.x(pair[1]));
            // Even one among millions can be seen.
            let height = ((BOTTOM - TOP) * float(*count) / float(most)).max(1.5);
            write!(
                out,
                "<rect class=\"bar\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
                x + 0.5,
                BOTTOM - height,
                (next - x - 1.0).max(1.0)
            )?;
        }
    }
    for (count, y) in [(most, TOP), (0, BOTTOM)] {
        write!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            LEFT - 4.0,
            y + 4.0,
            compact(count)
        )?;
    }
    for ns in axis.labels() {
        let x = axis.x(ns);
        write!(out, "<path class=\"grid\" d=\"M{x:.1},{BOTTOM}v5\"/>")?;
        write!(
            out,
            "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            BOTTOM + 20.0,
            short(ns)
        )?;
    }
    Ok(())
}

/// Writes the line of the part of the times that are at most so long, with a point for each unit of the picture at most.
fn write_line(axis: &Axis, times: &Distribution<u32>, class: &str, out: &mut String) -> fmt::Result {
    let all = times.count();
    let Some(min) = times.min().filter(|_| all > 0) else { return Ok(()) };
    write!(out, "<path class=\"{class}\" d=\"M{:.1},{BOTTOM}", axis.x(min))?;
    let (mut sum, mut drawn) = (0, f64::NEG_INFINITY);
    for (ns, count) in times.recorded() {
        sum += count;
        let x = axis.x(ns);
        if x - drawn >= 1.0 || sum == all {
            let y = BOTTOM - (BOTTOM - TOP) * float(sum) / float(all);
            write!(out, "H{x:.1}V{y:.1}")?;
            drawn = x;
        }
    }
    write!(out, "H{RIGHT}\"/>")
}

/// A count in so few characters that there is room at the axis.
fn compact(count: u64) -> String {
    match count {
        0..10_000 => count.to_string(),
        10_000..10_000_000 => format!("{}k", count / 1_000),
        10_000_000..10_000_000_000 => format!("{}M", count / 1_000_000),
        _ => format!("{}G", count / 1_000_000_000),
    }
}

/// Writes the figures of the histogram, for those who do not see it.
fn write_bins(axis: &Axis, bins: &[u64], all: u64, out: &mut String) -> fmt::Result {
    writeln!(
        out,
        "<details><summary>Figures</summary>\n<table><caption>Handshakes by time</caption><thead><tr>"
    )?;
    writeln!(out, "<th scope=\"col\" class=\"n\">up to</th><th scope=\"col\" class=\"n\">handshakes</th>")?;
    writeln!(out, "<th scope=\"col\" class=\"n\">at most so long</th></tr></thead><tbody>")?;
    let mut sum = 0;
    for (upper, count) in axis.edges().iter().skip(1).zip(bins) {
        sum += count;
        if *count > 0 {
            writeln!(
                out,
                "<tr><th scope=\"row\" class=\"n\">{}</th><td class=\"n\">{}</td><td class=\"n\">{:.1} %</td></tr>",
                short(*upper),
                Number(*count),
                percent(sum, all)
            )?;
        }
    }
    writeln!(out, "</tbody></table></details>")
}

fn write_table(report: &Report, out: &mut String) -> fmt::Result {
    let services = &report.services;
    let busiest = services.busiest();
    let shown = busiest.len().min(ROWS);
    write!(
        out,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Servers\"><table>\n<caption>The {shown} busiest servers"
    )?;
    if services.folded > 0 {
        write!(
            out,
            ". There were more than could be told apart: the less busy ones are summed up as others, for a part of the time or all of it"
        )?;
    } else if shown < busiest.len() {
        write!(out, " of {}", Number(busiest.len() as u64))?;
    }
    out.write_str(
        ". Times in ms: half, nine tenths and 99 hundredths of the handshakes took at most so long.</caption>\n<thead><tr>\
         <th scope=\"col\">server</th><th scope=\"col\" class=\"n\">connections</th><th scope=\"col\" class=\"n\">failed</th>\
         <th scope=\"col\" class=\"n\">reset</th><th scope=\"col\" class=\"n\">retries</th>",
    )?;
    for part in ["whole", "network", "host", "answer"] {
        for quantile in ["p50", "p90", "p99"] {
            write!(out, "<th scope=\"col\" class=\"n\">{part} {quantile}</th>")?;
        }
    }
    writeln!(out, "</tr></thead>\n<tbody>")?;
    row("all", &services.all, out)?;
    for (address, service) in busiest.iter().take(ROWS) {
        row(&words::server(*address, service.name.as_ref()), service, out)?;
    }
    if services.folded > 0 {
        row("others", &services.others, out)?;
    }
    writeln!(out, "</tbody></table></div>")
}

fn row(name: &str, service: &Service, out: &mut String) -> fmt::Result {
    write!(out, "<tr><th scope=\"row\">{}</th>", Escaped(name))?;
    for count in [service.busy(), service.failed.total(), service.reset, service.retries] {
        write!(out, "<td class=\"n\">{}</td>", Number(count))?;
    }
    for times in [&service.whole, &service.network, &service.host, &service.answer] {
        let Percentiles { p50, p90, p99, .. } = times.percentiles();
        for ns in [p50, p90, p99] {
            write!(out, "<td class=\"n\">{}</td>", words::millis(ns))?;
        }
    }
    writeln!(out, "</tr>")
}
