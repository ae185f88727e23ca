//! The choice of tunnels that are looked into.

use crate::{tunnel::TunnelProtocol, wire::Load};

/// How many words a [`Decap`] has.
pub const DECAP_WORDS: usize = 1 + MAX_PORTS;
/// The most UDP ports at which tunnels are looked for.
pub const MAX_PORTS: usize = 12;

/// The choice of tunnels that are looked into. It is made of words, which the kernel programs have as constants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decap {
    /// The first word has a bit for each kind. Each of the others has a UDP port as it lies on the wire in its upper
    /// half, and the kind of tunnel at that port in the lower one; 0 is no port.
    words: [u32; DECAP_WORDS],
}

impl Decap {
    /// No tunnels.
    pub const NONE: Self = Self { words: [0; DECAP_WORDS] };

    /// Tunnels of all kinds, at their usual ports.
    #[must_use]
    pub fn all() -> Self {
        TunnelProtocol::ALL.into_iter().fold(Self::NONE, Self::with)
    }

    /// Adds tunnels of this kind, at its usual ports.
    #[must_use]
    pub fn with(self, kind: TunnelProtocol) -> Self {
        let known = Self { words: self.words }.of_kind(kind);
        kind.usual_ports().iter().fold(known, |decap, &port| decap.with_port(kind, port).unwrap_or(decap))
    }

    /// Adds tunnels of this kind at this UDP port; `None` if there are too many ports, or another kind has the port.
    #[must_use]
    pub fn with_port(self, kind: TunnelProtocol, port: u16) -> Option<Self> {
        let mut decap = self.of_kind(kind);
        let port = u32::from(port.to_be()) << 16;
        let word = port | u32::from(kind as u8);
        let place = decap.words[1..].iter().position(|&known| known == 0 || known & 0xffff_0000 == port)?;
        let place = &mut decap.words[1 + place];
        if *place != 0 && *place != word {
            return None;
        }
        *place = word;
        Some(decap)
    }

    const fn of_kind(mut self, kind: TunnelProtocol) -> Self {
        self.words[0] |= kind.bit();
        self
    }

    /// Whether no tunnels are looked into.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.words[0] == 0
    }

    /// Whether tunnels of this kind are looked into.
    #[must_use]
    pub const fn contains(&self, kind: TunnelProtocol) -> bool {
        self.words[0] & kind.bit() != 0
    }

    /// The UDP ports at which tunnels of this kind are looked for, in the order in which they were added.
    pub fn ports(&self, kind: TunnelProtocol) -> impl Iterator<Item = u16> + '_ {
        let of_kind = move |word: &&u32| **word != 0 && **word & 0xffff == kind as u32;
        self.words[1..].iter().filter(of_kind).map(|word| u16::from_be((word >> 16) as u16))
    }

    /// The words that the kernel programs have as constants.
    #[must_use]
    pub const fn words(&self) -> &[u32; DECAP_WORDS] {
        &self.words
    }
}

/// The bytes of a packet, with the choice of tunnels that are looked into.
#[derive(Clone, Copy, Debug)]
pub struct Deep<'a, L> {
    /// The bytes of the packet.
    pub packet: L,
    /// The tunnels that are looked into.
    pub decap: &'a Decap,
}

impl<L: Load> Load for Deep<'_, L> {
    const RARE: bool = L::RARE;

    type Header<const N: usize> = L::Header<N>;

    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<L::Header<N>> {
        self.packet.load(offset)
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        self.packet.wire_len()
    }

    #[inline(always)]
    fn forget(&self, n: usize) -> usize {
        self.packet.forget(n)
    }

    #[inline(always)]
    fn decap(&self, place: usize) -> u32 {
        self.decap.words.get(place).copied().unwrap_or(0)
    }
}
