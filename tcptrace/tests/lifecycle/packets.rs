//! The files as packets, through the header parser and the lifecycle test in user space.

use crate::{cases::Cases, packet};
use libtest_mimic::Trial;
use tcptrace::{
    parse::Parser,
    script::Level,
    segment::{Direction, Input, Observation, Segment},
};
use tcptrace_common::{
    flow::known_seeds,
    record::Sighting,
    wire::{Bytes, Link},
};

pub(crate) const BUCKETS: u32 = 1 << 8;

pub(crate) fn trials(cases: &Cases) -> Vec<Trial> {
    let cases = cases.iter().filter(|case| case.has_level(Level::Packets)).cloned();
    cases
        .map(|case| {
            Trial::test(format!("packets: {}", case.name), move || {
                let mut parser = parser();
                case.play(|input| see(&mut parser, input))
            })
        })
        .collect()
}

/// A parser that has seen nothing.
pub(crate) fn parser() -> Parser {
    Parser::new(BUCKETS as usize, known_seeds(0))
}

/// The input that is left of it, if it is recorded at all.
pub(crate) fn see(parser: &mut Parser, input: &Input) -> Result<Option<Input>, String> {
    let Some(what) = input.observation() else { return Ok(Some(input.clone())) };
    let Segment { ts, direction, flow, .. } = *what.segment();
    let egress = direction == Direction::Egress;
    let seen = Sighting { ifindex: flow.interface, egress, forwarded: false };
    let bytes = packet::of(&what);
    let record = parser.packet(Link::Ethernet, Bytes::whole(&bytes), None, ts.0, seen);
    record.map(|record| same(&what, record.what)).transpose()
}

/// What was recorded is what the script says. Whose stack sent it is the source's to find out, and its lot is random: the
/// script tells.
pub(crate) fn same(script: &Observation, mut recorded: Observation) -> Result<Input, String> {
    let Segment { ts, direction, sender, lot, .. } = *script.segment();
    let segment = recorded.segment_mut();
    *segment = Segment { ts, direction, sender, lot, ..segment.clone() };
    if recorded == *script {
        Ok(recorded.into())
    } else {
        Err(format!("recorded was {recorded:?}\nof {script:?}"))
    }
}
