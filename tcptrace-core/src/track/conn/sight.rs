//! Where a connection was seen: on which side of it the capture point stands, and in which tunnels.

use super::{Conn, index, peer};
use crate::{
    event::{Role, Vantage},
    segment::{Segment, Sender},
    tunnel::Layer,
};
use tcptrace_common::wire::tunnel::Kind;

/// The tunnels of a connection, outer first.
#[derive(Clone, Debug)]
pub(crate) struct Tunnels(pub(crate) Vec<Tunnel>);

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tunnel {
    pub(crate) kind: Kind,
    /// By who sends: the client, the server.
    pub(crate) ids: [Option<u32>; 2],
    /// The outer addresses on the client's and on the server's side.
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
    /// A segment of `sender` passed.
    pub(crate) fn note_sight(&mut self, sender: Role, seg: &Segment) {
        self.note_vantage(sender, seg.sender);
        self.note_tunnels(sender, seg.encapsulation.as_deref());
    }

    /// On an egress hook the sender is ours, on an ingress hook its peer is (docs/states-and-times.md).
    pub(crate) fn note_vantage(&mut self, sender: Role, from: Sender) {
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

    /// A packet from the side of `sender` was in these tunnels. The first of them counts, but for identifiers that the
    /// other direction has of its own.
    pub(crate) fn note_tunnels(&mut self, sender: Role, layers: Option<&[Layer]>) {
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
