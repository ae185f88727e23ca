//! Finds out whose TCP stack sent a segment, by where the segment was seen.

use crate::segment::{Direction, Sender};

/// Whether this host sent a segment, by the hook's direction, whether the kernel was forwarding the packet, and whether
/// the interface is loopback. `to_this_host` says whether the destination is an address of this host; it is asked only
/// if that matters.
pub(super) fn sender_of(
    direction: Direction,
    forwarded: bool,
    loopback: bool,
    to_this_host: impl FnOnce() -> bool,
) -> Sender {
    match direction {
        // Both ends of a connection over loopback are on this host.
        _ if loopback => Sender::Unknown,
        Direction::Egress if !forwarded => Sender::Here,
        Direction::Ingress if to_this_host() => Sender::There,
        _ => Sender::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Egress, Ingress};

    #[test]
    fn the_sender_is_here_there_or_unknown() {
        for (direction, forwarded, loopback, to_this_host, expected) in [
            (Egress, false, false, false, Sender::Here),
            (Egress, false, false, true, Sender::Here),
            (Egress, true, false, false, Sender::Unknown),
            (Ingress, false, false, true, Sender::There),
            (Ingress, false, false, false, Sender::Unknown),
            (Ingress, false, true, true, Sender::Unknown),
            (Egress, false, true, true, Sender::Unknown),
            (Direction::Unknown, false, false, true, Sender::Unknown),
        ] {
            assert_eq!(
                sender_of(direction, forwarded, loopback, || to_this_host),
                expected,
                "{direction:?} forwarded {forwarded} lo {loopback} own {to_this_host}"
            );
        }
    }
}
