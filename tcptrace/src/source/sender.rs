//! Whose stack sent a segment, from where it was seen.

use crate::segment::{Direction, Sender};

/// What is known about the place: the hook's direction, whether the kernel was forwarding the packet, whether
/// the interface is loopback, and (asked only where it matters) whether the destination is this host.
pub(super) fn sender_of(
    direction: Direction,
    forwarded: bool,
    loopback: bool,
    to_this_host: impl FnOnce() -> bool,
) -> Sender {
    match direction {
        // Both endpoints are here.
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
