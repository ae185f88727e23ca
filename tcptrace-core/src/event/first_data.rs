//! When the two ends of a connection sent their first data, and what the client's asks for.

use super::define::object;

object! {
    /// When the two ends sent their first data, and what the client's asks for, with `--first-byte`; each null without that, and where it was not seen.
    #[derive(Clone, Debug, PartialEq, Eq, Default)]
    pub struct FirstData {
        /// From establishment to the first octet of the client's data; 0 where that came with the handshake, as with TCP Fast Open.
        pub client_first_data_ns: Option<u64>,
        /// From establishment to the first octet of the server's data, likewise.
        pub server_first_data_ns: Option<u64>,
        /// The request to the answer: the first octet of the client's data to that of the server's; null where the server spoke
        /// first.
        pub first_response_ns: Option<u64>,
        /// The server's part of that, with its kernel: all of it on the server's host, and on the client's what is left without the
        /// network's round trip (`network_rtt_ns`); null elsewhere.
        pub first_response_server_ns: Option<u64>,
        /// The server sent its first data before it had any of the client's, whose number that data acknowledges.
        pub server_spoke_first: Option<bool>,
        /// With `--server-name`: the name that the client asks for in TLS (RFC 6066 §3).
        pub server_name: Option<Box<str>>,
        /// With `--server-name`: the protocols that the client offers in TLS (RFC 7301), in its order.
        pub alpn: Option<Vec<Box<str>>>,
        /// With `--server-name`: the host that the client asks for in HTTP/1, with the port if it says one.
        pub http_host: Option<Box<str>>,
    }
}

impl FirstData {
    /// Who is asked: the name in TLS, else the host of HTTP.
    pub(crate) fn asked_for(&self) -> Option<&str> {
        self.server_name.as_deref().or(self.http_host.as_deref())
    }
}
