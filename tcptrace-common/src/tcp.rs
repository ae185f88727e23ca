//! Values of the TCP header that the kernel programs and user space both name: the control bits, and the options that
//! events report.

use core::fmt::{self, Write as _};

/// The control bits of RFC 9293 §3.1, with AE (RFC 9768) above them: bit 0 is FIN, bit 8 is AE.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
#[repr(transparent)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct TcpFlags(pub u16);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x001);
    /// Synchronize sequence numbers.
    pub const SYN: Self = Self(0x002);
    /// Reset the connection.
    pub const RST: Self = Self(0x004);
    /// Push function.
    pub const PSH: Self = Self(0x008);
    /// The acknowledgement number is significant.
    pub const ACK: Self = Self(0x010);
    /// The urgent pointer is significant.
    pub const URG: Self = Self(0x020);
    /// ECN echo (RFC 3168).
    pub const ECE: Self = Self(0x040);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: Self = Self(0x080);
    /// Accurate ECN (RFC 9768), once NS.
    pub const AE: Self = Self(0x100);

    /// The bits with tcpdump's letters, in tcpdump's order (print-tcp.c, `tcp_flag_values`).
    const LETTERS: [(Self, char); 9] = [
        (Self::FIN, 'F'),
        (Self::SYN, 'S'),
        (Self::RST, 'R'),
        (Self::PSH, 'P'),
        (Self::ACK, '.'),
        (Self::URG, 'U'),
        (Self::ECE, 'E'),
        (Self::CWR, 'W'),
        (Self::AE, 'e'),
    ];

    /// The bit that is printed as this letter; `None` if none is.
    #[must_use]
    pub fn from_letter(letter: char) -> Option<Self> {
        Self::LETTERS.into_iter().find(|(_, known)| *known == letter).map(|(bit, _)| bit)
    }

    /// Whether all bits of `other` are set in `self`.
    #[inline(always)]
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any bit of `other` is set in `self`.
    #[inline(always)]
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The bits that are set in `self` or `other`.
    #[inline(always)]
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether SYN is set.
    #[inline(always)]
    #[must_use]
    pub const fn syn(self) -> bool {
        self.contains(Self::SYN)
    }

    /// Whether ACK is set.
    #[inline(always)]
    #[must_use]
    pub const fn ack(self) -> bool {
        self.contains(Self::ACK)
    }

    /// Whether FIN is set.
    #[inline(always)]
    #[must_use]
    pub const fn fin(self) -> bool {
        self.contains(Self::FIN)
    }

    /// Whether RST is set.
    #[inline(always)]
    #[must_use]
    pub const fn rst(self) -> bool {
        self.contains(Self::RST)
    }
}

/// Shows the letters of all bits that are set, or `none` if no bit is.
impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 & 0x1ff == 0 {
            return f.write_str("none");
        }
        for (bit, letter) in Self::LETTERS {
            if self.contains(bit) {
                f.write_char(letter)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The largest window that a SYN or SYN-ACK can offer, in octets: it is never scaled (RFC 7323 §2.2). Data can reach
/// this far before the handshake is complete. The number is signed, as distances are.
pub const UNSCALED_WINDOW: i32 = 65_535;

/// The options of a SYN or SYN-ACK that the events report. An option of the wrong length counts as absent,
/// as Linux treats it (`tcp_parse_options` in `net/ipv4/tcp_input.c`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is the presence of one option on the wire")]
pub struct TcpOptions {
    /// Maximum segment size in octets (RFC 9293 §3.7.1).
    pub mss: Option<u16>,
    /// Window scale shift count as sent, 0 to 255 on the wire, at most 14 by RFC 7323 §2.3.
    pub window_scale: Option<u8>,
    /// SACK permitted (RFC 2018).
    pub sack_permitted: bool,
    /// Timestamps (RFC 7323 §3).
    pub timestamps: bool,
    /// TCP Fast Open, a cookie or a request for one (RFC 7413), the experimental kind 254 included.
    pub fast_open: bool,
    /// Multipath TCP of any subtype (RFC 8684).
    pub mptcp: bool,
    /// Whether the list goes on beyond what was captured, so that options that are not found here may have been sent
    /// all the same.
    pub cut: bool,
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::TcpFlags;
    use std::string::ToString;

    #[test]
    fn flags_print_as_tcpdump_prints_them() {
        for (bits, text) in [
            (0x002, "S"),
            (0x012, "S."),
            (0x011, "F."),
            (0x019, "FP."),
            (0x014, "R."),
            (0x0c2, "SEW"),
            (0x029, "FPU"),
            (0x1c2, "SEWe"),
            (0, "none"),
        ] {
            assert_eq!(TcpFlags(bits).to_string(), text);
        }
    }
}
