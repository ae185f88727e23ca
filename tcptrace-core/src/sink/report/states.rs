//! How long both ends were in each of their states.

use crate::{
    event::{Connection, Role, State},
    sink::summary::Distribution,
};

/// The times of one state.
type Times = Option<Box<Distribution<u32>>>;

/// The times of the states of both ends.
#[derive(Debug, Default)]
pub(super) struct States {
    client: [Times; State::TIMED.len()],
    server: [Times; State::TIMED.len()],
}

impl States {
    pub(super) fn add(&mut self, event: &Connection) {
        let ends = [(&mut self.client, &event.client_state_ns), (&mut self.server, &event.server_state_ns)];
        for (times, states) in ends {
            for (times, ns) in times.iter_mut().zip(states.by_state()) {
                if ns.is_some() {
                    times.get_or_insert_with(|| Box::new(Distribution::small())).record(ns);
                }
            }
        }
    }

    /// The states that any connection has left, with the times, of the client's end and then of the server's, each in the order of a
    /// life.
    pub(super) fn all(&self) -> impl Iterator<Item = (Role, State, &Distribution<u32>)> {
        let client =
            State::TIMED.into_iter().zip(&self.client).map(|(state, times)| (Role::Client, state, times));
        let server =
            State::TIMED.into_iter().zip(&self.server).map(|(state, times)| (Role::Server, state, times));
        client.chain(server).filter_map(|(role, state, times)| Some((role, state, &**times.as_ref()?)))
    }
}
