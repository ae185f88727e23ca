//! Which kinds of tunnels there are, and which of them are looked into.

use crate::wire::Load;

/// A kind of tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// IPv4 in IPv4 (RFC 2003), IPv6 in IPv6 (RFC 2473).
    Ipip = 1,
    /// IPv6 in IPv4 (RFC 4213 §3).
    SixInFour = 2,
    /// IPv4 in IPv6 (RFC 2473).
    FourInSix = 3,
    /// GRE, version 0 (RFC 2784, RFC 2890), also in UDP (RFC 8086); and the Ethernet in it of `MikroTik`.
    Gre = 4,
    /// ERSPAN types I, II and III, in GRE (draft-foschiano-erspan-03).
    Erspan = 5,
    /// VXLAN (RFC 7348), with a next protocol too (draft-ietf-nvo3-vxlan-gpe-12).
    Vxlan = 6,
    /// Geneve (RFC 8926).
    Geneve = 7,
    /// GTP-U, version 1, user packets (3GPP TS 29.281).
    GtpU = 8,
    /// TZSP, version 1, received Ethernet frames (Network Chemistry's application note 001).
    Tzsp = 9,
}

impl Kind {
    /// How many there are.
    pub const COUNT: usize = 9;

    /// All, in the order of [`Kind::index`].
    pub const ALL: [Self; Self::COUNT] = [
        Self::Ipip,
        Self::SixInFour,
        Self::FourInSix,
        Self::Gre,
        Self::Erspan,
        Self::Vxlan,
        Self::Geneve,
        Self::GtpU,
        Self::Tzsp,
    ];

    /// The kind that a code stands for.
    #[inline(always)]
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Ipip),
            2 => Some(Self::SixInFour),
            3 => Some(Self::FourInSix),
            4 => Some(Self::Gre),
            5 => Some(Self::Erspan),
            6 => Some(Self::Vxlan),
            7 => Some(Self::Geneve),
            8 => Some(Self::GtpU),
            9 => Some(Self::Tzsp),
            _ => None,
        }
    }

    /// Its place in the counters by kind.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize - 1
    }

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipip => "ipip",
            Self::SixInFour => "6in4",
            Self::FourInSix => "4in6",
            Self::Gre => "gre",
            Self::Erspan => "erspan",
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::GtpU => "gtpu",
            Self::Tzsp => "tzsp",
        }
    }

    /// The UDP ports that it is looked for at without being told.
    #[must_use]
    pub const fn usual_ports(self) -> &'static [u16] {
        match self {
            // RFC 8086 §8
            Self::Gre => &[4754],
            // RFC 7348 §8, and what Linux used before it.
            Self::Vxlan => &[4789, 8472],
            // RFC 8926 §7
            Self::Geneve => &[6081],
            // TS 29.281 §4.4.2
            Self::GtpU => &[2152],
            // Registered nowhere; as packet-tzsp.c of Wireshark has it, and RouterOS.
            Self::Tzsp => &[37008],
            _ => &[],
        }
    }

    /// The outer addresses tell tunnels of this kind apart. Those of VXLAN and Geneve do not: in a fabric the other
    /// direction may come by another end point.
    #[inline(always)]
    #[must_use]
    pub const fn is_by_addresses(self) -> bool {
        !matches!(self, Self::Vxlan | Self::Geneve)
    }

    /// The identifier in the header tells tunnels of this kind apart. That of GTP-U is chosen by the receiver, so that
    /// each direction has its own.
    #[inline(always)]
    #[must_use]
    pub const fn is_by_id(self) -> bool {
        !matches!(self, Self::GtpU)
    }

    #[inline(always)]
    pub(super) const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Words of a [`Decap`].
pub const DECAP_WORDS: usize = 1 + MAX_PORTS;
/// UDP ports at most.
pub const MAX_PORTS: usize = 12;

/// Which tunnels are looked into. It is words, so that the kernel programs have it as constants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decap {
    /// First the kinds, a bit for each. Then UDP ports, each as it lies on the wire in the upper half and its kind in the
    /// lower one; 0 is none.
    words: [u32; DECAP_WORDS],
}

impl Decap {
    /// None.
    pub const NONE: Self = Self { words: [0; DECAP_WORDS] };

    /// All kinds, at their usual ports.
    #[must_use]
    pub fn all() -> Self {
        Kind::ALL.into_iter().fold(Self::NONE, Self::with)
    }

    /// This kind too, at its usual ports.
    #[must_use]
    pub fn with(self, kind: Kind) -> Self {
        let known = Self { words: self.words }.of_kind(kind);
        kind.usual_ports().iter().fold(known, |decap, &port| decap.with_port(kind, port).unwrap_or(decap))
    }

    /// This kind too, at this UDP port alone; `None` if there are too many ports, or another kind has it.
    #[must_use]
    pub fn with_port(self, kind: Kind, port: u16) -> Option<Self> {
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

    const fn of_kind(mut self, kind: Kind) -> Self {
        self.words[0] |= kind.bit();
        self
    }

    /// None at all.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.words[0] == 0
    }

    /// Tunnels of this kind are looked into.
    #[must_use]
    pub const fn contains(&self, kind: Kind) -> bool {
        self.words[0] & kind.bit() != 0
    }

    /// The UDP ports that those of this kind are looked for at, in the order in which they were given.
    pub fn ports(&self, kind: Kind) -> impl Iterator<Item = u16> + '_ {
        let of_kind = move |word: &&u32| **word != 0 && **word & 0xffff == kind as u32;
        self.words[1..].iter().filter(of_kind).map(|word| u16::from_be((word >> 16) as u16))
    }

    /// As the kernel programs have it.
    #[must_use]
    pub const fn words(&self) -> &[u32; DECAP_WORDS] {
        &self.words
    }
}

/// Bytes that are looked into as a [`Decap`] says.
#[derive(Clone, Copy, Debug)]
pub struct Deep<'a, L> {
    /// The bytes.
    pub packet: L,
    /// How.
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
