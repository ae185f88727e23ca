//! What was seen more than once.

use super::define::object;

object! {
    /// Lifecycle segments that were captured more than once, in a mirror of both directions or on both sides of a router: each
    /// counts once everywhere else but among the packets and segments.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Copies {
        /// How many there were beyond the originals.
        pub segments: u64,
        /// The TTL (hop limit) of the first such segment and of its copy: where they differ, a router lies between the two places.
        pub ttl: Option<[u8; 2]>,
    }
}

object! {
    /// A connection's numbers where it was seen once more.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct OtherView {
        /// The client's.
        pub client_isn: u32,
        /// The server's, where its SYN-ACK was seen.
        pub server_isn: Option<u32>,
    }
}
