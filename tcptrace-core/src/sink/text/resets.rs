//! RSTs that somebody else seems to have sent in the name of an endpoint, in words.

use super::details::{Details, role};
use crate::{
    event::{Connection, DoubtfulReset, Role},
    sink::units::Nanos,
};
use std::fmt;

/// Writes who seems to have sent the RST that ended the connection, and which RSTs had no effect.
pub(super) fn doubtful(event: &Connection, details: &mut Details<'_>) -> fmt::Result {
    if let Some(reset) = &event.reset_by_another {
        let name = role(reset.sender);
        details.add(format_args!(
            "which went on after it: somebody else reset it in the {name}'s name{}",
            Ttls(reset)
        ))?;
    }
    for sender in [Role::Client, Role::Server] {
        // RSTs that answer a SYN with a wrong acknowledgement number are written about with that number.
        let in_wrong_answers =
            |reset: &&DoubtfulReset| event.wrong_answers.is_some() && reset.sender_ttl.is_none();
        let of_it = |reset: &&DoubtfulReset| reset.sender == sender;
        let mut resets = event.resets_ignored.iter().filter(of_it).filter(|reset| !in_wrong_answers(reset));
        let Some(first) = resets.next() else { continue };
        let name = role(sender);
        let after = first.ts.since(event.start);
        let count = 1 + resets.count();
        let many = if count == 1 { String::new() } else { format!("{count} ") };
        let plural = if count == 1 { "RST" } else { "RSTs, the first" };
        let did = if first.sender_ttl.is_some() { "which went on" } else { "without effect" };
        details.add(format_args!(
            "{many}{plural} in the {name}'s name after {}{}, {did}",
            Nanos(after),
            Ttls(first)
        ))?;
    }
    Ok(())
}

/// The TTL of a RST, beside the TTL of the endpoint itself where that is known.
struct Ttls<'a>(&'a DoubtfulReset);

impl fmt::Display for Ttls<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(DoubtfulReset { ttl, sender_ttl, sender, .. }) = self;
        match sender_ttl {
            Some(own) => write!(f, " (TTL {ttl}, the {}'s {own})", role(*sender)),
            None => write!(f, " (TTL {ttl})"),
        }
    }
}
