//! Checks of what must hold of the events of the tracker, whatever its input was.

use hashbrown::HashMap;
use tcptrace_core::{
    event::{Connection, Event, Outcome, Role, State, Transition},
    segment::Timestamp,
};

/// Checks the events of one tracker. A panic is a finding.
#[derive(Debug, Default)]
pub struct Audit {
    connections: HashMap<u64, ConnectionHistory>,
    /// The number of connections that were reported.
    pub ended: u64,
}

#[derive(Debug)]
struct ConnectionHistory {
    sides: [EndpointHistory; 2],
    established: bool,
    ended: bool,
}

#[derive(Debug)]
struct EndpointHistory {
    state: State,
    /// When `state` was entered, if that was seen.
    entered: Option<Timestamp>,
    /// Whether the beginning was only presumed. When an attempt that was given up goes on, that is reported then, and
    /// later times count from when it really began.
    presumed: bool,
    spent: Vec<(State, u64)>,
    /// The state to return to if a FIN turns out not to be the endpoint's own.
    before_fin: Option<BeforeFin>,
    /// Whether time went back somewhere, so that some intervals are unknown.
    went_back: bool,
}

/// The state before a FIN, when it was entered, and how long the endpoint had been in each state before.
type BeforeFin = (State, Option<Timestamp>, Vec<(State, u64)>);

impl Default for ConnectionHistory {
    fn default() -> Self {
        let side = || EndpointHistory {
            state: State::Closed,
            entered: None,
            spent: Vec::new(),
            presumed: false,
            before_fin: None,
            went_back: false,
        };
        Self { sides: [side(), side()], established: false, ended: false }
    }
}

impl Audit {
    /// Checks the next event.
    pub fn event(&mut self, event: &Event) {
        let Some(common) = event.common() else { return };
        assert!(common.id > 0, "{event:?}");
        let history = self.connections.entry(common.id).or_default();
        match event {
            Event::Transition(transition) => history.transition(transition),
            Event::Established(_) => {
                assert!(
                    !history.established && !history.ended,
                    "established twice, or after the end: {event:?}"
                );
                history.established = true;
            }
            Event::Connection(connection) => {
                assert!(!history.ended, "it ends twice: {connection:?}");
                history.ended = true;
                self.ended += 1;
                history.end(connection);
            }
            Event::Start(_)
            | Event::Segment(_)
            | Event::Anomaly(_)
            | Event::IcmpError(_)
            | Event::Stats(_) => {}
        }
    }

    /// The states of client and server of a connection, by its transitions.
    #[must_use]
    pub fn states(&self, id: u64) -> [State; 2] {
        self.connections[&id].sides.each_ref().map(|side| side.state)
    }
}

impl EndpointHistory {
    /// Undoes a FIN that was not the endpoint's own: the endpoint was in the state before all the time.
    fn undo_fin(&mut self, it: &Transition) {
        assert_eq!(it.since_previous_ns, None, "{it:?}");
        let (state, entered, spent) = self.before_fin.take().unwrap_or_else(|| panic!("no FIN: {it:?}"));
        self.state = it.to;
        // An endpoint that was in CLOSING has meanwhile acknowledged the FIN of its peer, so that it is not in the
        // state before its own FIN.
        if it.from != State::Closing {
            assert_eq!(state, it.to, "{it:?}");
            (self.entered, self.spent) = (entered, spent);
        }
    }
}

impl ConnectionHistory {
    fn transition(&mut self, it: &Transition) {
        let side = &mut self.sides[usize::from(it.endpoint == Role::Server)];
        assert_eq!(it.from, side.state, "a transition is missing: {it:?}");
        if is_fin_undone(it.from, it.to) && it.inferred {
            side.undo_fin(it);
            return;
        }
        assert!(is_arrow(it.from, it.to), "no such arrow: {it:?}");
        if is_fin_undone(it.to, it.from) {
            side.before_fin = Some((it.from, side.entered, side.spent.clone()));
        }
        if self.ended {
            // After the report, only the end of TIME-WAIT is left.
            assert_eq!((it.from, it.to), (State::TimeWait, State::Closed), "{it:?}");
        }
        let spent = side.entered.and_then(|entered| it.common.ts.0.checked_sub(entered.0));
        let reported = it.since_previous_ns;
        assert!(reported.is_none() || reported == spent || side.presumed, "{it:?}");
        side.went_back |= side.entered.is_some_and(|entered| it.common.ts < entered);
        side.went_back |= side.presumed && reported.is_none();
        if let Some(ns) = it.since_previous_ns
            && !matches!(it.from, State::Closed | State::Listen)
        {
            match side.spent.iter_mut().find(|(state, _)| *state == it.from) {
                Some((_, sum)) => *sum = sum.saturating_add(ns),
                None => side.spent.push((it.from, ns)),
            }
        }
        side.presumed = it.inferred && (side.presumed || it.from == State::Closed);
        (side.state, side.entered) = (it.to, Some(it.common.ts));
    }

    fn end(&self, it: &Connection) {
        let states = self.sides.each_ref().map(|side| side.state);
        for (reported, state) in [it.client_state, it.server_state].into_iter().zip(states) {
            assert!(reported.is_none_or(|reported| reported == state), "{it:?}");
            assert!(reported.is_some() || state != State::Closed, "{it:?}");
        }
        for (side, times) in self.sides.iter().zip([&it.client_state_ns, &it.server_state_ns]) {
            let known = |(state, ns): &(State, Option<u64>)| ns.map(|ns| (*state, ns));
            let unknown = |state: State| times.as_slice().contains(&(state, None));
            let reported: Vec<(State, u64)> = times.as_slice().iter().filter_map(known).collect();
            let spent: Vec<_> = side.spent.iter().copied().filter(|(state, _)| !unknown(*state)).collect();
            assert_eq!(spent, reported, "{it:?}");
            assert!(side.went_back || reported.len() == times.as_slice().len(), "{it:?}");
        }
        match it.outcome {
            Outcome::Closed => {
                let over = |state: &State| matches!(state, State::TimeWait | State::Closed);
                assert!(states.iter().all(over), "{it:?}");
            }
            Outcome::Reset | Outcome::Refused => {
                assert_eq!(states, [State::Closed; 2], "{it:?}");
            }
            _ => {}
        }
        assert_eq!(it.reset_phase.is_some(), it.outcome == Outcome::Reset, "{it:?}");
        assert_eq!(it.synack_again.is_some(), it.synacks_after_ack > 0, "{it:?}");
        let spaced = it.syn_intervals_ns.first().is_some_and(Option::is_some);
        assert_eq!(it.syn_backoff.is_some(), spaced, "{it:?}");
        if it.partial {
            assert_eq!((it.lifetime_ns, it.times.syn_to_established_ns), (None, None), "{it:?}");
        }
    }
}

/// Whether this transition undoes a FIN that was not the endpoint's own.
fn is_fin_undone(from: State, to: State) -> bool {
    use State as S;
    matches!(
        (from, to),
        (S::FinWait1, S::Established | S::SynReceived) | (S::Closing | S::LastAck, S::CloseWait)
    )
}

/// Whether the transition is one of RFC 9293 §3.3.2, figure 5, or one that a capture point needs besides: a listener
/// that is presumed, a beginning or an end of the handshake that was not seen, and the ways to CLOSED by a RST, a
/// time-out or an ICMP error.
fn is_arrow(from: State, to: State) -> bool {
    use State as S;
    matches!(
        (from, to),
        (S::Closed, S::Listen | S::SynSent | S::SynReceived | S::Established)
            | (S::Listen, S::SynSent | S::SynReceived | S::Established)
            | (S::SynSent, S::SynReceived | S::Established)
            | (S::SynReceived, S::Established | S::FinWait1)
            | (S::Established, S::FinWait1 | S::CloseWait)
            | (S::FinWait1, S::FinWait2 | S::Closing)
            | (S::FinWait2 | S::Closing, S::TimeWait)
            | (S::CloseWait, S::LastAck)
    ) || (from != S::Closed && to == S::Closed)
}
