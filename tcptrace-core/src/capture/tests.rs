use super::{
    Damage, FileError, Foreign, LinkType, MAX_PACKET, Packet, Reader, Ready,
    build::{Endian, block, enhanced, interface, obsolete, option, pcap, record, section, simple},
};
use crate::segment::{Direction, Timestamp};
use proptest::prelude::*;
use std::{
    fs,
    io::{self, Cursor, Read, Write},
    path::{Path, PathBuf},
    process,
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
};

/// A copy of a packet, which outlives the reader's buffer.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Kept {
    ts: u64,
    link: LinkType,
    interface: u32,
    direction: Direction,
    data: Vec<u8>,
    original_len: u32,
}

impl From<Packet<'_>> for Kept {
    fn from(packet: Packet<'_>) -> Self {
        let Packet { ts: Timestamp(ts), link, interface, direction, data, original_len, .. } = packet;
        Self { ts, link, interface, direction, data: data.to_vec(), original_len }
    }
}

fn drain(mut reader: Reader) -> (Vec<Kept>, Option<FileError>) {
    let mut packets = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(packet)) => packets.push(packet.into()),
            Ok(None) => return (packets, None),
            Err(error) => {
                assert!(matches!(reader.next(), Ok(None)), "after an error there is nothing");
                return (packets, Some(error));
            }
        }
    }
}

/// Reads a capture from memory as a stream.
fn read(file: &[u8]) -> (Vec<Kept>, Option<FileError>) {
    match Reader::from_read("test", Cursor::new(file.to_vec())) {
        Ok(reader) => drain(reader),
        Err(error) => (Vec::new(), Some(error)),
    }
}

fn read_all(file: &[u8]) -> Vec<Kept> {
    let (packets, error) = read(file);
    assert!(error.is_none(), "{error:?}");
    packets
}

/// A temporary file that is removed when this is dropped.
struct OnDisk(PathBuf);

impl OnDisk {
    fn new(bytes: &[u8]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tcptrace-test-{}-{number}", process::id()));
        fs::write(&path, bytes).expect("temporary files can be written");
        Self(path)
    }

    fn read(&self) -> (Vec<Kept>, Option<FileError>) {
        match Reader::open(&self.0) {
            Ok(reader) => drain(reader),
            Err(error) => (Vec::new(), Some(error)),
        }
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A reader that returns at most `size` bytes at a time.
struct Trickle {
    bytes: Cursor<Vec<u8>>,
    size: usize,
}

impl Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(self.size);
        self.bytes.read(&mut buffer[..len])
    }
}

fn trickle(file: &[u8], size: usize) -> (Vec<Kept>, Option<FileError>) {
    match Reader::from_read("test", Trickle { bytes: Cursor::new(file.to_vec()), size }) {
        Ok(reader) => drain(reader),
        Err(error) => (Vec::new(), Some(error)),
    }
}

fn kept(ts: u64, data: &[u8], original_len: u32) -> Kept {
    Kept {
        ts,
        link: LinkType::ETHERNET,
        interface: 0,
        direction: Direction::Unknown,
        data: data.to_vec(),
        original_len,
    }
}

#[test]
fn pcap_in_every_byte_order_and_unit() {
    for endian in Endian::BOTH {
        for (magic, fraction, ns, extra) in [
            (0xa1b2_c3d4, 123_456, 123_456_000, &[][..]),
            (0xa1b2_3c4d, 123_456_789, 123_456_789, &[]),
            (0xa1b2_cd34, 123_456, 123_456_000, &[0xee; 8]),
        ] {
            let file = [
                pcap(endian, magic, 1),
                record(endian, (1, fraction), 3, extra, b"abc"),
                record(endian, (u32::MAX, 0), 9000, extra, b"defg"),
                record(endian, (0, 0), 0, extra, b""),
            ]
            .concat();
            let expected = [
                kept(1_000_000_000 + ns, b"abc", 3),
                kept(u64::from(u32::MAX) * 1_000_000_000, b"defg", 9000),
                kept(0, b"", 0),
            ];
            assert_eq!(read_all(&file), expected, "{endian:?} {magic:x}");
        }
    }
}

#[test]
fn the_upper_half_of_a_link_type_is_about_check_sequences() {
    for endian in Endian::BOTH {
        let file = [pcap(endian, 0xa1b2_c3d4, 0x2400_0071), record(endian, (0, 0), 1, &[], b"a")].concat();
        assert_eq!(read_all(&file)[0].link, LinkType::LINUX_SLL);
    }
}

#[test]
fn lengths_were_once_the_other_way_round() {
    let mut file = pcap(Endian::Little, 0xa1b2_c3d4, 1);
    file[6] = 2;
    let mut packet = record(Endian::Little, (0, 0), 90, &[], b"abc");
    packet[8..16].rotate_left(4);
    file.extend(packet);
    assert_eq!(read_all(&file), [kept(0, b"abc", 90)]);
}

#[test]
fn pcapng_in_both_byte_orders_with_every_packet_block() {
    for endian in Endian::BOTH {
        let flags = |value: u32| [option(endian, 1, b"a comment"), option(endian, 2, &endian.u32(value))];
        let file = [
            section(endian),
            interface(endian, 1, 6, &[]),
            enhanced(endian, 0, 0x1_0000_0001, 60, b"abcde", &[]),
            block(endian, 4, b"names"),
            block(endian, 0xbad, &[1; 40]),
            simple(endian, 3, b"fgh"),
            simple(endian, 60, b"ijklmnop"),
            obsolete(endian, 0, 2, 5, b"qrstu"),
            enhanced(endian, 0, 3, 4, b"vwxy", &flags(1)),
            enhanced(endian, 0, 4, 1, b"z", &flags(2)),
            block(endian, 5, &[0; 12]),
        ]
        .concat();
        let first = 0x1_0000_0001 * 1000;
        let directed = |ts, data, direction| Kept {
            direction,
            ..kept(ts, data, u32::try_from(data.len()).unwrap_or(0))
        };
        let expected = [
            kept(first, b"abcde", 60),
            // A simple packet block has no time.
            kept(u64::MAX, b"fgh", 3),
            // The packet is cut to the snapshot length, and the block is padded.
            kept(u64::MAX, b"ijklmn", 60),
            kept(2000, b"qrstu", 5),
            directed(3000, b"vwxy", Direction::Ingress),
            directed(4000, b"z", Direction::Egress),
        ];
        assert_eq!(read_all(&file), expected, "{endian:?}");
    }
}

#[test]
fn interfaces_have_their_own_link_type_and_clock() {
    let (little, big) = (Endian::Little, Endian::Big);
    let file = [
        section(little),
        interface(little, 1, 0, &[option(little, 2, b"eth0"), option(little, 9, &[9])]),
        interface(little, 113, 0, &[option(little, 9, &[0x94]), option(little, 14, &little.u64(5))]),
        enhanced(little, 1, 3 << 19, 1, b"a", &[]),
        enhanced(little, 0, 7, 1, b"b", &[]),
        // The next section has the other byte order: its eth0 is the one from before, and its lo is new.
        section(big),
        interface(big, 1, 0, &[option(big, 2, b"eth0"), option(big, 9, &[3])]),
        interface(big, 0, 0, &[option(big, 2, b"lo\0"), option(big, 0, b"")]),
        enhanced(big, 1, 8, 1, b"c", &[]),
        enhanced(big, 0, 9, 1, b"d", &[]),
    ]
    .concat();
    let mut reader = Reader::from_read("test", Cursor::new(file)).expect("a capture");
    let mut seen = Vec::new();
    while let Some(packet) = reader.next().expect("undamaged") {
        seen.push((packet.ts.0, packet.link.0, packet.interface, packet.data[0]));
    }
    let expected =
        [(6_500_000_000, 113, 1, b'a'), (7, 1, 0, b'b'), (8000, 0, 2, b'c'), (9_000_000, 1, 0, b'd')];
    assert_eq!(seen, expected);
    let names: Vec<_> = reader.interfaces().iter().map(|i| i.name.as_deref().map(str::to_owned)).collect();
    assert_eq!(names, [Some("eth0".to_owned()), None, Some("lo".to_owned())]);
}

/// A capture of some packets in either format.
fn sample(ng: bool) -> Vec<u8> {
    let endian = Endian::Big;
    let packets = (1..40_u32).map(|number| vec![0x55; number as usize * 7 % 200]);
    let mut file = if ng {
        [section(endian), interface(endian, 1, 0, &[])].concat()
    } else {
        pcap(endian, 0xa1b2_c3d4, 1)
    };
    for (number, data) in (0..).zip(packets) {
        let original = u32::try_from(data.len()).expect("short");
        if ng {
            file.extend(enhanced(endian, 0, u64::from(number), original, &data, &[]));
            file.extend(block(endian, 77, &vec![1; number as usize * 11]));
        } else {
            file.extend(record(endian, (number, 0), original, &[], &data));
        }
    }
    file
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

#[test]
fn compression_is_known_by_content() {
    for ng in [false, true] {
        let file = sample(ng);
        let whole = read_all(&file);
        assert_eq!(whole.len(), 39);
        let (front, back) = file.split_at(file.len() / 2);
        let skipped = [&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9][..], &zstd(&file)].concat();
        for (name, compressed) in [
            ("gzip", gzip(&file)),
            ("gzip in two members", [gzip(front), gzip(back)].concat()),
            ("zstd", zstd(&file)),
            ("zstd in two frames", [zstd(front), zstd(back)].concat()),
            ("zstd with a frame to be skipped", skipped),
        ] {
            assert_eq!(read_all(&compressed), whole, "{name}");
            let disk = OnDisk::new(&compressed);
            let (packets, error) = disk.read();
            assert!(error.is_none(), "{name}: {error:?}");
            assert_eq!(packets, whole, "{name} from disk");
            let (packets, error) = read(&compressed[..compressed.len() - 9]);
            assert!(packets.len() <= whole.len() && whole.starts_with(&packets), "{name}");
            let error = error.expect("it is cut short");
            assert!(matches!(error, FileError::Truncated { .. }), "{name}: {error}");
        }
    }
}

#[test]
fn broken_compression_is_damage() {
    let mut bytes = gzip(&sample(false));
    let middle = bytes.len() / 2;
    bytes[middle..middle + 20].fill(0xff);
    let (_, error) = read(&bytes);
    assert!(matches!(error, Some(FileError::Damaged { damage: Damage::Compression(_), .. })), "{error:?}");
    let mut bytes = zstd(&sample(false));
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let (packets, error) = read(&bytes);
    assert_eq!(packets.len(), 39, "the checksum comes last");
    assert!(matches!(error, Some(FileError::Damaged { damage: Damage::Compression(_), .. })), "{error:?}");
}

#[test]
fn a_file_cut_anywhere_gives_what_came_before() {
    for ng in [false, true] {
        let file = sample(ng);
        let whole = read_all(&file);
        for len in 0..file.len() {
            let (packets, error) = read(&file[..len]);
            assert!(whole.starts_with(&packets), "cut to {len}");
            match error {
                None | Some(FileError::Truncated { .. }) => {}
                Some(FileError::Empty { .. }) => assert_eq!(len, 0),
                Some(FileError::Foreign { .. }) => assert!((1..4).contains(&len)),
                Some(other) => panic!("cut to {len}: {other}"),
            }
        }
    }
}

#[test]
fn damage_says_where_and_what() {
    let endian = Endian::Little;
    let start = [section(endian), interface(endian, 1, 0, &[])].concat();
    let good = enhanced(endian, 0, 1, 1, b"a", &[]);
    let with = |bad: &[u8]| [&start[..], &good, bad].concat();
    let mut too_long = enhanced(endian, 0, 1, 1, b"a", &[]);
    too_long[20..24].copy_from_slice(&endian.u32(200));
    let mut lengths = enhanced(endian, 0, 1, 1, b"a", &[]);
    let end = lengths.len() - 4;
    lengths[end..].copy_from_slice(&endian.u32(40));
    let huge = [endian.u32(6), endian.u32(0x7fff_fff0)].concat();
    let tiny = [endian.u32(6), endian.u32(16)].concat();
    let odd = [endian.u32(99), endian.u32(13)].concat();
    let mut order = section(endian);
    order[8] = 0;
    for (name, bad, damage) in [
        (
            "a packet longer than its block",
            too_long,
            Damage::BlockTooShort { block: "an enhanced packet block", len: 36 },
        ),
        ("two lengths", lengths, Damage::BlockLengths { first: 36, last: 40 }),
        ("a huge block", huge, Damage::BlockTooLong { block: "an enhanced packet block", len: 0x7fff_fff0 }),
        ("a tiny block", tiny, Damage::BlockTooShort { block: "an enhanced packet block", len: 16 }),
        ("no multiple of 4", odd, Damage::BlockUnaligned(13)),
        ("no byte order", order, Damage::ByteOrder(0x1a2b_3c00)),
        (
            "no such interface",
            enhanced(endian, 3, 1, 1, b"a", &[]),
            Damage::NoInterface { interface: 3, known: 1 },
        ),
        (
            "an option that does not fit",
            interface(endian, 1, 0, &[option(endian, 9, &[1, 2])]),
            Damage::Option { code: 9, len: 2 },
        ),
    ] {
        let (packets, error) = read(&with(&bad));
        assert_eq!(packets.len(), 1, "{name}");
        let Some(FileError::Damaged { place, damage: found, .. }) = error else {
            panic!("{name}: {error:?}");
        };
        assert_eq!((found, place.packets), (damage, 1), "{name}");
        assert_eq!(place.offset, (start.len() + good.len()) as u64, "{name}");
    }
    let line = read(&with(&enhanced(endian, 3, 1, 1, b"a", &[]))).1.expect("damaged").to_string();
    assert_eq!(
        line,
        "test is damaged (at byte 84, after 1 packet): a packet of interface 3, but the section has 1; what came before was read"
    );
}

#[test]
fn a_packet_longer_than_any_is_damage() {
    let mut file = pcap(Endian::Little, 0xa1b2_c3d4, 1);
    let mut packet = record(Endian::Little, (0, 0), 1, &[], b"a");
    let len = u32::try_from(MAX_PACKET + 1).expect("small");
    packet[8..12].copy_from_slice(&len.to_le_bytes());
    file.extend(packet);
    let (_, error) = read(&file);
    assert!(
        matches!(error, Some(FileError::Damaged { damage: Damage::PacketTooLong(found), .. }) if found == len),
        "{error:?}"
    );
}

#[test]
fn a_block_that_is_passed_over_may_be_longer_than_memory() {
    let endian = Endian::Little;
    let file =
        [section(endian), endian.u32(99).to_vec(), endian.u32(0xffff_fff0).to_vec(), vec![0; 500]].concat();
    for (packets, error) in [read(&file), OnDisk::new(&file).read()] {
        assert!(packets.is_empty());
        let Some(FileError::Truncated { place, .. }) = error else {
            panic!("{error:?}");
        };
        assert_eq!(place.offset, 28);
    }
}

#[test]
fn other_versions_and_formats_are_refused() {
    let mut old = section(Endian::Little);
    old[12] = 2;
    let (_, error) = read(&old);
    assert!(matches!(error, Some(FileError::Version { major: 2, minor: 0, .. })), "{error:?}");
    let mut minor = [section(Endian::Little), interface(Endian::Little, 1, 0, &[])].concat();
    minor[14] = 2;
    assert!(read(&minor).1.is_none(), "1.2 is 1.0");
    let mut old = pcap(Endian::Big, 0xa1b2_c3d4, 1);
    old[5] = 1;
    assert!(matches!(read(&old).1, Some(FileError::Version { major: 1, minor: 4, .. })));
    let (_, error) = read(b"snoop\0\0\0\0\0\0\x02\0\0\0\x04");
    let error = error.expect("refused");
    assert!(matches!(error, FileError::Foreign { format: Foreign::Snoop, .. }));
    assert_eq!(
        error.to_string(),
        "test is no pcap or pcapng capture but a snoop capture (RFC 1761); convert it with `editcap FILE out.pcapng`"
    );
    assert!(matches!(read(b"").1, Some(FileError::Empty { .. })));
    assert!(matches!(Reader::open(Path::new("/nonexistent/file")), Err(FileError::Open { .. })));
    assert!(matches!(Reader::open(Path::new("/")), Err(FileError::Open { .. })));
}

#[test]
fn packets_of_a_pipe_come_as_they_arrive() {
    /// A pipe: each message of the channel is what one read returns.
    struct Pipe(mpsc::Receiver<Vec<u8>>, Vec<u8>);
    impl Read for Pipe {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.1.is_empty() {
                self.1 = self.0.recv().unwrap_or_default();
            }
            let len = buffer.len().min(self.1.len());
            buffer[..len].copy_from_slice(&self.1[..len]);
            self.1.drain(..len);
            Ok(len)
        }
    }
    let endian = Endian::Little;
    let packet = |data: &[u8]| record(endian, (1, 0), 3, &[], data);
    let (send, receive) = mpsc::channel();
    send.send(pcap(endian, 0xa1b2_c3d4, 1)).expect("open");
    let mut reader = Reader::from_read("test", Pipe(receive, Vec::new())).expect("a capture");
    assert_eq!(reader.get(false).expect("undamaged"), Ready::Later);
    let two = [packet(b"abc"), packet(b"def")].concat();
    send.send(two[..30].to_vec()).expect("open");
    assert_eq!(reader.next().expect("undamaged").expect("a packet").data, b"abc");
    assert_eq!(reader.get(false).expect("undamaged"), Ready::Later);
    send.send(two[30..].to_vec()).expect("open");
    assert_eq!(reader.next().expect("undamaged").expect("a packet").data, b"def");
    drop(send);
    assert!(reader.next().expect("undamaged").is_none());
    assert_eq!(reader.position().packets, 2);
}

#[test]
fn a_file_longer_than_a_block_is_read_on() {
    let endian = Endian::Little;
    let data = vec![0x11; 60_000];
    let mut file = pcap(endian, 0xa1b2_c3d4, 1);
    let packet = record(endian, (1, 0), 60_000, &[], &data);
    let count = 150;
    file.extend(packet.repeat(count));
    let disk = OnDisk::new(&file);
    let mut reader = Reader::open(&disk.0).expect("a capture");
    let mut packets = 0;
    while let Some(packet) = reader.next().expect("undamaged") {
        assert_eq!(packet.data, data);
        packets += 1;
    }
    assert_eq!(packets, count);
    let position = reader.position();
    assert_eq!((position.bytes, position.total), (file.len() as u64, Some(file.len() as u64)));
}

/// A valid file with some bytes changed, and whether it is compressed.
fn mutated() -> impl Strategy<Value = (Vec<u8>, bool)> {
    let changes = proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..12);
    (any::<bool>(), 0..3, changes).prop_map(|(ng, compression, changes)| {
        let mut file = match compression {
            0 => sample(ng),
            1 => gzip(&sample(ng)),
            _ => zstd(&sample(ng)),
        };
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        (file, compression > 0)
    })
}

proptest! {
    #[test]
    fn any_bytes_come_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = read(&bytes);
        let _ = read(&[&pcap(Endian::Little, 0xa1b2_c3d4, 1)[..], &bytes].concat());
        let _ = read(&[&section(Endian::Little)[..], &bytes].concat());
    }

    #[test]
    fn a_changed_file_is_the_same_from_disk_and_in_pieces(
        (file, compressed) in mutated(),
        size in 1_usize..70,
    ) {
        let (packets, error) = read(&file);
        let (trickled, other) = trickle(&file, size);
        if compressed {
            // How much of damaged data is decompressed depends on how it arrives; whether it is damaged does not.
            prop_assert_eq!(other.is_some(), error.is_some());
            prop_assert!(trickled.starts_with(&packets) || packets.starts_with(&trickled));
            return Ok(());
        }
        prop_assert_eq!(&trickled, &packets);
        let error = error.map(|error| error.to_string());
        prop_assert_eq!(other.map(|error| error.to_string()), error.clone());
        let disk = OnDisk::new(&file);
        let (mapped, other) = disk.read();
        prop_assert_eq!(&mapped, &packets);
        let name = disk.0.display().to_string();
        prop_assert_eq!(other.map(|error| error.to_string().replace(&name, "test")), error);
    }
}

#[test]
fn a_file_that_is_cut_short_while_it_is_read_is_said_to_be() {
    let endian = Endian::Little;
    let packet = record(endian, (1, 0), 60_000, &[], &vec![0x11; 60_000]);
    let disk = OnDisk::new(&[pcap(endian, 0xa1b2_c3d4, 1), packet.repeat(100)].concat());
    let mut reader = Reader::open(&disk.0).expect("a capture");
    assert!(reader.next().expect("undamaged").is_some());
    let file = fs::OpenOptions::new().write(true).open(&disk.0).expect("it is there");
    // The file is cut within a packet, beyond what can have been read by now.
    file.set_len(3_000_000).expect("it can be cut");
    let (packets, error) = drain(reader);
    assert!((40..60).contains(&packets.len()), "{}", packets.len());
    assert!(matches!(error, Some(FileError::Truncated { part: "a packet", .. })), "{error:?}");
}
