//! How long an endpoint was in each of its states.

use super::{
    State,
    put::{Line, Put as _, PutFields},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use std::{borrow::Cow, collections::BTreeMap, fmt};

/// Nanoseconds that one endpoint spent in each state that it left, as far as they are known; in the order they were
/// entered. A state entered twice is summed at its first place. In JSON each of [`State::TIMED`] has its key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StateTimes {
    /// In place, so that an event takes no memory of its own.
    times: [(State, Option<u64>); State::ALL.len()],
    len: u8,
}

impl StateTimes {
    /// One after the other.
    #[must_use]
    pub fn as_slice(&self) -> &[(State, Option<u64>)] {
        &self.times[..usize::from(self.len)]
    }

    /// For each of [`State::TIMED`] the nanoseconds, if it was left and they are known.
    #[must_use]
    pub fn by_state(&self) -> [Option<u64>; State::TIMED.len()] {
        let mut all = [None; State::TIMED.len()];
        for &(state, ns) in self.as_slice() {
            let place = (state as usize).checked_sub(State::TIMED[0] as usize);
            if let Some(known) = place.and_then(|place| all.get_mut(place)) {
                *known = ns;
            }
        }
        all
    }

    /// The states that were left after nobody knows how long.
    pub fn untimed(&self) -> impl Iterator<Item = State> + '_ {
        self.as_slice().iter().filter(|(_, ns)| ns.is_none()).map(|(state, _)| *state)
    }

    fn add(&mut self, state: State, ns: Option<u64>) {
        let known = &mut self.times[..usize::from(self.len)];
        if let Some((_, sum)) = known.iter_mut().find(|(known, _)| *known == state) {
            *sum = sum.zip(ns).map(|(sum, ns)| sum.saturating_add(ns));
        } else if let Some(place) = self.times.get_mut(usize::from(self.len)) {
            *place = (state, ns);
            self.len += 1;
        }
    }
}

impl Default for StateTimes {
    fn default() -> Self {
        Self { times: [(State::Closed, None); State::ALL.len()], len: 0 }
    }
}

impl FromIterator<(State, Option<u64>)> for StateTimes {
    fn from_iter<T: IntoIterator<Item = (State, Option<u64>)>>(times: T) -> Self {
        let mut all = Self::default();
        times.into_iter().for_each(|(state, ns)| all.add(state, ns));
        all
    }
}

impl fmt::Debug for StateTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.as_slice().iter().copied()).finish()
    }
}

impl PutFields for StateTimes {
    #[inline]
    fn put_fields(&self, out: &mut Line) {
        for (state, ns) in State::TIMED.into_iter().zip(self.by_state()) {
            if !(out.is_compact && ns.is_nothing()) {
                out.extend_from_slice(state.json_key());
                ns.put(out);
            }
        }
    }
}

/// In the order of a life: that in which the states were entered is not written.
impl<'de> Deserialize<'de> for StateTimes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let times = BTreeMap::<State, Option<u64>>::deserialize(deserializer)?;
        Ok(times.into_iter().filter(|(_, ns)| ns.is_some()).collect())
    }
}

impl JsonSchema for StateTimes {
    fn schema_name() -> Cow<'static, str> {
        "StateTimes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let ns = json!({ "type": ["integer", "null"], "format": "uint64", "minimum": 0 });
        let names = State::TIMED.map(State::json_name);
        let states: Map<String, Value> = names.iter().map(|name| ((*name).to_owned(), ns.clone())).collect();
        json_schema!({
            "description": "Nanoseconds spent in each state; null of a state that the endpoint was not seen to enter and to \
                            leave, and of one whose time the source's clock does not tell, which is then in \
                            client_states_untimed or server_states_untimed.",
            "type": "object",
            "properties": states,
            "required": names,
            "additionalProperties": false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{State, StateTimes};

    #[test]
    fn all_states_have_room_and_one_that_comes_again_is_summed() {
        let twice = State::ALL.into_iter().rev().chain([State::Listen, State::Listen]);
        let times: StateTimes = twice.zip((1..).map(Some)).collect();
        let sum = |state| times.as_slice().iter().find(|(known, _)| *known == state).and_then(|(_, ns)| *ns);
        assert_eq!(times.as_slice().len(), State::ALL.len());
        assert_eq!(times.as_slice()[0], (State::TimeWait, Some(1)));
        assert_eq!((sum(State::Closed), sum(State::Listen)), (Some(11), Some(10 + 12 + 13)));
        let unknown: StateTimes =
            [Some(1), None, Some(2)].map(|ns| (State::Listen, ns)).into_iter().collect();
        assert_eq!(unknown.as_slice(), [(State::Listen, None)]);
    }

    #[test]
    fn each_state_has_its_place_whatever_came_first() {
        let times = [(State::TimeWait, Some(9)), (State::SynSent, Some(1)), (State::CloseWait, None)];
        let times = StateTimes::from_iter(times);
        let known = State::TIMED.into_iter().zip(times.by_state()).filter(|(_, ns)| ns.is_some());
        let known: Vec<_> = known.collect();
        assert_eq!(known, [(State::SynSent, Some(1)), (State::TimeWait, Some(9))]);
        assert_eq!(times.untimed().collect::<Vec<_>>(), [State::CloseWait]);
    }
}
