//! The state machine: which evidence moves an endpoint from which state to which (RFC 9293 §3.3.2, figure 5), and
//! nothing else. What is evidence of what is decided in `rules.rs`.

use crate::event::State;

/// What a segment, or its absence, shows about one endpoint. An endpoint's state changes when the evidence passes the
/// capture point, never earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// A SYN was sent to the endpoint, so it is presumed to listen (RFC 9293 §3.10.7.2).
    PresumedListening,
    /// The endpoint sent a SYN (§3.10.1).
    SentSyn,
    /// The endpoint sent a SYN-ACK that acknowledges the peer's SYN (§3.10.7.2, §3.10.7.3).
    SentSynAck,
    /// The endpoint's SYN is acknowledged, and it acknowledged the peer's (§3.10.7.3, §3.10.7.4).
    Synchronized,
    /// The endpoint sent its FIN (§3.10.4).
    SentFin,
    /// The endpoint acknowledged the peer's FIN (§3.10.7.4, eighth step).
    AckedPeerFin,
    /// The endpoint's own FIN was acknowledged (§3.10.7.4, fifth step).
    OwnFinAcked,
    /// A valid RST passed, from the endpoint or towards it (§3.10.7.3, §3.10.7.4).
    Reset,
    /// An ICMP error that quotes a SYN passed, towards the endpoint that sent it (RFC 1122 §4.2.3.9): it concerns both
    /// endpoints.
    Unreachable,
    /// The endpoint gave up, or 2 MSL are over (§3.10.8).
    TimedOut,
}

/// The state after `evidence`, or `None` where it changes nothing.
#[expect(clippy::match_same_arms, reason = "one line for each arrow of the figure")]
pub(crate) const fn next(from: State, evidence: Evidence) -> Option<State> {
    use Evidence as E;
    use State as S;
    let to = match (evidence, from) {
        (E::PresumedListening, S::Closed) => S::Listen,
        (E::SentSyn, S::Closed | S::Listen) => S::SynSent,
        // A simultaneous open passes from SYN-SENT (§3.5, figure 7).
        (E::SentSynAck, S::Closed | S::Listen | S::SynSent) => S::SynReceived,
        // From CLOSED and LISTEN only where the handshake itself was not seen.
        (E::Synchronized, S::Closed | S::Listen | S::SynSent | S::SynReceived) => S::Established,
        (E::SentFin, S::SynReceived | S::Established) => S::FinWait1,
        (E::SentFin, S::CloseWait) => S::LastAck,
        (E::AckedPeerFin, S::Established) => S::CloseWait,
        (E::AckedPeerFin, S::FinWait1) => S::Closing,
        (E::AckedPeerFin, S::FinWait2) => S::TimeWait,
        (E::OwnFinAcked, S::FinWait1) => S::FinWait2,
        (E::OwnFinAcked, S::Closing) => S::TimeWait,
        (E::OwnFinAcked, S::LastAck) => S::Closed,
        (E::Unreachable, S::Listen | S::SynSent) => S::Closed,
        (E::Reset | E::TimedOut, S::Closed) => return None,
        (E::Reset | E::TimedOut, _) => S::Closed,
        _ => return None,
    };
    Some(to)
}

/// Whether an endpoint in this state is past the handshake: it knows its peer's ISN, and the peer knows its own (RFC
/// 9293 §3.10.7.4: the synchronized states).
pub(crate) const fn is_synchronized(state: State) -> bool {
    !matches!(state, State::Closed | State::Listen | State::SynSent | State::SynReceived)
}

/// Whether nothing more is expected of an endpoint in this state: it is in TIME-WAIT or CLOSED.
pub(crate) const fn is_finished(state: State) -> bool {
    matches!(state, State::TimeWait | State::Closed)
}

#[cfg(test)]
mod tests {
    use super::{Evidence as E, next};
    use crate::event::State as S;

    #[test]
    fn every_arrow_of_rfc_9293_figure_5_and_no_other() {
        let arrows = [
            (S::Closed, E::PresumedListening, S::Listen),
            (S::Closed, E::SentSyn, S::SynSent),
            (S::Listen, E::SentSyn, S::SynSent),
            (S::Closed, E::SentSynAck, S::SynReceived),
            (S::Listen, E::SentSynAck, S::SynReceived),
            (S::SynSent, E::SentSynAck, S::SynReceived),
            (S::Closed, E::Synchronized, S::Established),
            (S::Listen, E::Synchronized, S::Established),
            (S::SynSent, E::Synchronized, S::Established),
            (S::SynReceived, E::Synchronized, S::Established),
            (S::SynReceived, E::SentFin, S::FinWait1),
            (S::Established, E::SentFin, S::FinWait1),
            (S::CloseWait, E::SentFin, S::LastAck),
            (S::Established, E::AckedPeerFin, S::CloseWait),
            (S::FinWait1, E::AckedPeerFin, S::Closing),
            (S::FinWait2, E::AckedPeerFin, S::TimeWait),
            (S::FinWait1, E::OwnFinAcked, S::FinWait2),
            (S::Closing, E::OwnFinAcked, S::TimeWait),
            (S::LastAck, E::OwnFinAcked, S::Closed),
            (S::Listen, E::Unreachable, S::Closed),
            (S::SynSent, E::Unreachable, S::Closed),
        ];
        let all = [
            E::PresumedListening,
            E::SentSyn,
            E::SentSynAck,
            E::Synchronized,
            E::SentFin,
            E::AckedPeerFin,
            E::OwnFinAcked,
            E::Reset,
            E::Unreachable,
            E::TimedOut,
        ];
        for from in S::ALL {
            for evidence in all {
                let expected = match evidence {
                    E::Reset | E::TimedOut => (from != S::Closed).then_some(S::Closed),
                    _ => arrows.iter().find(|a| a.0 == from && a.1 == evidence).map(|a| a.2),
                };
                assert_eq!(next(from, evidence), expected, "{from:?} on {evidence:?}");
            }
        }
    }
}
