//! What ICMP and ICMPv6 errors mean, in words.

/// The type and code of an error in words (RFC 792, RFC 1812 §5.2.7.1, RFC 4443 §3).
pub(crate) const fn meaning(ipv6: bool, kind: u8, code: u8) -> &'static str {
    match (ipv6, kind, code) {
        (false, 3, 0) => "network unreachable",
        (false, 3, 1) => "host unreachable",
        (false, 3, 2) => "protocol unreachable",
        (false, 3, 3) | (true, 1, 4) => "port unreachable",
        (false, 3, 5) => "source route failed",
        (false, 3, 6) => "network unknown",
        (false, 3, 7) => "host unknown",
        (false, 3, 8) => "source host isolated",
        (false, 3, 9) => "network administratively prohibited",
        (false, 3, 10) => "host administratively prohibited",
        (false, 3, 11) => "network unreachable for this type of service",
        (false, 3, 12) => "host unreachable for this type of service",
        (false, 3, 13) | (true, 1, 1) => "administratively prohibited",
        (false, 3, 14) => "host precedence violation",
        (false, 3, 15) => "precedence cutoff in effect",
        (true, 1, 0) => "no route to destination",
        (true, 1, 2) => "beyond scope of source address",
        (true, 1, 3) => "address unreachable",
        (true, 1, 5) => "source address failed policy",
        (true, 1, 6) => "reject route to destination",
        (false, 3, _) | (true, 1, _) => "destination unreachable",
        (false, 11, 1) | (true, 3, 1) => "fragment reassembly time exceeded",
        (false, 11, _) => "time to live exceeded",
        (true, 3, _) => "hop limit exceeded",
        (false, 12, _) | (true, 4, _) => "parameter problem",
        _ => "unknown error",
    }
}
