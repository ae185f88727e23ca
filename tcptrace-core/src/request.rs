//! What the beginning of a connection's first data says of the server that is asked: TLS's server name and protocols, or the
//! host of a request in HTTP/1.
//!
//! The bytes are a stranger's, and may end anywhere: what is not there whole is not known. Of TLS only the few fields that
//! are looked for are read here, as the parsers that there are take a `ClientHello` whole or not at all, and one with a
//! post-quantum key is longer than a packet of most networks.

/// What the beginning of a request says of the server that is asked. Each is `None` where it does not say so.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Request {
    /// The name in TLS's extension for it (RFC 6066 §3).
    pub server_name: Option<Box<str>>,
    /// The protocols that TLS is to choose from (RFC 7301), in the client's order.
    pub alpn: Option<Vec<Box<str>>>,
    /// The field `Host` of a request in HTTP/1 (RFC 9112 §3.2), with the port if there is one.
    pub http_host: Option<Box<str>>,
}

/// Reads the beginning of a request. `None` if it says nothing.
#[must_use]
pub fn read(data: &[u8]) -> Option<Request> {
    let request = match data.first()? {
        &HANDSHAKE => client_hello(data)?,
        _ => Request { http_host: http_host(data), ..Request::default() },
    };
    (request != Request::default()).then_some(request)
}

/// The longest name that is taken over: that of a host has 253 characters at most (RFC 1035 §2.3.4), and a port may follow.
const LONGEST: usize = 260;

/// Names and protocols are of visible ASCII characters, if somebody means them to be read.
fn text(octets: &[u8]) -> Option<Box<str>> {
    let is_text = (1..=LONGEST).contains(&octets.len()) && octets.iter().all(u8::is_ascii_graphic);
    let text = std::str::from_utf8(octets).ok().filter(|_| is_text)?;
    Some(text.into())
}

/// The most fields of a request before its `Host`. Browsers send it first.
const MOST_FIELDS: usize = 32;

fn http_host(data: &[u8]) -> Option<Box<str>> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    // A request that goes on in the next segment has the fields that are whole.
    request.parse(data).ok()?;
    request.version?;
    let host = request.headers.iter().find(|field| field.name.eq_ignore_ascii_case("host"))?;
    text(host.value)
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
const ALPN: u16 = 16;

/// Reads a `ClientHello` in TLS's first record (RFC 8446 §5.1, §4.1.2), as far as there is one.
fn client_hello(data: &[u8]) -> Option<Request> {
    let mut record = Octets(data);
    if record.number::<1>()? != u32::from(HANDSHAKE) {
        return None;
    }
    record.take(2)?;
    let len = record.number::<2>()?;
    let mut message = record.up_to(len);
    if message.number::<1>()? != u32::from(CLIENT_HELLO) {
        return None;
    }
    let len = message.number::<3>()?;
    let mut hello = message.up_to(len);
    // The version, the random octets, the session's identifier, the cipher suites and the compression methods.
    hello.take(2 + 32)?;
    hello.vector::<1>()?;
    hello.vector::<2>()?;
    hello.vector::<1>()?;
    let len = hello.number::<2>()?;
    let mut extensions = hello.up_to(len);
    let mut request = Request::default();
    while let Some(kind) = extensions.number::<2>() {
        let Some(extension) = extensions.vector::<2>() else { break };
        match u16::try_from(kind) {
            Ok(SERVER_NAME) => request.server_name = request.server_name.or_else(|| server_name(extension)),
            Ok(ALPN) => request.alpn = request.alpn.or_else(|| protocols(extension)),
            _ => {}
        }
    }
    Some(request)
}

fn server_name(mut extension: Octets<'_>) -> Option<Box<str>> {
    let mut list = extension.vector::<2>()?;
    while let Some(kind) = list.number::<1>() {
        let name = list.vector::<2>()?;
        if kind == u32::from(HOST_NAME) {
            return text(name.0);
        }
    }
    None
}

/// The protocols whose names are text. Those that are not are there to keep servers from choking on new ones (RFC 8701).
fn protocols(mut extension: Octets<'_>) -> Option<Vec<Box<str>>> {
    let mut list = extension.vector::<2>()?;
    let mut names = Vec::new();
    while let Some(name) = list.vector::<1>() {
        names.extend(text(name.0));
    }
    (!names.is_empty()).then_some(names)
}

/// Octets that are read from the front.
struct Octets<'a>(&'a [u8]);

impl<'a> Octets<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of at most four octets, the highest first.
    fn number<const N: usize>(&mut self) -> Option<u32> {
        const { assert!(N <= 4) };
        Some(self.take(N)?.iter().fold(0, |number, &octet| number << 8 | u32::from(octet)))
    }

    /// What follows a length of `N` octets, if all of it is there.
    fn vector<const N: usize>(&mut self) -> Option<Self> {
        let len = usize::try_from(self.number::<N>()?).ok()?;
        self.take(len).map(Octets)
    }

    /// The next `len` octets, or as many as there are.
    fn up_to(&mut self, len: u32) -> Self {
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(self.0.len());
        Octets(self.take(len).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::{Request, read};
    use proptest::prelude::*;

    fn vector(len: usize, octets: &[u8]) -> Vec<u8> {
        let octets_len = u32::try_from(octets.len()).expect("short").to_be_bytes();
        [&octets_len[4 - len..], octets].concat()
    }

    fn extension(kind: u16, octets: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &vector(2, octets)].concat()
    }

    /// A `ClientHello` with these extensions in order.
    fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
        let body = [
            &[3, 3][..],
            &[9; 32],
            &vector(1, &[8; 32]),
            &vector(2, &[0x13, 1, 0x13, 2]),
            &vector(1, &[0]),
            &vector(2, &extensions.concat()),
        ]
        .concat();
        [&[22, 3, 1][..], &vector(2, &[&[1][..], &vector(3, &body)].concat())].concat()
    }

    fn named(name: &[u8]) -> Vec<u8> {
        extension(0, &vector(2, &[&[0][..], &vector(2, name)].concat()))
    }

    fn with_alpn(protocols: &[&[u8]]) -> Vec<u8> {
        let all: Vec<Vec<u8>> = protocols.iter().map(|name| vector(1, name)).collect();
        extension(16, &vector(2, &all.concat()))
    }

    fn key_share() -> Vec<u8> {
        extension(51, &[5; 1250])
    }

    #[test]
    fn a_client_hello_has_name_and_protocols() {
        let grease = extension(0x0a0a, &[]);
        let all = hello(&[
            grease,
            named(b"example.org"),
            key_share(),
            with_alpn(&[b"\x1a\x1a", b"h2", b"http/1.1"]),
        ]);
        let whole = Request {
            server_name: Some("example.org".into()),
            alpn: Some(vec!["h2".into(), "http/1.1".into()]),
            http_host: None,
        };
        assert_eq!(read(&all), Some(whole.clone()));
        // Cut behind the name, as where the rest is in the next packet.
        let name_alone = Request { alpn: None, ..whole };
        assert_eq!(read(&all[..700]), Some(name_alone));
        assert_eq!(read(&all[..100]), None);
        assert_eq!(read(&hello(&[])), None);
    }

    #[test]
    fn a_request_in_http_has_a_host() {
        let host = |name: &str| Some(Request { http_host: Some(name.into()), ..Request::default() });
        for (data, expected) in [
            (&b"GET / HTTP/1.1\r\nHost: example.org:8080\r\n\r\n"[..], host("example.org:8080")),
            (b"POST /x HTTP/1.0\r\nA: b\r\nhOST:  [2001:db8::1]\r\nContent-Le", host("[2001:db8::1]")),
            (b"GET / HTTP/1.1\r\nHost: exam", None),
            (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", None),
            (b"GET / HTTP/1.1\r\nA: b\r\n\r\n", None),
            (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", None),
            (b"GET / HTTP/1.1\r\nHost: \xc3\xa9.org\r\n\r\n", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", None),
            (b"EHLO example.org\r\n", None),
            (b"", None),
        ] {
            assert_eq!(read(data), expected, "{}", data.escape_ascii());
        }
    }

    #[test]
    fn names_that_nobody_can_read_are_none() {
        for name in [&b"\x1b[2J"[..], b"a\xff", b"", b"a b", &[b'a'; 300]] {
            assert_eq!(read(&hello(&[named(name)])), None, "{}", name.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_change_of_a_hello_is_read(at in 0_usize..200, octet: u8, len in 0_usize..1600) {
            let mut data = hello(&[named(b"example.org"), with_alpn(&[b"h2"]), key_share()]);
            data[at] = octet;
            data.truncate(len);
            if let Some(Request { server_name, alpn, http_host }) = read(&data) {
                let all = server_name.into_iter().chain(http_host).chain(alpn.into_iter().flatten());
                for text in all {
                    prop_assert!(!text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic()));
                }
            }
        }
    }
}
