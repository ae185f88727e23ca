//! What failed over time: a strip for each cause, one below the other on the same axis of time.

use super::words::{self, Many, Number, float, moment};
use crate::{
    segment::Timestamp,
    sink::{
        report::{
            Report,
            timeline::{CAUSES, Step},
        },
        units::Nanos,
    },
};
use std::fmt::{self, Write as _};

pub(super) fn write(report: &Report, out: &mut String) -> fmt::Result {
    let timeline = &report.timeline;
    let Some([first, last]) = timeline.span() else {
        return writeln!(out, "<p>There is no connection whose time is known.</p>");
    };
    let steps: Vec<Step> = (first..=last).map(|number| timeline.step(number)).collect();
    let length = timeline.length_ns();
    let begin = |place: usize| Timestamp((first + place as u64).saturating_mul(length));
    let failed: Vec<usize> =
        (0..CAUSES.len()).filter(|cause| steps.iter().any(|step| step.causes[*cause] > 0)).collect();
    if failed.is_empty() {
        writeln!(out, "<p>No handshake failed, and no connection was reset.</p>")?;
    }
    writeln!(
        out,
        "<p>By the time at which the connection began; each bar is {}. Each strip has its own scale.</p>",
        length_in_words(length)
    )?;
    strip("all connections", "all", &steps.iter().map(|step| step.begun).collect::<Vec<_>>(), &begin, out)?;
    for cause in &failed {
        let counts: Vec<u64> = steps.iter().map(|step| step.causes[*cause]).collect();
        strip(words::outcome(CAUSES[*cause]), "bar", &counts, &begin, out)?;
    }
    writeln!(
        out,
        "<div class=\"strip\"><p class=\"ends\"><span>{}</span><span>{} UTC</span></p></div>",
        moment(begin(0)),
        moment(begin(steps.len()))
    )?;
    if report.untimed > 0 {
        writeln!(
            out,
            "<p>{} without a known time left out.</p>",
            Many(report.untimed, "connection is", "connections are")
        )?;
    }
    if failed.is_empty() { Ok(()) } else { figures(&steps, &failed, &begin, out) }
}

fn strip(
    name: &str,
    class: &str,
    counts: &[u64],
    begin: &dyn Fn(usize) -> Timestamp,
    out: &mut String,
) -> fmt::Result {
    let total: u64 = counts.iter().sum();
    // Of equal ones the first.
    let (place, most) =
        counts.iter().copied().enumerate().rev().max_by_key(|(_, count)| *count).unwrap_or_default();
    write!(
        out,
        "<div class=\"strip\"><div><h3>{name}</h3><span class=\"soft\">{}, at most {} a bar</span></div>\n\
         <svg viewBox=\"0 0 {} 30\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{name} over time: {} in all, most at {}: {}\">",
        Number(total),
        Number(most),
        counts.len(),
        Number(total),
        moment(begin(place)),
        Number(most),
    )?;
    for (x, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let height = (29.0 * float(*count) / float(most.max(1))).max(1.0);
        write!(
            out,
            "<rect class=\"{class}\" x=\"{x}.05\" y=\"{:.1}\" width=\".9\" height=\"{height:.1}\"/>",
            30.0 - height
        )?;
    }
    writeln!(out, "</svg></div>")
}

/// Writes the figures of the strips, for those who do not see them.
fn figures(
    steps: &[Step],
    failed: &[usize],
    begin: &dyn Fn(usize) -> Timestamp,
    out: &mut String,
) -> fmt::Result {
    writeln!(
        out,
        "<details><summary>Figures</summary>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Failures over time\"><table>"
    )?;
    writeln!(
        out,
        "<caption>What began within each step and failed or was reset; steps without any are left out.</caption>"
    )?;
    write!(out, "<thead><tr><th scope=\"col\">from (UTC)</th><th scope=\"col\" class=\"n\">all</th>")?;
    for cause in failed {
        write!(out, "<th scope=\"col\" class=\"n\">{}</th>", words::outcome(CAUSES[*cause]))?;
    }
    writeln!(out, "</tr></thead><tbody>")?;
    for (place, step) in
        steps.iter().enumerate().filter(|(_, step)| step.causes.iter().any(|count| *count > 0))
    {
        write!(
            out,
            "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td>",
            moment(begin(place)),
            Number(step.begun)
        )?;
        for cause in failed {
            write!(out, "<td class=\"n\">{}</td>", Number(step.causes[*cause]))?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</tbody></table></div></details>")
}

fn length_in_words(ns: u64) -> String {
    let unit =
        |one: u64, name: &str| (ns.is_multiple_of(one) && ns >= one).then(|| format!("{} {name}", ns / one));
    unit(86_400_000_000_000, "d")
        .or_else(|| unit(3_600_000_000_000, "h"))
        .or_else(|| unit(60_000_000_000, "min"))
        .or_else(|| unit(1_000_000_000, "s"))
        .or_else(|| unit(1_000_000, "ms"))
        .unwrap_or_else(|| Nanos(ns).to_string())
}
