//! How long each state of both ends lasted: a bar for each in a table of the figures.

use super::{
    axis::Axis,
    words::{Number, duration, short},
};
use crate::{event::Percentiles, sink::report::Report};
use std::fmt::{self, Write as _};

pub(super) fn write(report: &Report, out: &mut String) -> fmt::Result {
    let all: Vec<_> = report.states.all().collect();
    let times = || all.iter().map(|(.., times)| times);
    let (Some(min), Some(max)) = (
        times().map(|times| times.percentiles().p50.unwrap_or_default()).min(),
        times().filter_map(|times| times.percentiles().max).max(),
    ) else {
        return writeln!(out, "<p>No end was seen to leave a state.</p>");
    };
    let axis = Axis::covering(min, max, 0.0, 100.0);
    let ends = |at: Option<&u64>| at.map_or_else(String::new, |ns| short(*ns));
    write!(
        out,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Time in each state\"><table>\n\
         <caption>Of the ends that left the state. The bar goes to the time that half of them took at most, the thin line to that of \
         nine tenths; the axis is logarithmic, from {} to {}.</caption>\n<thead><tr><th scope=\"col\">end</th>\
         <th scope=\"col\">state</th><th scope=\"col\" class=\"n\">how many</th><th scope=\"col\" class=\"n\">half at most</th>\
         <th scope=\"col\" class=\"n\">nine tenths</th><th scope=\"col\" class=\"n\">longest</th>\
         <th scope=\"col\">half, nine tenths</th></tr></thead>\n<tbody>\n",
        ends(axis.edges().first()),
        ends(axis.edges().last()),
    )?;
    for (role, state, times) in all {
        let Percentiles { count, p50, p90, max, .. } = times.percentiles();
        let [half, most] = [p50, p90].map(|ns| axis.x(ns.unwrap_or_default()));
        writeln!(
            out,
            "<tr><td>{}</td><th scope=\"row\">{}</th><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"cell\"><svg viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
             <rect class=\"bar\" y=\"1\" width=\"{half:.1}\" height=\"8\"/><path class=\"whisker\" d=\"M{half:.1},5H{most:.1}\"/></svg></td></tr>",
            role.json_name(),
            state.name(),
            Number(count),
            duration(p50),
            duration(p90),
            duration(max),
        )?;
    }
    writeln!(out, "</tbody></table></div>")
}
