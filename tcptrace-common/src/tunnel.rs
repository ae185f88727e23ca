//! The kinds of tunnels.

/// A kind of tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum TunnelProtocol {
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

impl TunnelProtocol {
    /// How many kinds there are.
    pub const COUNT: usize = 9;

    /// All kinds, in the order of [`TunnelProtocol::index`].
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

    /// The index of this kind in the counters by kind.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize - 1
    }

    /// The name of this kind, as `--decap` and the events have it.
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

    /// The UDP ports at which tunnels of this kind are looked for unless others are given.
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
            // The port is registered nowhere. Wireshark (packet-tzsp.c) and RouterOS use it.
            Self::Tzsp => &[37008],
            _ => &[],
        }
    }

    /// Whether the outer addresses tell tunnels of this kind apart. Those of VXLAN and Geneve do not: in a fabric the
    /// other direction may come by another end point.
    #[inline(always)]
    #[must_use]
    pub const fn is_by_addresses(self) -> bool {
        !matches!(self, Self::Vxlan | Self::Geneve)
    }

    /// Whether the identifier in the header tells tunnels of this kind apart. That of GTP-U does not: the receiver
    /// chooses it, so that each direction has its own.
    #[inline(always)]
    #[must_use]
    pub const fn is_by_id(self) -> bool {
        !matches!(self, Self::GtpU)
    }

    #[inline(always)]
    pub(crate) const fn bit(self) -> u32 {
        1 << self as u32
    }
}
