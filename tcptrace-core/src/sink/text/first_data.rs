//! How long the first answer took, and who was asked.

use super::details::Details;
use crate::{
    event::{Connection, FirstData},
    sink::units::{Nanos, plain},
};
use std::fmt;

/// Writes how long after the request the answer began, and how much of that was the server's time where the network had a part
/// in it; or that the server spoke first.
pub(super) fn first_data(event: &Connection, details: &mut Details<'_>) -> fmt::Result {
    let FirstData { first_response_ns, first_response_server_ns, server_spoke_first, .. } = event.first_data;
    if let Some(name) = event.first_data.asked_for() {
        details.add(format_args!("asked for {}", plain(name)))?;
    }
    match first_response_ns {
        Some(ns) => {
            details.add(format_args!("first answer {} after the request", Nanos(ns)))?;
            match first_response_server_ns.filter(|of_server| *of_server < ns) {
                Some(ns) => details.more(format_args!(" (server {})", Nanos(ns))),
                None => Ok(()),
            }
        }
        None if server_spoke_first == Some(true) => details.add(format_args!("server spoke first")),
        None => Ok(()),
    }
}
