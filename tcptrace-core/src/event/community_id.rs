//! Community ID, version 1: one name for a flow that Zeek, Suricata, Wireshark and others compute alike
//! (<https://github.com/corelight/community-id-spec>).

use super::Address;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha1::{Digest as _, Sha1};
use std::net::IpAddr;

/// IANA's number of TCP.
const TCP: u8 = 6;
/// `1:` and the Base64 form of SHA-1's 20 bytes.
const LEN: usize = 2 + 28;

/// A flow's Community ID with seed 0; the same for both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommunityId([u8; LEN]);

impl CommunityId {
    /// The Community ID of the TCP connection between two addresses.
    #[must_use]
    pub fn new(one: Address, other: Address) -> Self {
        let (low, high) =
            if (one.ip, one.port) <= (other.ip, other.port) { (one, other) } else { (other, one) };
        // In one piece: one block of SHA-1, without a buffer between.
        let mut input = [0; 2 + 16 + 16 + 2 + 2 + 2]; // it begins with the seed
        let mut len = 2;
        let mut put = |bytes: &[u8]| {
            input[len..len + bytes.len()].copy_from_slice(bytes);
            len += bytes.len();
        };
        for address in [low, high] {
            match address.ip {
                IpAddr::V4(ip) => put(&ip.octets()),
                IpAddr::V6(ip) => put(&ip.octets()),
            }
        }
        put(&[TCP, 0]); // and one byte of padding
        put(&low.port.to_be_bytes());
        put(&high.port.to_be_bytes());
        let hash = Sha1::digest(&input[..len]);
        let mut text = [b' '; LEN];
        text[..2].copy_from_slice(b"1:");
        let encoded = STANDARD.encode_slice(hash, &mut text[2..]);
        debug_assert_eq!(encoded, Ok(LEN - 2));
        Self(text)
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default() // only ASCII was ever written to it
    }

    /// The same as bytes, without looking at them.
    pub(crate) const fn as_bytes(&self) -> &[u8; LEN] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, CommunityId};

    fn id(one: (&str, u16), other: (&str, u16)) -> String {
        let address = |(ip, port): (&str, u16)| Address { ip: ip.parse().expect("an address"), port };
        let there = CommunityId::new(address(one), address(other));
        assert_eq!(there, CommunityId::new(address(other), address(one)), "the same in both directions");
        there.as_str().to_owned()
    }

    /// From the specification's own examples and the tests of Zeek, which its author wrote.
    #[test]
    fn the_published_vectors() {
        for (one, other, expected) in [
            (("128.232.110.120", 34855), ("66.35.250.204", 80), "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
            (("1.2.3.4", 1122), ("5.6.7.8", 3344), "1:wCb3OG7yAFWelaUydu0D+125CLM="),
            (
                ("2001:470:e5bf:dead:4957:2174:e82c:4887", 63943),
                ("2607:f8b0:400c:c03::1a", 25),
                "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=",
            ),
        ] {
            assert_eq!(id(one, other), expected);
        }
    }
}
