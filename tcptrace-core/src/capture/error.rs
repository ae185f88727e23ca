//! The errors of reading a capture file. Each is one line that says where and what is wrong, and what to do.

use std::{fmt, io};
use thiserror::Error;

/// Why a file could not be read, or not to its end. Everything before the error was delivered.
#[derive(Debug, Error)]
pub enum FileError {
    /// The system could not open the file.
    #[error("cannot open {name}: {source}")]
    Open {
        /// The name of the file.
        name: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The system could not read on.
    #[error("cannot read {name} ({place}): {source}")]
    Read {
        /// The name of the file.
        name: String,
        /// How far the file was read.
        place: ErrorPlace,
        /// The error of the system.
        source: io::Error,
    },
    /// The lines of a file could not be read on.
    #[error("cannot read {name} (after {lines} line{}): {source}", if *lines == 1 { "" } else { "s" })]
    Lines {
        /// The name of the file.
        name: String,
        /// How many lines come before.
        lines: u64,
        /// What went wrong.
        source: io::Error,
    },
    /// The file has no bytes.
    #[error(
        "{name} is empty: a capture has at least a file header; was the capture stopped before it began?"
    )]
    Empty {
        /// The name of the file.
        name: String,
    },
    /// The file is not a capture in a format that is read here.
    #[error("{name} is no pcap or pcapng capture but {format}; {}", format.advice())]
    Foreign {
        /// The name of the file.
        name: String,
        /// The format that the file has instead.
        format: Foreign,
    },
    /// The file has a version of the format that is not known.
    #[error(
        "{name} is {format} of version {major}.{minor} ({place}), which is not known; convert it with `editcap`"
    )]
    Version {
        /// The name of the file.
        name: String,
        /// What has the version: `pcap` or `a pcapng section`.
        format: &'static str,
        /// The major version.
        major: u16,
        /// The minor version.
        minor: u16,
        /// Where the version is.
        place: ErrorPlace,
    },
    /// The file ends within a packet, a block or a header.
    #[error("{name} is cut short within {part} ({place}); what came before was read")]
    Truncated {
        /// The name of the file.
        name: String,
        /// The part that the file ends within.
        part: &'static str,
        /// Where the unfinished part begins.
        place: ErrorPlace,
    },
    /// The file contradicts itself, or a limit of its format.
    #[error("{name} is damaged ({place}): {damage}; what came before was read")]
    Damaged {
        /// The name of the file.
        name: String,
        /// Where the damage is.
        place: ErrorPlace,
        /// What is wrong there.
        damage: Damage,
    },
}

/// The place in a file that an error is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ErrorPlace {
    /// Bytes from the beginning of the file, counted after decompression.
    pub offset: u64,
    /// Whether the file is compressed, so that `offset` is not an offset in the file itself.
    pub compressed: bool,
    /// How many packets come before this place.
    pub packets: u64,
}

impl fmt::Display for ErrorPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = if self.compressed { " of the decompressed data" } else { "" };
        let plural = if self.packets == 1 { "" } else { "s" };
        write!(f, "at byte {}{of}, after {} packet{plural}", self.offset, self.packets)
    }
}

/// How a file contradicts itself, or a limit of its format.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Damage {
    /// A packet is longer than [`MAX_PACKET`](super::MAX_PACKET).
    #[error("a packet of {0} bytes, more than any capture has ({max})", max = super::MAX_PACKET)]
    PacketTooLong(u32),
    /// A block is too short for what a block of its kind holds.
    #[error("{block} of {len} bytes is too short for what it holds")]
    BlockTooShort {
        /// The kind of block.
        block: &'static str,
        /// The length that the block claims, in bytes.
        len: u32,
    },
    /// A block that has to be read is longer than any such block is.
    #[error("{block} of {len} bytes, more than any has")]
    BlockTooLong {
        /// The kind of block.
        block: &'static str,
        /// The length that the block claims, in bytes.
        len: u32,
    },
    /// The length of a block is no multiple of four bytes, to which all blocks are padded.
    #[error("a block of {0} bytes, which is no multiple of 4")]
    BlockUnaligned(u32),
    /// The length at the end of a block is not the length at its beginning.
    #[error("a block of {first} bytes ends with the length {last}")]
    BlockLengths {
        /// The length at the beginning.
        first: u32,
        /// The length at the end.
        last: u32,
    },
    /// A section header has no magic number that tells the byte order.
    #[error("a section without a byte order (its magic is {0:#010x})")]
    ByteOrder(u32),
    /// A packet is of an interface that its section has not described.
    #[error("a packet of interface {interface}, but the section has {known}")]
    NoInterface {
        /// The number of the interface.
        interface: u32,
        /// How many interfaces the section has described so far.
        known: usize,
    },
    /// There are more interfaces than any machine has.
    #[error("more than {0} interfaces")]
    TooManyInterfaces(usize),
    /// An option does not fit into its block, or does not have the length that its code requires.
    #[error("an interface option {code} of {len} bytes, which cannot be")]
    Option {
        /// The code of the option.
        code: u16,
        /// The length of the option in bytes.
        len: u16,
    },
    /// The compressed data cannot be decompressed.
    #[error("the compressed data is broken: {0}")]
    Compression(String),
}

/// A format of files that are not read here, but that people may take for a capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Foreign {
    /// A snoop capture of Solaris (RFC 1761).
    Snoop,
    /// A Bluetooth snoop capture.
    Btsnoop,
    /// An iptrace capture of AIX.
    Iptrace,
    /// A capture of Microsoft Network Monitor.
    NetworkMonitor,
    /// A capture of Network Associates' Sniffer for DOS or Windows.
    Sniffer,
    /// A nettl capture of HP-UX.
    Nettl,
    /// An ERF capture of Endace.
    Erf,
    /// An lcap capture of IXIA.
    Ixia,
    /// JSON, which may be output of tcptrace itself.
    Json,
    /// Text.
    Text,
    /// Data compressed with bzip2.
    Bzip2,
    /// Data compressed with xz.
    Xz,
    /// Data compressed with LZ4.
    Lz4,
    /// A ZIP archive.
    Zip,
    /// Any other format.
    Unknown,
}

impl Foreign {
    /// Recognizes the format of a file by its first bytes.
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

    /// What the user can do with a file of this format.
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

/// Whether the bytes begin with two ERF records, one after the other. ERF has no magic number: a record begins with 8
/// bytes of time, a type (1 to 48, with a top bit for extension headers), flags, and a record length of at least 16,
/// the length of its header. That two records in a row look so is no accident.
fn is_erf(start: &[u8]) -> bool {
    let Some(len) = erf_record(start) else {
        return false;
    };
    start.get(len..).is_some_and(|next| erf_record(next).is_some())
}

fn erf_record(bytes: &[u8]) -> Option<usize> {
    let header: &[u8; 16] = bytes.first_chunk()?;
    let len = usize::from(u16::from_be_bytes([header[10], header[11]]));
    // The time is little-endian, with the seconds in its upper half. It has to lie after 1990 and before 2100.
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
