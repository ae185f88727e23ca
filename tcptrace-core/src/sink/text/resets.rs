//! Resets that somebody sent in another's name, in words.

use super::details::{Details, role};
use crate::{
    event::{Connection, DoubtfulReset, Role},
    sink::units::Nanos,
};
use std::fmt;

/// Who seems to have sent the reset that ended it, and which resets changed nothing.
pub(super) fn doubtful(event: &Connection, details: &mut Details<'_>) -> fmt::Result {
    if let Some(reset) = &event.reset_by_another {
        let name = role(reset.sender);
        details.add(format_args!(
            "which went on after it: somebody else reset it in the {name}'s name{}",
            Ttls(reset)
        ))?;
    }
    for sender in [Role::Client, Role::Server] {
        // Those that answer a SYN with a wrong number are told of with that number.
        let told = |reset: &&DoubtfulReset| event.wrong_answers.is_some() && reset.sender_ttl.is_none();
        let of_it = |reset: &&DoubtfulReset| reset.sender == sender;
        let mut resets = event.resets_ignored.iter().filter(of_it).filter(|reset| !told(reset));
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

/// The TTL of a reset beside that of the endpoint itself.
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
