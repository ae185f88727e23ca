//! What happened, in ten lines at the most.

use super::words::{self, Many, Number, duration, outcome, percent};
use crate::{
    event::{Outcome, Percentiles, Role},
    sink::{
        markup::Escaped,
        report::{Report, resets::Sender},
        summary::Distribution,
        units::Nanos,
    },
};
use std::fmt::{self, Write as _};

/// So many handshakes make a server one that may be called the slowest.
const ENOUGH: u64 = 10;

pub(super) fn write(report: &Report, out: &mut String) -> fmt::Result {
    let lines = [
        Some(connections(report)),
        handshakes(report),
        parts(report),
        busiest(report),
        slowest(report),
        failures(report),
        retries(report),
        resets(report),
        oddities(report),
        Some(lost(report).to_owned()),
    ];
    writeln!(out, "<ol class=\"happened\">")?;
    for line in lines.into_iter().flatten() {
        writeln!(out, "<li>{}</li>", Escaped(&line))?;
    }
    writeln!(out, "</ol>")
}

fn connections(report: &Report) -> String {
    let outcomes = report.outcomes;
    let total = outcomes.total();
    if total + report.endless == 0 {
        return "No connection was seen.".to_owned();
    }
    let mut line = Many(total, "connection", "connections").to_string();
    if let Some([first, last]) = report.period {
        let _ = write!(line, " within {}", Nanos(last.since(first)));
    }
    let mut separator = ": ";
    for one in Outcome::ALL.into_iter().filter(|one| outcomes.of(*one) > 0) {
        let _ = write!(line, "{separator}{} {}", Number(outcomes.of(one)), outcome(one));
        separator = ", ";
    }
    if report.partial > 0 {
        let _ = write!(line, "; {} began before the trace", Number(report.partial));
    }
    line + "."
}

fn handshakes(report: &Report) -> Option<String> {
    let Percentiles { count: count @ 1.., p50, p90, p99, max } = report.services.all.whole.percentiles()
    else {
        return None;
    };
    Some(format!(
        "Of {} half took at most {}, nine tenths {}, 99 hundredths {}, the slowest {}.",
        Many(count, "handshake", "handshakes"),
        duration(p50),
        duration(p90),
        duration(p99),
        duration(max)
    ))
}

fn parts(report: &Report) -> Option<String> {
    let [network, host] =
        [&report.services.all.network, &report.services.all.host].map(Distribution::percentiles);
    (network.count > 0).then(|| {
        format!(
            "The network's part of {} was {} in the middle, this host's {}.",
            Many(network.count, "handshake", "handshakes"),
            duration(network.p50),
            duration(host.p50)
        )
    })
}

fn busiest(report: &Report) -> Option<String> {
    let busiest = report.services.busiest();
    let (address, service) = busiest.first()?;
    let servers = if report.services.folded > 0 {
        "The busiest server".to_owned()
    } else {
        format!("The busiest of {}", Many(busiest.len() as u64, "server", "servers"))
    };
    let part = percent(service.busy(), report.services.all.busy());
    let name = words::server(*address, service.name.as_ref());
    Some(format!(
        "{servers} was {name}, with {} ({part:.1} %).",
        Many(service.busy(), "connection", "connections")
    ))
}

fn slowest(report: &Report) -> Option<String> {
    let busiest = report.services.busiest();
    let timed = busiest.iter().filter(|(_, service)| service.whole.count() >= ENOUGH);
    let slowest = timed.clone().rev().max_by_key(|(_, service)| service.whole.percentiles().p50)?;
    if timed.count() < 2 {
        return None;
    }
    let (address, service) = slowest;
    let Percentiles { count, p50, p90, .. } = service.whole.percentiles();
    Some(format!(
        "The slowest of those with {ENOUGH} handshakes or more was {}: half of {} took at most {}, nine tenths {}.",
        words::server(*address, service.name.as_ref()),
        Number(count),
        duration(p50),
        duration(p90)
    ))
}

fn failures(report: &Report) -> Option<String> {
    let failed = report.services.all.failed;
    if failed.total() == 0 {
        return (report.established > 0).then(|| "No handshake failed.".to_owned());
    }
    let all = failed.total() + report.established;
    let cause = Outcome::ALL.into_iter().rev().max_by_key(|one| failed.of(*one))?;
    let mut line = format!(
        "{} of {} failed ({:.1} %), most of them {} ({})",
        Number(failed.total()),
        Many(all, "handshake", "handshakes"),
        percent(failed.total(), all),
        outcome(cause),
        Number(failed.of(cause))
    );
    let busiest = report.services.busiest();
    if let Some((address, service)) = busiest.iter().rev().max_by_key(|(_, service)| service.failed.total()) {
        let name = words::server(*address, service.name.as_ref());
        let _ = write!(line, "; {} with {name}", Number(service.failed.total()));
    }
    Some(line + ".")
}

fn retries(report: &Report) -> Option<String> {
    let retries = report.services.all.retries;
    (retries > 0)
        .then(|| format!("{} sent again.", Many(retries, "SYN or SYN-ACK was", "SYNs and SYN-ACKs were")))
}

fn resets(report: &Report) -> Option<String> {
    let count = report.outcomes.of(Outcome::Reset);
    if count == 0 {
        return (report.established > 0).then(|| "No connection was reset after its handshake.".to_owned());
    }
    let by = |role| -> u64 {
        let after = report.resets.kinds().filter(|(who, when, _)| *who == role && when.is_after_handshake());
        after.map(|(.., count)| count).sum()
    };
    let mut line = format!(
        "{} reset after the handshake, {} by clients and {} by servers",
        Many(count, "connection was", "connections were"),
        Number(by(Role::Client)),
        Number(by(Role::Server))
    );
    if let [(Sender { ip, port }, most)] = report.resets.senders.most(1, |sender| *sender)[..] {
        let port = port.map_or_else(String::new, |port| format!(" port {port}"));
        let _ = write!(line, "; {ip}{port} sent most RSTs of all, with those that refuse ({})", Number(most));
    }
    Some(line + ".")
}

fn oddities(report: &Report) -> Option<String> {
    let rarest = report.oddest.rarest();
    let (first, count, _) = rarest.first()?;
    Some(format!(
        "{} odd, the rarest: {} ({}).",
        Many(rarest.len() as u64, "kind of connection was", "kinds of connections were"),
        first.words(),
        Many(*count, "connection", "connections")
    ))
}

fn lost(report: &Report) -> &'static str {
    let whole = report.damage.is_none() && report.endless == 0 && report.traces.are_whole();
    if whole { "Nothing is known to be lost." } else { "Something is missing: see above." }
}
