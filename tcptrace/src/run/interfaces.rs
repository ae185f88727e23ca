//! The list of interfaces that `-D` prints.

use super::RunError;
use crate::{
    kernel::{
        interfaces::{self, Interface},
        namespaces::{self, AllInterfaces, Namespaces, Netns},
    },
    sink::units::plain,
    source::live::LiveError,
    stderr,
};
use std::fmt::Write as _;

/// Lists the interfaces of one or of all network namespaces as `-D` prints them, a line for each.
pub fn list(netns: &Namespaces) -> Result<String, RunError> {
    let mut out = String::new();
    for it in listed(netns)? {
        let state = if it.up { "up" } else { "down" };
        // An interface that is down is not marked: it can be traced once it is up.
        let note = if it.is_of_a_traced_kind() { "" } else { ", cannot be traced" };
        let also = it.other_names.iter().flat_map(|name| [", also ", name]).collect::<String>();
        let (name, also) = (plain(&it.name), plain(&also));
        // A String takes everything.
        let _ = writeln!(out, "{}\t{name}\t{state}, {}{note}{also}", it.index, it.link);
    }
    Ok(out)
}

fn listed(netns: &Namespaces) -> Result<Vec<Interface>, LiveError> {
    let of_one = |name| Netns::open(name)?.within(interfaces::list).map_err(LiveError::from);
    match netns {
        Namespaces::Own => Ok(of_one(None)??),
        Namespaces::Named(name) => Ok(of_one(Some(name))??),
        Namespaces::All => {
            let AllInterfaces { interfaces, left_out } = namespaces::interfaces()?;
            for (netns, why) in left_out {
                stderr::say(format_args!("network namespace {netns} is not listed: {why}"));
            }
            Ok(interfaces)
        }
    }
}
