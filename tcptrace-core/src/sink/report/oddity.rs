//! What is odd about a connection: what most connections do not have, and somebody may want to know of.

use crate::event::{Connection, Ecn, Outcome, SynackAgain};

/// Defines the kinds with their words and when a connection is of one.
macro_rules! oddities {
    ($($(#[$doc:meta])* $name:ident: $words:literal if $test:expr;)*) => {
        /// A kind of what is odd.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Oddity {
            $($(#[$doc])* $name,)*
        }

        impl Oddity {
            /// What it is, in words.
            pub(super) const fn words(self) -> &'static str {
                match self {
                    $(Self::$name => $words,)*
                }
            }
        }

        /// What is odd about a connection.
        pub(super) fn oddities(event: &Connection) -> impl Iterator<Item = Oddity> {
            [$({ let test: fn(&Connection) -> bool = $test; test(event).then_some(Oddity::$name) },)*].into_iter().flatten()
        }
    };
}

oddities! {
    /// Its RST came of somebody else.
    ResetByAnother: "a RST by somebody else ended it" if |it| it.reset_by_another.is_some();
    /// RSTs that changed nothing.
    ResetIgnored: "a RST came that changed nothing" if |it| !it.resets_ignored.is_empty();
    /// The host has forgotten it.
    NoSuchConnection: "an end was reset by a host that had forgotten the connection" if |it| it.no_such_connection;
    /// RFC 5961 §4.2.
    ChallengeAck: "the server answered the SYN as one of an earlier connection" if |it| it.challenge_ack;
    /// RFC 9293 §3.10.7.3.
    WrongAnswers: "what came for an answer to the SYN did not acknowledge it" if |it| it.wrong_answers.is_some();
    /// Behind translation of addresses.
    AnsweredElsewhere: "another server answered the SYN" if |it| it.answered_elsewhere.is_some();
    /// Not accepted, though acknowledged.
    NotAccepted: "the server did not take the ACK of the handshake" if |it| {
        matches!(it.synack_again, Some(SynackAgain::NotAccepted | SynackAgain::LostOrNotAccepted))
    };
    /// `TCP_DEFER_ACCEPT`.
    Deferred: "the server waited for data before it accepted" if |it| it.synack_again == Some(SynackAgain::Deferred);
    /// The queue was full.
    QueueFull: "the accept queue of the server was full" if |it| {
        it.accept_queue.is_some_and(|queue| queue.waiting > queue.limit)
    };
    /// Both sent a SYN.
    Simultaneous: "both ends opened it at once" if |it| it.simultaneous_open;
    /// One socket.
    SelfConnection: "it is connected to itself" if |it| it.self_connection;
    /// As scanners do.
    Probe: "a probe without SYN and ACK, as scanners send" if |it| it.probe;
    /// ECN is blocked.
    EcnBlocked: "only SYNs that did not ask for ECN were answered" if |it| {
        it.ecn.is_some_and(|Ecn { unanswered_syns, .. }| unanswered_syns > 0)
    };
    /// An ICMP error that it survived.
    IcmpSurvived: "an ICMP error came, and the handshake was complete all the same" if |it| {
        it.icmp_error.is_some() && !it.failed
    };
    /// A device rewrites its numbers.
    Rewritten: "a device on the way changes its sequence numbers" if |it| it.other_view.is_some();
    /// Its ports were used again.
    Reused: "its addresses and ports were opened anew before it was over" if |it| it.outcome == Outcome::Reused;
    /// One direction stayed open.
    HalfClosed: "one direction stayed open after the other was closed" if |it| it.half_closed;
    /// SYNs sent again.
    SynRetries: "its SYN was sent again before it was answered" if |it| it.syn_retransmits > 0 && !it.failed;
}
