//! What holds of the tracker's events whatever its input was.

use hashbrown::HashMap;
use tcptrace_core::{
    event::{Connection, Event, Outcome, Role, State, Transition},
    segment::Timestamp,
};

/// Watches the events of one tracker. A finding is a panic.
#[derive(Debug, Default)]
pub struct Audit {
    connections: HashMap<u64, Life>,
    /// Connections that were reported.
    pub ended: u64,
}

#[derive(Debug)]
struct Life {
    sides: [Side; 2],
    established: bool,
    ended: bool,
}

#[derive(Debug)]
struct Side {
    state: State,
    /// When `state` was entered, if that was seen.
    entered: Option<Timestamp>,
    /// It was presumed to open. Where a try goes on that was given up, that is told then, and what comes counts from when it
    /// really opened.
    presumed: bool,
    spent: Vec<(State, u64)>,
    /// For a FIN that is taken back.
    before_fin: Option<BeforeFin>,
    /// Its time went back somewhere, so that there are intervals that nobody knows.
    went_back: bool,
}

/// The state before a FIN, when it was entered, and what had been spent in each before that.
type BeforeFin = (State, Option<Timestamp>, Vec<(State, u64)>);

impl Default for Life {
    fn default() -> Self {
        let side = || Side {
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
    /// Takes the next event.
    pub fn event(&mut self, event: &Event) {
        let Some(common) = event.common() else { return };
        assert!(common.id > 0, "{event:?}");
        let life = self.connections.entry(common.id).or_default();
        match event {
            Event::Transition(transition) => life.transition(transition),
            Event::Established(_) => {
                assert!(!life.established && !life.ended, "established twice, or after the end: {event:?}");
                life.established = true;
            }
            Event::Connection(connection) => {
                assert!(!life.ended, "it ends twice: {connection:?}");
                life.ended = true;
                self.ended += 1;
                life.end(connection);
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

impl Side {
    /// The FIN was not its own: it was in the state before all the time.
    fn take_back(&mut self, it: &Transition) {
        assert_eq!(it.since_previous_ns, None, "{it:?}");
        let (state, entered, spent) = self.before_fin.take().unwrap_or_else(|| panic!("no FIN: {it:?}"));
        self.state = it.to;
        // In CLOSING it has acknowledged the peer's FIN meanwhile, when it was thought to have sent its own.
        if it.from != State::Closing {
            assert_eq!(state, it.to, "{it:?}");
            (self.entered, self.spent) = (entered, spent);
        }
    }
}

impl Life {
    fn transition(&mut self, it: &Transition) {
        let side = &mut self.sides[usize::from(it.endpoint == Role::Server)];
        assert_eq!(it.from, side.state, "a transition is missing: {it:?}");
        if is_taken_back(it.from, it.to) && it.inferred {
            side.take_back(it);
            return;
        }
        assert!(is_arrow(it.from, it.to), "no such arrow: {it:?}");
        if is_taken_back(it.to, it.from) {
            side.before_fin = Some((it.from, side.entered, side.spent.clone()));
        }
        if self.ended {
            // What is left after the report is the end of TIME-WAIT.
            assert_eq!((it.from, it.to), (State::TimeWait, State::Closed), "{it:?}");
        }
        let spent = side.entered.and_then(|entered| it.common.ts.0.checked_sub(entered.0));
        let told = it.since_previous_ns;
        assert!(told.is_none() || told == spent || side.presumed, "{it:?}");
        side.went_back |= side.entered.is_some_and(|entered| it.common.ts < entered);
        side.went_back |= side.presumed && told.is_none();
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
        for (told, state) in [it.client_state, it.server_state].into_iter().zip(states) {
            assert!(told.is_none_or(|told| told == state), "{it:?}");
            assert!(told.is_some() || state != State::Closed, "{it:?}");
        }
        for (side, times) in self.sides.iter().zip([&it.client_state_ns, &it.server_state_ns]) {
            let known = |(state, ns): &(State, Option<u64>)| ns.map(|ns| (*state, ns));
            let unknown = |state: State| times.as_slice().contains(&(state, None));
            let told: Vec<(State, u64)> = times.as_slice().iter().filter_map(known).collect();
            let spent: Vec<_> = side.spent.iter().copied().filter(|(state, _)| !unknown(*state)).collect();
            assert_eq!(spent, told, "{it:?}");
            assert!(side.went_back || told.len() == times.as_slice().len(), "{it:?}");
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

/// A FIN moves an end along the reverse of this, and turns out not to be its own.
fn is_taken_back(from: State, to: State) -> bool {
    use State as S;
    matches!(
        (from, to),
        (S::FinWait1, S::Established | S::SynReceived) | (S::Closing | S::LastAck, S::CloseWait)
    )
}

/// RFC 9293 §3.3.2, figure 5, and what a capture point has besides: a listener that is presumed, a beginning or the
/// handshake's end that it did not see, and the ways to CLOSED by a RST, a time-out or an ICMP error.
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
