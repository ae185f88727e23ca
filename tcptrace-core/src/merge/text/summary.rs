//! What holds of all connections, in sentences.

use crate::{
    merge::report::{BetweenSummary, Joined, LostByKind, MergeSummary, Traffic, VantageSummary},
    sink::units::{Count, Nanos, plain},
};
use std::fmt::Write as _;

/// The sentences, one after the other.
pub(super) fn sentences(summary: &MergeSummary) -> Vec<String> {
    let mut all: Vec<String> = summary.vantages.iter().map(of_vantage).collect();
    all.push(of_joined(&summary.joined));
    for between in &summary.between {
        all.push(of_clocks(between));
        // Of two with others between them, all that went is told of the hops.
        let is_a_hop = [&between.there, &between.back].into_iter().any(Traffic::has_any);
        if !is_a_hop && summary.between.len() > 1 {
            continue;
        }
        let (from, to) = (plain(&between.from), plain(&between.to));
        all.push(format!("{from} to {to}: {}", of_traffic(&between.there)));
        all.push(format!("{to} to {from}: {}", of_traffic(&between.back)));
    }
    if summary.without_segments {
        all.push(
            "A file has connections and no segments, so that it is not told where segments were lost: trace with --events all."
                .to_owned(),
        );
    }
    all
}

fn of_vantage(vantage: &VantageSummary) -> String {
    let mut text = format!(
        "{}: {}, {} of them seen nowhere else; {}",
        plain(&vantage.vantage),
        Count(vantage.connections, "connection", "connections"),
        vantage.alone,
        Count(vantage.segments, "segment", "segments"),
    );
    for (count, what) in [
        (vantage.without_isn, "not looked for elsewhere, as no initial sequence number is known"),
        (vantage.ambiguous, "not joined, as more than one fits"),
        (vantage.seen_again, "left out, as the vantage saw them more than once"),
        (vantage.lost_records, "records or packets that the trace itself lost"),
    ] {
        if count > 0 {
            let _ = write!(text, "; {count} {what}");
        }
    }
    text
}

fn of_joined(joined: &Joined) -> String {
    let mut text = format!("{} joined", Count(joined.total(), "connection", "connections"));
    let mut separator = ": ";
    for (count, by) in [
        (joined.four_tuple_and_isns, "by addresses, ports and both initial sequence numbers"),
        (joined.isns, "by both initial sequence numbers, as addresses are translated"),
        (joined.four_tuple_and_client_isn, "by addresses, ports and the client's initial sequence number"),
        (joined.client_isn, "by the client's initial sequence number and one end"),
    ] {
        if count > 0 {
            let _ = write!(text, "{separator}{count} {by}");
            separator = ", ";
        }
    }
    text
}

fn of_clocks(between: &BetweenSummary) -> String {
    let (from, to) = (plain(&between.from), plain(&between.to));
    let compared = between.there.compared + between.back.compared;
    let by = Count(compared, "segment", "segments");
    let mut text = match (between.offset_ns, between.offset_bound_ns) {
        (Some(offset), Some(bound)) => {
            let (offset, order) =
                (Nanos(offset.unsigned_abs()), if offset < 0 { "behind" } else { "ahead of" });
            let bound = Nanos(bound.unsigned_abs());
            format!("The clock of {to} is {offset} {order} that of {from}, ± {bound}, by {by}")
        }
        _ if !between.clocks_steady => {
            format!("The clocks of {from} and {to} drifted apart or were set, by {by}")
        }
        _ => {
            format!(
                "The clocks of {from} and {to} cannot be compared, as segments were seen in one direction alone"
            )
        }
    };
    if let Some(round_trip) = between.round_trip_ns {
        let _ = write!(text, "; the least round trip between them is {}", Nanos(round_trip));
    }
    text
}

fn of_traffic(traffic: &Traffic) -> String {
    let mut text = format!(
        "{} passed, {} lost{}",
        Count(traffic.passed, "segment", "segments"),
        traffic.lost.total(),
        kinds(&traffic.lost)
    );
    for (count, what) in [
        (traffic.lost_or_unrecorded, "lost, or came behind another that acknowledges as much"),
        (traffic.appeared, "appeared between them"),
        (traffic.unknown, "of which it is not known whether they came"),
    ] {
        if count > 0 {
            let _ = write!(text, "; {count} {what}");
        }
    }
    text
}

/// How many of each kind, in brackets.
fn kinds(lost: &LostByKind) -> String {
    let kinds = [
        (lost.syn, "SYN"),
        (lost.synack, "SYN-ACK"),
        (lost.ack, "ACK"),
        (lost.fin, "FIN"),
        (lost.rst, "RST"),
    ];
    let kinds: Vec<String> =
        kinds.iter().filter(|(count, _)| *count > 0).map(|(count, kind)| format!("{count} {kind}")).collect();
    if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) }
}
