//! Where a connection was seen: on which side of it the capture point stands, and in which tunnels.

use super::{Conn, index, peer};
use crate::{
    event::{Role, Vantage},
    segment::{Segment, Sender},
    tunnel::Layer,
};
use tcptrace_common::wire::tunnel::TunnelProtocol;

/// The tunnels in which a connection was captured, outer first.
#[derive(Clone, Debug)]
pub(crate) struct Tunnels(pub(crate) Vec<Tunnel>);

/// One tunnel of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tunnel {
    pub(crate) kind: TunnelProtocol,
    /// The identifiers that the client's packets have, and the server's.
    pub(crate) ids: [Option<u32>; 2],
    /// The outer addresses on the client's side and on the server's side.
    pub(crate) ends: [[u8; 16]; 2],
    pub(crate) vlan: [u16; 2],
}

impl Tunnel {
    fn new(layer: &Layer, sender: Role) -> Self {
        let mut tunnel = Self { kind: layer.kind, ids: [None; 2], ends: [[0; 16]; 2], vlan: layer.vlan };
        tunnel.ends[index(sender)] = layer.src;
        tunnel.ends[index(peer(sender))] = layer.dst;
        tunnel
    }
}

impl Conn {
    /// Records on which side of the capture point `sender` of `seg` is, in which tunnels it came, and from which socket.
    pub(crate) fn record_where_seen(&mut self, sender: Role, seg: &Segment) {
        self.record_vantage(sender, seg.sender);
        self.record_tunnels(sender, seg.encapsulation.as_deref());
        self.record_socket(sender, seg);
    }

    /// Sets the vantage by the first segment whose sender is known to be this host's stack or its peer
    /// (docs/states-and-times.md).
    pub(crate) fn record_vantage(&mut self, sender: Role, from: Sender) {
        let ours = match from {
            Sender::Here => sender,
            Sender::There => peer(sender),
            Sender::Unknown => return,
        };
        self.vantage.get_or_insert(match ours {
            Role::Client => Vantage::Client,
            Role::Server => Vantage::Server,
        });
    }

    /// Records the tunnels of a packet from the side of `sender`. Those of the first packet count; of later packets
    /// only identifiers are added that their direction has of its own.
    pub(crate) fn record_tunnels(&mut self, sender: Role, layers: Option<&[Layer]>) {
        let Some(layers) = layers else { return };
        let known = self.teardown_mut().tunnels.get_or_insert_with(|| {
            Box::new(Tunnels(layers.iter().map(|layer| Tunnel::new(layer, sender)).collect()))
        });
        for (tunnel, layer) in known.0.iter_mut().zip(layers) {
            let id = &mut tunnel.ids[index(sender)];
            *id = id.or(layer.id);
        }
    }
}
