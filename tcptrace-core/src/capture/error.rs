//! What can be wrong with a capture file, each in one line that says where, what, and what to do.

use std::{fmt, io};
use thiserror::Error;

/// Why a file could not be read, or not to its end. Everything before the place was delivered.
#[derive(Debug, Error)]
pub enum FileError {
    /// The system refused to open it.
    #[error("cannot open {name}: {source}")]
    Open {
        /// The file.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The system stopped delivering it.
    #[error("cannot read {name} ({place}): {source}")]
    Read {
        /// The file.
        name: String,
        /// How far it was read.
        place: Place,
        /// Why.
        source: io::Error,
    },
    /// There is nothing in it.
    #[error(
        "{name} is empty: a capture has at least a file header; was the capture stopped before it began?"
    )]
    Empty {
        /// The file.
        name: String,
    },
    /// It is something else.
    #[error("{name} is no pcap or pcapng capture but {format}; {}", format.advice())]
    Foreign {
        /// The file.
        name: String,
        /// What it is.
        format: Foreign,
    },
    /// A version of the format that nothing is known about.
    #[error(
        "{name} is {format} of version {major}.{minor} ({place}), which is not known; convert it with `editcap`"
    )]
    Version {
        /// The file.
        name: String,
        /// `pcap` or `a pcapng section`.
        format: &'static str,
        /// The version it claims.
        major: u16,
        /// Likewise.
        minor: u16,
        /// Where.
        place: Place,
    },
    /// It ends within something.
    #[error("{name} is cut short within {part} ({place}); what came before was read")]
    Truncated {
        /// The file.
        name: String,
        /// What it ends within.
        part: &'static str,
        /// Where that began.
        place: Place,
    },
    /// It contradicts itself.
    #[error("{name} is damaged ({place}): {damage}; what came before was read")]
    Damaged {
        /// The file.
        name: String,
        /// Where.
        place: Place,
        /// How.
        damage: Damage,
    },
}

/// A place in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Bytes from its beginning, counted after decompression.
    pub offset: u64,
    /// The file is compressed, so that `offset` is not one into the file itself.
    pub compressed: bool,
    /// Packets before it.
    pub packets: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = if self.compressed { " of the decompressed data" } else { "" };
        let plural = if self.packets == 1 { "" } else { "s" };
        write!(f, "at byte {}{of}, after {} packet{plural}", self.offset, self.packets)
    }
}

/// How a file contradicts itself.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Damage {
    /// More than anything captures.
    #[error("a packet of {0} bytes, more than any capture has ({max})", max = super::MAX_PACKET)]
    PacketTooLong(u32),
    /// A block that cannot hold what it must.
    #[error("{block} of {len} bytes is too short for what it holds")]
    BlockTooShort {
        /// Its kind.
        block: &'static str,
        /// Its length.
        len: u32,
    },
    /// A block longer than any that has to be looked into.
    #[error("{block} of {len} bytes, more than any has")]
    BlockTooLong {
        /// Its kind.
        block: &'static str,
        /// Its length.
        len: u32,
    },
    /// Blocks are padded to words of four bytes.
    #[error("a block of {0} bytes, which is no multiple of 4")]
    BlockUnaligned(u32),
    /// The length at the end of a block is not that at its beginning.
    #[error("a block of {first} bytes ends with the length {last}")]
    BlockLengths {
        /// At its beginning.
        first: u32,
        /// At its end.
        last: u32,
    },
    /// A section header with no byte-order magic.
    #[error("a section without a byte order (its magic is {0:#010x})")]
    ByteOrder(u32),
    /// A packet of an interface that was not described.
    #[error("a packet of interface {interface}, but the section has {known}")]
    NoInterface {
        /// The one it names.
        interface: u32,
        /// How many the section described so far.
        known: usize,
    },
    /// More interfaces than a file can be meant to have.
    #[error("more than {0} interfaces")]
    TooManyInterfaces(usize),
    /// An option that does not fit its block, or its own kind.
    #[error("an interface option {code} of {len} bytes, which cannot be")]
    Option {
        /// Its code.
        code: u16,
        /// Its length.
        len: u16,
    },
    /// The compressed data is not what the format says.
    #[error("the compressed data is broken: {0}")]
    Compression(String),
}

/// Formats that look like captures to people, or are what people pass by mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Foreign {
    /// Solaris' snoop (RFC 1761).
    Snoop,
    /// Bluetooth snoop.
    Btsnoop,
    /// AIX.
    Iptrace,
    /// Microsoft Network Monitor.
    NetworkMonitor,
    /// Network Associates' Sniffer for DOS or for Windows.
    Sniffer,
    /// HP-UX.
    Nettl,
    /// Endace's ERF.
    Erf,
    /// IXIA's `lcap`.
    Ixia,
    /// JSON, this program's own output perhaps.
    Json,
    /// Something written for people.
    Text,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
    /// LZ4.
    Lz4,
    /// A ZIP archive.
    Zip,
    /// None of these.
    Unknown,
}

impl Foreign {
    /// What a file is that begins with `start`.
    #[must_use]
    pub fn recognize(start: &[u8]) -> Self {
        const MAGICS: [(&[u8], Foreign); 17] = [
            (b"snoop\0\0\0", Foreign::Snoop),
            (b"btsnoop\0", Foreign::Btsnoop),
            (b"iptrace ", Foreign::Iptrace),
            (b"GMBU", Foreign::NetworkMonitor),
            (b"RTSS", Foreign::NetworkMonitor),
            (b"XCP\0", Foreign::Sniffer),
            (b"TRSNIFF data", Foreign::Sniffer),
            (b"\x54\x52\0\x64\0", Foreign::Nettl),
            (b"\x1c\0\x01\xab", Foreign::Ixia),
            (b"\x1c\0\x01\xac", Foreign::Ixia),
            (b"\xab\x01\0\x1c", Foreign::Ixia),
            (b"\xac\x01\0\x1c", Foreign::Ixia),
            (b"BZh", Foreign::Bzip2),
            (b"\xfd7zXZ\0", Foreign::Xz),
            (b"\x04\x22\x4d\x18", Foreign::Lz4),
            (b"PK\x03\x04", Foreign::Zip),
            (b"{\"", Foreign::Json),
        ];
        if let Some((_, format)) = MAGICS.iter().find(|(magic, _)| start.starts_with(magic)) {
            *format
        } else if is_text(start) {
            Self::Text
        } else if is_erf(start) {
            Self::Erf
        } else {
            Self::Unknown
        }
    }

    /// What to do with it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Snoop | Self::Iptrace | Self::NetworkMonitor | Self::Sniffer | Self::Nettl | Self::Erf => {
                "convert it with `editcap FILE out.pcapng`"
            }
            Self::Btsnoop => "there is no TCP in it",
            Self::Ixia => "convert it with a recent `editcap`",
            Self::Json => "`tcptrace report` reads tcptrace's own JSON lines",
            Self::Text => "-r takes what `tcpdump -w` writes, not what it prints",
            Self::Bzip2 => "decompress it: `bzip2 -dc FILE | tcptrace -r -`",
            Self::Xz => "decompress it: `xz -dc FILE | tcptrace -r -`",
            Self::Lz4 => "decompress it: `lz4 -dc FILE | tcptrace -r -`",
            Self::Zip => "decompress it: `unzip -p FILE | tcptrace -r -`",
            Self::Unknown => "-r takes what `tcpdump -w` and Wireshark write",
        }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Snoop => "a snoop capture (RFC 1761)",
            Self::Btsnoop => "a Bluetooth snoop capture",
            Self::Iptrace => "an AIX iptrace capture",
            Self::NetworkMonitor => "a Microsoft Network Monitor capture",
            Self::Sniffer => "a Sniffer capture",
            Self::Nettl => "an HP-UX nettl capture",
            Self::Erf => "an Endace ERF capture",
            Self::Ixia => "an IXIA lcap capture",
            Self::Json => "JSON",
            Self::Text => "text",
            Self::Bzip2 => "compressed with bzip2",
            Self::Xz => "compressed with xz",
            Self::Lz4 => "compressed with LZ4",
            Self::Zip => "a ZIP archive",
            Self::Unknown => "something else",
        })
    }
}

fn is_text(start: &[u8]) -> bool {
    !start.is_empty()
        && start.iter().all(|&byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

/// ERF has no magic: a record begins with 8 bytes of time, a type (1 to 48, the top bit for extension headers), flags,
/// and a record length that is at least a header's 16. Twice in a row is no accident.
fn is_erf(start: &[u8]) -> bool {
    let Some(len) = erf_record(start) else {
        return false;
    };
    start.get(len..).is_some_and(|next| erf_record(next).is_some())
}

fn erf_record(bytes: &[u8]) -> Option<usize> {
    let header: &[u8; 16] = bytes.first_chunk()?;
    let len = usize::from(u16::from_be_bytes([header[10], header[11]]));
    // The time is little-endian with the seconds in its upper half: after 1990, before 2100.
    let seconds = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    ((1..=48).contains(&(header[8] & 0x7f)) && len >= 16 && (631_152_000..4_102_444_800).contains(&seconds))
        .then_some(len)
}

#[cfg(test)]
mod tests {
    use super::Foreign;

    #[test]
    fn formats_are_known_by_their_beginning() {
        for (start, format) in [
            (&b"snoop\0\0\0\0\0\0\x02"[..], Foreign::Snoop),
            (b"btsnoop\0", Foreign::Btsnoop),
            (b"BZh91AY", Foreign::Bzip2),
            (b"{\"event\":1}", Foreign::Json),
            (b"12:00:00.000000 IP 10.0.0.1.80 > 10.0.0.2.1", Foreign::Text),
            (b"\x7fELF\x02\x01\x01\0", Foreign::Unknown),
            (b"", Foreign::Unknown),
        ] {
            assert_eq!(Foreign::recognize(start), format, "{start:?}");
        }
        let record = [0, 0, 0, 0, 0, 0, 0, 0x60, 2, 4, 0, 20, 0, 0, 0, 4, 1, 2, 3, 4];
        assert_eq!(Foreign::recognize(&[record, record].concat()), Foreign::Erf);
        assert_eq!(Foreign::recognize(&record), Foreign::Unknown);
    }
}
