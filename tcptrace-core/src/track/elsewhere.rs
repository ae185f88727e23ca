//! Where a SYN that got no answer under its own address was answered: address translation (a service address, a port that is
//! forwarded, a hairpin) gives the server another address and keeps the client's port and initial sequence number.

use super::conn::{Conn, clocks::Moment};
use crate::event::Role;
use tcptrace_common::seq::SeqNum;

/// Address and port.
type End = ([u8; 16], u16);

/// A SYN, by what translation of the server's address keeps, and the server that answered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    client: End,
    isn: SeqNum,
    ipv6: bool,
    server: End,
}

/// The SYNs that were answered of late. Each has one place, and one that comes later takes it: a hint that is lost is no wrong
/// story.
#[derive(Debug, Default)]
pub(crate) struct Answers(Vec<Option<Answer>>);

impl Answers {
    /// A power of two.
    const PLACES: usize = 4096;

    /// The server of `conn` answered its SYN.
    pub(super) fn add(&mut self, conn: &Conn) {
        let answered = conn.at(Moment::FirstSynack).get().is_some();
        let Some(answer) = of(conn).filter(|_| answered) else { return };
        if self.0.is_empty() {
            self.0.resize(Self::PLACES, None);
        }
        self.0[place(&answer)] = Some(answer);
    }

    /// The other server that answered the SYN of `conn`, which its own did not.
    pub(crate) fn elsewhere(&self, conn: &Conn) -> Option<End> {
        if self.0.is_empty() || conn.at(Moment::FirstSynack).get().is_some() {
            return None;
        }
        let unanswered = of(conn)?;
        let answer = self.0[place(&unanswered)]?;
        let server = answer.server;
        (server != unanswered.server && Answer { server: unanswered.server, ..answer } == unanswered)
            .then_some(server)
    }
}

fn of(conn: &Conn) -> Option<Answer> {
    let isn = conn.side(Role::Client).isn()?;
    let [client, server] = conn.ends();
    Some(Answer { client, isn, ipv6: conn.key.ipv6(), server })
}

/// Initial sequence numbers are spread evenly (RFC 6528), but for stacks that always begin with the same.
fn place(answer: &Answer) -> usize {
    let mixed = answer.isn.0.wrapping_add(u32::from(answer.client.1)).wrapping_mul(0x9e37_79b1);
    mixed as usize >> 20 & (Answers::PLACES - 1)
}
