//! Which other server answered a SYN that its own server did not answer. Address translation (a service address, a
//! forwarded port, a hairpin) gives the server another address and keeps the client's port and initial sequence number.

use super::conn::{Conn, times::Moment};
use crate::event::Role;
use tcptrace_common::seq::SeqNum;

/// The address and port of one end.
type End = ([u8; 16], u16);

/// A SYN, by the parts that translation of the server's address keeps, and the server that answered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AnsweredSyn {
    client: End,
    isn: SeqNum,
    ipv6: bool,
    server: End,
}

/// The SYNs that were answered of late, in a table where a later one can replace an earlier one: a hint that is lost
/// makes no report wrong.
#[derive(Debug, Default)]
pub(crate) struct AnsweredSyns(Vec<Option<AnsweredSyn>>);

impl AnsweredSyns {
    /// The size of the table, a power of two.
    const SLOTS: usize = 4096;

    /// Remembers the SYN of `conn`, if its server answered it.
    pub(super) fn add(&mut self, conn: &Conn) {
        let answered = conn.at(Moment::FirstSynack).get().is_some();
        let Some(answer) = of(conn).filter(|_| answered) else { return };
        if self.0.is_empty() {
            self.0.resize(Self::SLOTS, None);
        }
        self.0[index_of(&answer)] = Some(answer);
    }

    /// The other server that answered the SYN of `conn`; `None` if its own server did, or none is known.
    pub(crate) fn elsewhere(&self, conn: &Conn) -> Option<End> {
        if self.0.is_empty() || conn.at(Moment::FirstSynack).get().is_some() {
            return None;
        }
        let unanswered = of(conn)?;
        let answer = self.0[index_of(&unanswered)]?;
        let server = answer.server;
        (server != unanswered.server && AnsweredSyn { server: unanswered.server, ..answer } == unanswered)
            .then_some(server)
    }
}

fn of(conn: &Conn) -> Option<AnsweredSyn> {
    let isn = conn.side(Role::Client).isn()?;
    let [client, server] = conn.ends();
    Some(AnsweredSyn { client, isn, ipv6: conn.key.ipv6(), server })
}

/// The index of a SYN in the table. Initial sequence numbers are spread evenly (RFC 6528), but for stacks that always
/// begin with the same one, so the client's port is mixed in.
fn index_of(answer: &AnsweredSyn) -> usize {
    let mixed = answer.isn.0.wrapping_add(u32::from(answer.client.1)).wrapping_mul(0x9e37_79b1);
    mixed as usize >> 20 & (AnsweredSyns::SLOTS - 1)
}
