//! Packets for tests, built byte by byte.

pub mod tunnel;

/// `SplitMix64`: seeded, so that a failure repeats.
pub struct Rng(pub u64);

impl Rng {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// What a frame is made of.
#[derive(Clone, Debug)]
pub struct Frame {
    pub ipv6: bool,
    /// The last four bytes of the address.
    pub src: u32,
    pub dst: u32,
    pub src_port: u16,
    pub dst_port: u16,
    pub flags: u16,
    pub seq: u32,
    pub ack: u32,
    /// Tag control information, outer first.
    pub vlans: Vec<u16>,
    /// What is between the tags and IP.
    pub shape: Shape,
    /// Kinds of IPv6 extension headers.
    pub extensions: Vec<u8>,
    /// Octets of IPv4 options.
    pub ip_options: usize,
    /// Authentication headers behind an IPv4 header.
    pub authentication: usize,
    /// Fragment offset in units of 8 octets.
    pub fragment: u16,
    /// TCP option bytes, whole words.
    pub options: Vec<u8>,
    pub payload: usize,
    /// Octets after the IP packet.
    pub padding: usize,
    /// Instead of TCP.
    pub icmp: Option<Icmp>,
    /// Instead of both, with its protocol number.
    pub body: Option<(u8, Vec<u8>)>,
}

/// What is between an Ethernet type and IP.
#[derive(Clone, Debug, Default)]
pub enum Shape {
    #[default]
    Plain,
    /// MPLS labels, this many.
    Mpls(usize),
    PppoE,
    /// A length, LLC and SNAP; and behind that these tags.
    Snap(Vec<u16>),
    /// SNAP and then MPLS.
    SnapMpls(usize),
}

/// An ICMP or ICMPv6 message.
#[derive(Clone, Debug)]
pub struct Icmp {
    pub kind: u8,
    pub code: u8,
    /// The beginning of an IP packet.
    pub quote: Vec<u8>,
}

impl Default for Frame {
    fn default() -> Self {
        Self {
            ipv6: false,
            src: 0x0a00_0001,
            dst: 0x0a00_0002,
            src_port: 1234,
            dst_port: 80,
            flags: 0x10,
            seq: 1000,
            ack: 2000,
            vlans: vec![],
            shape: Shape::Plain,
            extensions: vec![],
            ip_options: 0,
            authentication: 0,
            fragment: 0,
            options: vec![],
            payload: 0,
            padding: 0,
            icmp: None,
            body: None,
        }
    }
}

impl Frame {
    /// The other direction.
    pub fn reversed(&self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
            ..self.clone()
        }
    }

    /// An error about this packet, with `octets` of it, to its source.
    pub fn error(&self, kind: u8, code: u8, octets: usize) -> Self {
        let mut quote = self.ip();
        quote.truncate(octets);
        Self {
            ipv6: self.ipv6,
            src: 0x0a00_00fe,
            dst: self.src,
            icmp: Some(Icmp { kind, code, quote }),
            ..Self::default()
        }
    }

    /// With an Ethernet header.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![2; 12];
        for (place, tci) in self.vlans.iter().enumerate() {
            let kind: u16 = if place == 0 && self.vlans.len() > 1 { 0x88a8 } else { 0x8100 };
            bytes.extend(kind.to_be_bytes());
            bytes.extend(tci.to_be_bytes());
        }
        let ip = self.ip();
        bytes.extend(self.between(ip.len()));
        bytes.extend(ip);
        bytes.extend(vec![0xee; self.padding]);
        bytes
    }

    /// From the last tag to IP, the Ethernet type included.
    fn between(&self, len: usize) -> Vec<u8> {
        const SNAP: [u8; 6] = [0xaa, 0xaa, 3, 0, 0, 0];
        let ip = if self.ipv6 { [0x86, 0xdd] } else { [0x08, 0x00] };
        let length = |more: usize| ((8 + more + len) as u16).to_be_bytes();
        let labels = |depth: usize| {
            let entry = |place: usize| [0x12, 0x34, u8::from(place + 1 == depth), 64];
            [vec![0x88, 0x47], (0..depth).flat_map(entry).collect()].concat()
        };
        match &self.shape {
            Shape::Plain => ip.to_vec(),
            Shape::Mpls(depth) => labels(*depth),
            Shape::PppoE => {
                let len = (len as u16 + 2).to_be_bytes();
                let protocol = if self.ipv6 { 0x57 } else { 0x21 };
                [0x88, 0x64, 0x11, 0, 0, 7, len[0], len[1], 0, protocol].to_vec()
            }
            Shape::Snap(tags) => {
                let tags: Vec<u8> =
                    tags.iter().flat_map(|tci| [[0x81, 0], tci.to_be_bytes()].concat()).collect();
                [&length(tags.len())[..], &SNAP, &tags, &ip].concat()
            }
            Shape::SnapMpls(depth) => [&length(depth * 4)[..], &SNAP, &labels(*depth)].concat(),
        }
    }

    /// From the IP header on, without padding.
    pub fn ip(&self) -> Vec<u8> {
        let body = match (&self.body, &self.icmp) {
            (Some((_, body)), _) => body.clone(),
            (None, Some(icmp)) => icmp.bytes(),
            (None, None) => self.tcp(),
        };
        let mut bytes = Vec::new();
        if self.ipv6 {
            let (next, extensions) = self.extension_headers();
            bytes.extend([0x60, 0, 0, 0]);
            bytes.extend(((extensions.len() + body.len()) as u16).to_be_bytes());
            bytes.extend([next, 61]);
            for address in [self.src, self.dst] {
                bytes.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0]);
                bytes.extend(address.to_be_bytes());
            }
            bytes.extend(extensions);
        } else {
            let header = 20 + self.ip_options;
            let (first, authentication) = self.authentication_headers();
            bytes.extend([0x40 | (header / 4) as u8, 0]);
            bytes.extend(((header + authentication.len() + body.len()) as u16).to_be_bytes());
            bytes.extend([0, 1]);
            bytes.extend(self.fragment.to_be_bytes());
            bytes.extend([62, first, 0, 0]);
            bytes.extend(self.src.to_be_bytes());
            bytes.extend(self.dst.to_be_bytes());
            bytes.extend(vec![1; self.ip_options]);
            bytes.extend(authentication);
        }
        bytes.extend(body);
        bytes
    }

    /// The protocol after IPv4, and its authentication headers.
    fn authentication_headers(&self) -> (u8, Vec<u8>) {
        let mut bytes = Vec::new();
        for place in 0..self.authentication {
            let next = if place + 1 == self.authentication { self.protocol() } else { 51 };
            bytes.extend(authentication(next));
        }
        (if self.authentication == 0 { self.protocol() } else { 51 }, bytes)
    }

    fn protocol(&self) -> u8 {
        if let Some((protocol, _)) = &self.body {
            return *protocol;
        }
        match (&self.icmp, self.ipv6) {
            (None, _) => 6,
            (Some(_), false) => 1,
            (Some(_), true) => 58,
        }
    }

    /// The kind of the first header after IPv6, and the extension headers.
    fn extension_headers(&self) -> (u8, Vec<u8>) {
        let mut bytes = Vec::new();
        for (place, kind) in self.extensions.iter().enumerate() {
            let next = self.extensions.get(place + 1).copied().unwrap_or(self.protocol());
            match kind {
                44 => {
                    bytes.extend([next, 0]);
                    bytes.extend((self.fragment << 3).to_be_bytes());
                    bytes.extend([0, 0, 0, 9]);
                }
                51 => bytes.extend(authentication(next)),
                _ => {
                    bytes.extend([next, 1]);
                    bytes.extend([0; 14]);
                }
            }
        }
        (self.extensions.first().copied().unwrap_or(self.protocol()), bytes)
    }

    fn tcp(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.src_port.to_be_bytes());
        bytes.extend(self.dst_port.to_be_bytes());
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.ack.to_be_bytes());
        let words = (20 + self.options.len()) / 4;
        bytes.extend(((words as u16) << 12 | self.flags).to_be_bytes());
        bytes.extend(501_u16.to_be_bytes());
        bytes.extend([0, 0, 0, 0]);
        bytes.extend(&self.options);
        bytes.extend(vec![0x61; self.payload]);
        bytes
    }
}

/// RFC 4302 §2, with 4 octets of check value.
fn authentication(next: u8) -> [u8; 16] {
    [next, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0]
}

impl Icmp {
    fn bytes(&self) -> Vec<u8> {
        [&[self.kind, self.code, 0, 0, 0, 0, 0, 0], &self.quote[..]].concat()
    }
}
