//! Which data begins with a request that has the server's name.

/// How many octets decide it.
pub const FIRST_OCTETS: usize = 6;

/// Whether data that begins with these octets may begin with a request that has the server's name: a `ClientHello` of TLS
/// (RFC 8446 §5.1, §4), or the method of a request in HTTP/1 (RFC 9112 §3), which is in capital letters by all that is
/// registered. No answer of a server begins so.
#[inline(always)]
#[must_use]
pub fn begins_a_request(octets: [u8; FIRST_OCTETS]) -> bool {
    const HANDSHAKE: u8 = 22;
    const CLIENT_HELLO: u8 = 1;
    let [method @ .., _, message] = octets;
    let is_letter = |octet: u8| octet.wrapping_sub(b'A') < 26;
    let is_tls = method[0] == HANDSHAKE && method[1] == 3 && message == CLIENT_HELLO;
    let is_http = is_letter(method[0])
        && is_letter(method[1])
        && is_letter(method[2])
        && (is_letter(method[3]) || method[3] == b' ')
        && method != *b"HTTP";
    is_tls || is_http
}

#[cfg(test)]
mod tests {
    use super::begins_a_request;

    #[test]
    fn requests_and_other_data() {
        for (octets, begins) in [
            (*b"\x16\x03\x01\x02\x00\x01", true),
            (*b"\x16\x03\x03\x02\x00\x01", true),
            (*b"\x16\x03\x03\x02\x00\x02", false),
            (*b"\x17\x03\x03\x02\x00\x01", false),
            (*b"\x16\x02\x03\x02\x00\x01", false),
            (*b"GET / ", true),
            (*b"PUT /a", true),
            (*b"POST /", true),
            (*b"DELETE", true),
            (*b"HEAD /", true),
            (*b"HTTP/1", false),
            (*b"SSH-2.", false),
            (*b"220 ma", false),
            (*b"get / ", false),
            (*b"\0\0\0\0\0\x01", false),
        ] {
            assert_eq!(begins_a_request(octets), begins, "{octets:?}");
        }
    }
}
