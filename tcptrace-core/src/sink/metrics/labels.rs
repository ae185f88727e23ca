//! The labels of what is kept of connections. No address of a client, no process and no client's port is ever one.

use crate::event::{Cgroup, Common, Connection, Established, Vantage};
use prometheus_client::encoding::{EncodeLabel as _, EncodeLabelSet, LabelSetEncoder};
use std::{borrow::Cow, fmt, sync::Arc};

/// What stands for labels that have no series of their own.
const OTHER: &str = "other";
/// What stands for the server's port where the ends were told apart by a guess: it may be the client's.
const UNKNOWN: &str = "unknown";

/// The labels of a series.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Labels {
    /// The labels of connections that have series of their own.
    Own {
        /// The name of the interface.
        interface: Arc<str>,
        /// The role of this host.
        role: Vantage,
        /// The port of the server; `None` where it is only guessed who is the server.
        server_port: Option<u16>,
        /// The systemd unit of this host's end, on loopback of the server's.
        unit: Option<Arc<str>>,
    },
    /// The labels of all other connections in which this host has a role.
    Other(Vantage),
}

impl Labels {
    pub(super) const fn role(&self) -> Vantage {
        match *self {
            Self::Own { role, .. } | Self::Other(role) => role,
        }
    }
}

pub(super) fn of_established(event: &Established) -> Labels {
    let cgroups = [event.client_cgroup.as_ref(), event.server_cgroup.as_ref()];
    of(&event.common, Some(event.common.server.port), cgroups)
}

pub(super) fn of_connection(event: &Connection) -> Labels {
    let port = (!event.direction_inferred).then_some(event.common.server.port);
    of(&event.common, port, [event.client_cgroup.as_ref(), event.server_cgroup.as_ref()])
}

fn of(common: &Common, server_port: Option<u16>, [client, server]: [Option<&Cgroup>; 2]) -> Labels {
    let cgroup = match common.vantage {
        Vantage::Client => client,
        Vantage::Server => server,
        Vantage::Middle => server.or(client),
    };
    let unit = cgroup.and_then(|cgroup| cgroup.unit.clone());
    Labels::Own { interface: Arc::clone(&common.interface), role: common.vantage, server_port, unit }
}

impl EncodeLabelSet for Labels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let (interface, port, unit) = match self {
            Self::Own { interface, server_port, unit, .. } => {
                let port = server_port.map_or(Cow::Borrowed(UNKNOWN), |port| port.to_string().into());
                (&**interface, port, unit.as_deref().unwrap_or_default())
            }
            Self::Other(_) => (OTHER, OTHER.into(), OTHER),
        };
        ("interface", interface).encode(encoder.encode_label())?;
        ("role", self.role().json_name()).encode(encoder.encode_label())?;
        ("server_port", port).encode(encoder.encode_label())?;
        ("unit", unit).encode(encoder.encode_label())
    }
}

/// The labels of a series with one more, or one label alone.
pub(super) struct With<'a>(pub(super) Option<&'a Labels>, pub(super) &'static str, pub(super) &'static str);

impl EncodeLabelSet for With<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let Self(labels, key, value) = *self;
        if let Some(labels) = labels {
            labels.encode(encoder)?;
        }
        (key, value).encode(encoder.encode_label())
    }
}
