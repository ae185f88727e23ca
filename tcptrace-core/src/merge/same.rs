//! What makes two recorded segments the same one, seen at two places.

use super::trace::Seg;
use crate::event::Role;
use tcptrace_common::tcp::TcpFlags;

/// What is equal wherever one segment is seen, and also of each of its retransmissions. Addresses, ports and TTL are not in it, as
/// they change on the way, nor are the bits that routers set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Identity {
    by_server: bool,
    flags: u16,
    /// Where it is among the numbers. Of a FIN it is that of the FIN: hosts and their devices cut and join what comes before it.
    number: u32,
    ack: u32,
    /// Whether it has data, except of a FIN.
    has_data: bool,
    /// The window of what acknowledges and does nothing else, as a change of the window is another segment.
    window: u16,
}

/// The control bits that no device on the way changes.
const KEPT: u16 = TcpFlags::SYN.0 | TcpFlags::FIN.0 | TcpFlags::RST.0 | TcpFlags::ACK.0;

impl Identity {
    /// The identity of a segment. `sender` is who sent it by the roles that all places agree on.
    pub(super) fn of(seg: &Seg, sender: Role) -> Self {
        let flags = seg.flags();
        let is_fin = flags.fin();
        let only_acknowledges = !seg.is_always_recorded() && seg.len == 0;
        Self {
            by_server: sender == Role::Server,
            flags: flags.0 & KEPT,
            number: if is_fin { seg.seq.wrapping_add(seg.len) } else { seg.seq },
            ack: seg.ack,
            has_data: seg.len > 0 && !is_fin,
            window: if only_acknowledges { seg.window } else { 0 },
        }
    }

    pub(super) fn sender(&self) -> Role {
        if self.by_server { Role::Server } else { Role::Client }
    }

    /// Whether every trace records each such segment.
    pub(super) fn is_always_recorded(&self) -> bool {
        TcpFlags(self.flags).intersects(TcpFlags::SYN.union(TcpFlags::FIN).union(TcpFlags::RST))
    }
}

/// The segments that were sent once and seen once at each of two places, and that no trace leaves out: the first and the second
/// sighting of each. `flipped` says whose roles are the other way round.
pub(super) fn surely_same<'a>(
    (a, flipped_a): (&'a [Seg], bool),
    (b, flipped_b): (&'a [Seg], bool),
) -> Vec<(Role, &'a Seg, &'a Seg)> {
    let (a, b) = (once(a, flipped_a), once(b, flipped_b));
    let mut same = Vec::new();
    let mut others = b.iter().peekable();
    for (identity, seg) in &a {
        while others.next_if(|(other, _)| other < identity).is_some() {}
        if let Some((_, other)) = others.next_if(|(other, _)| other == identity) {
            same.push((identity.sender(), *seg, *other));
        }
    }
    same
}

/// The segments that have their identity alone, also among what may be copies, by their identities.
fn once(segs: &[Seg], flipped: bool) -> Vec<(Identity, &Seg)> {
    let mut all: Vec<_> = segs
        .iter()
        .filter(|seg| seg.is_always_recorded())
        .map(|seg| (Identity::of(seg, role(seg.sender(), flipped)), seg))
        .collect();
    all.sort_by_key(|(identity, _)| *identity);
    all.chunk_by(|a, b| a.0 == b.0)
        .filter_map(|same| <[_; 1]>::try_from(same).ok())
        .map(|[one]| one)
        .collect()
}

/// A role, or the other one where the roles are the other way round.
pub(super) fn role(role: Role, flipped: bool) -> Role {
    match (role, flipped) {
        (role, false) => role,
        (Role::Client, true) => Role::Server,
        (Role::Server, true) => Role::Client,
    }
}
