//! Filters over the captures' lifecycle packets: our verdict on each packet beside that of tcpdump, which has libpcap's.

use super::{
    corpus::Corpus,
    tally::{Tables, Tally},
};
use libtest_mimic::{Failed, Trial};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt::Write as _,
    fs,
    io::Write as _,
    net::Ipv6Addr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tcptrace::{
    filter::Filter,
    names::SystemNames,
    segment::{Direction, Flow, Observation, Segment},
    source::pcap::{CaptureOptions, Captured, LinkType, PcapSource, Reader},
};
use tcptrace_common::wire::{Bytes, Link, Parsed, parse};

/// A lifecycle packet.
struct Packet {
    flow: Flow,
    direction: Direction,
    headers: Vec<u8>,
}

/// Why the verdicts on a packet differ, as they should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rule {
    /// libpcap looks behind a tag only after `vlan`, at one more each time; we look through all tags.
    Tagged,
    /// libpcap looks behind labels, sessions, LLC and authentication headers only when it is told to; we always do.
    Shape,
    /// libpcap looks for ports right behind the IPv6 header; we walk the extension headers.
    Extensions,
}

/// Every word of the language, and the ways to combine them. `A`, `B`, ... stand for addresses that occur most.
const FILTERS: [&str; 58] = [
    "tcp",
    "ip",
    "ip6",
    "host A",
    "src host A",
    "dst host A",
    "src or dst host A",
    "src and dst host A",
    "host A or B",
    "host A or B or C",
    "not host A",
    "not host A and B",
    "ip host A",
    "host S",
    "src host S",
    "dst host S",
    "ip6 host S",
    "host S or T",
    "src S or dst T",
    "net 10.0.0.0/8",
    "net 192.168",
    "net 172.16.0.0/12",
    "src net 192.168.0.0/16",
    "dst net 10",
    "not src net 10",
    "net 0.0.0.0/0",
    "net 192.168.0.0 mask 255.255.0.0",
    "net 2000::/3",
    "net fe80::/10",
    "src net 2001::/16",
    "net ::/0",
    "port 80",
    "port http",
    "port 443 or 80",
    "tcp port 80",
    "tcp src port 80",
    "dst port 80",
    "src and dst port 179",
    "portrange 1-1023",
    "portrange 1024-65535",
    "src portrange 1-1023",
    "tcp dst portrange 1-1023",
    "not portrange 1-1023",
    "port 22 or port 80 and host A",
    "port 80 and host A or port 22",
    "port 22 or (port 80 and host A)",
    "not (port 80 or port 443)",
    "not port 80 and not port 443",
    "!(port 80) && (ip || ip6)",
    "host A and not port 80",
    "src host A and dst port 80",
    "src host A and port 80 or dst host A and port 80",
    "ip and not net 10 and not net 192.168 and not net 172.16.0.0/12",
    "host A and tcp port 80 or (net 2000::/3 and not port 22)",
    "ip6 and (port 21 or port 22 or port 80)",
    "vlan",
    "not vlan",
    "tcp and ip and dst port 80 and not src host A and not dst host B",
];

pub(crate) fn trial(corpus: &Corpus, tables: &Tables) -> Trial {
    let captures = corpus.captures().into_iter().filter(|capture| capture.format != "snoop");
    let paths: Vec<PathBuf> = captures.map(|capture| corpus.capture(&capture.name)).collect();
    let tables = tables.clone();
    Trial::test("filters: as tcpdump's verdicts", move || compare(&paths, &tables))
}

fn compare(paths: &[PathBuf], tables: &Tables) -> Result<(), Failed> {
    let mut links: BTreeMap<u16, Vec<Packet>> = BTreeMap::new();
    let mut seen = HashSet::new();
    for path in paths {
        read(path, &mut links, &mut seen)?;
    }
    let filters: Vec<String> = FILTERS.iter().map(|filter| named(filter, &links)).collect();
    let mut tally = Tally::default();
    let mut refused = 0;
    for (link, packets) in &links {
        let file = Capture::write(*link, packets)?;
        for text in &filters {
            let filter = Filter::compile(text, &SystemNames)?;
            let Some(taken) = file.taken(text)? else {
                refused += 1;
                continue;
            };
            for (number, packet) in (0..).zip(packets) {
                judge(&filter, packet, taken.contains(&number), &mut tally);
            }
        }
    }
    let packets: usize = links.values().map(Vec::len).sum();
    let mut table = format!(
        "filters: {} over {packets} lifecycle packets of {} link types, beside tcpdump\n",
        filters.len(),
        links.len()
    );
    let _ = writeln!(table, "{tally}  {refused} filters that tcpdump refuses for a link type");
    tables.add(table, packets > 1000 && tally.equal > 50_000)?;
    tally.conclude()
}

/// Collects packets, each kind of headers once.
fn read(
    path: &Path,
    links: &mut BTreeMap<u16, Vec<Packet>>,
    seen: &mut HashSet<(u16, Vec<u8>)>,
) -> Result<(), Failed> {
    let mut source = PcapSource::new(Reader::open(path)?, &CaptureOptions::default());
    let mut inputs = Vec::new();
    while source.next_batch_with(&mut inputs, |what: &Observation, packet: Captured<'_>| {
        // An ICMP error has the addresses of what it quotes; tcpdump has its own.
        let Observation::Segment(Segment { flow, direction, .. }) = *what else { return };
        let LinkType(link) = packet.link;
        if seen.insert((link, packet.headers.to_vec())) {
            let headers = packet.headers.to_vec();
            links.entry(link).or_default().push(Packet { flow, direction, headers });
        }
    })? {
        inputs.clear();
    }
    Ok(())
}

/// With the captures' own addresses: those that occur most, of each family.
fn named(filter: &str, links: &BTreeMap<u16, Vec<Packet>>) -> String {
    let mut counts: HashMap<(bool, [u8; 16]), u64> = HashMap::new();
    for packet in links.values().flatten() {
        for address in [packet.flow.src, packet.flow.dst] {
            *counts.entry((packet.flow.ipv6, address)).or_default() += 1;
        }
    }
    let most = |ipv6: bool| {
        let mut all: Vec<_> = counts.iter().filter(|((v6, _), _)| *v6 == ipv6).collect();
        all.sort_by_key(|((_, address), count)| (std::cmp::Reverse(**count), *address));
        all.into_iter().map(|((_, address), _)| Ipv6Addr::from(*address)).collect::<Vec<_>>()
    };
    let (v4, v6) = (most(false), most(true));
    let address = |word: &str| match word {
        "A" | "B" | "C" => {
            let nth = usize::from(word.as_bytes()[0] - b'A');
            v4.get(nth).and_then(Ipv6Addr::to_ipv4_mapped).map(|address| address.to_string())
        }
        "S" | "T" => v6.get(usize::from(word.as_bytes()[0] - b'S')).map(ToString::to_string),
        _ => None,
    };
    let words: Vec<String> = filter
        .split(' ')
        .map(|word| {
            let bare = word.trim_end_matches(')');
            address(bare).map_or_else(|| word.to_owned(), |address| address + &word[bare.len()..])
        })
        .collect();
    words.join(" ")
}

fn judge(filter: &Filter, packet: &Packet, theirs: bool, tally: &mut Tally) {
    let ours = filter.takes(&packet.flow, packet.direction);
    let mut rules = BTreeSet::new();
    let mut unexplained = Vec::new();
    if ours != theirs {
        if is_tagged(packet) {
            rules.insert(Rule::Tagged);
        } else if has_extensions(packet) {
            rules.insert(Rule::Extensions);
        } else if is_shaped(packet) {
            rules.insert(Rule::Shape);
        } else {
            unexplained.push(format!("we say {ours}, tcpdump {theirs}: {:?}", packet.flow));
        }
    }
    tally.count(&filter.text(), &rules, &unexplained);
}

fn is_tagged(packet: &Packet) -> bool {
    packet.headers.get(12..14).is_some_and(|kind| matches!(kind, [0x81 | 0x91, 0] | [0x88, 0xa8]))
        || packet.flow.vlan != [Flow::NO_VLAN; 2]
}

/// Of an Ethernet frame neither IPv4 nor IPv6 follows, or of that not TCP.
fn is_shaped(packet: &Packet) -> bool {
    const IPV4: [u8; 2] = [0x08, 0x00];
    let ethertype = packet.headers.get(12..14);
    let is_ip = ethertype == Some(&IPV4) || ethertype == Some(&[0x86, 0xdd]);
    // Headers alone: what they say of the length goes beyond.
    let bytes = Bytes { captured: &packet.headers, wire_len: 1 << 17 };
    let parsed = parse(&bytes, Link::Ethernet, None);
    matches!(parsed, Parsed::V4(_) | Parsed::V6(_))
        && (!is_ip || ethertype == Some(&IPV4) && packet.headers.get(23) == Some(&51))
}

/// The TCP header is further on than right behind the IPv6 header.
fn has_extensions(packet: &Packet) -> bool {
    // Headers alone, also of a packet with data.
    let bytes = Bytes { captured: &packet.headers, wire_len: 1 << 17 };
    match parse(&bytes, Link::Ethernet, None) {
        Parsed::V6(tcp) => tcp.options_at > 14 + 40 + 20,
        _ => false,
    }
}

/// Packets in a file of their own, each with its number for a time stamp.
struct Capture(PathBuf);

impl Capture {
    fn write(link: u16, packets: &[Packet]) -> Result<Self, Failed> {
        let path = std::env::temp_dir().join(format!("tcptrace-filters-{}-{link}.pcap", std::process::id()));
        let mut file = std::io::BufWriter::new(fs::File::create(&path)?);
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        file.write_all(&words(&[0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 1 << 18, link.into()]))?;
        for (number, packet) in (0..).zip(packets) {
            let len = u32::try_from(packet.headers.len())?;
            file.write_all(&words(&[number, 0, len, len]))?;
            file.write_all(&packet.headers)?;
        }
        file.flush()?;
        Ok(Self(path))
    }

    /// The numbers of those that tcpdump takes; none where it refuses the filter.
    fn taken(&self, filter: &str) -> Result<Option<HashSet<u32>>, Failed> {
        let output = Command::new("tcpdump")
            .arg("-r")
            .arg(&self.0)
            .args(["-w", "-", filter])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cannot run tcpdump: {error}"))?;
        if !output.status.success() {
            return Ok(None);
        }
        let mut taken = HashSet::new();
        let mut rest = output.stdout.get(24..).unwrap_or_default();
        while let Some((header, after)) = rest.split_first_chunk::<16>() {
            let word = |at: usize| header[at..at + 4].try_into().map(u32::from_le_bytes);
            taken.insert(word(0)?);
            rest = after.get(usize::try_from(word(8)?)?..).unwrap_or_default();
        }
        Ok(Some(taken))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // What is left of it is a small file in the folder for such.
        let _ = fs::remove_file(&self.0);
    }
}
