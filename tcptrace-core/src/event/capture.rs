//! What the `stats` event says of a capture file.

use super::{TunnelCounts, define::object};

object! {
    /// A capture file: what it says it lacks, and what of it was not understood.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct CaptureStats {
        /// Packets that the interfaces dropped while it was taken, by the file (`isb_ifdrop`); nobody knows when.
        pub dropped_by_interface: u64,
        /// Packets that the operating system dropped, likewise (`isb_osdrop`).
        pub dropped_by_system: u64,
        /// Packets that were dropped just before packets that say so (`epb_dropcount`): what was open then is incomplete.
        pub dropped_between_packets: u64,
        /// Packets cut too short by the snapshot length; they are among those in `unparsable.truncated`.
        pub cut_too_short: u64,
        /// How often time goes back by a millisecond or more on an interface.
        pub time_went_back: u64,
        /// By how much at most.
        pub time_went_back_most_ns: u64,
        /// Packets without a time stamp.
        pub without_time: u64,
        /// Packets in tunnels that were not looked into, by their kind.
        pub tunnels_passed_over: TunnelCounts,
        /// Packets in what is not looked into at all.
        pub passed_over: PassedOver,
    }
}

impl CaptureStats {
    /// Packets that somebody dropped while the file was taken.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped_by_interface + self.dropped_by_system + self.dropped_between_packets
    }
}

object! {
    /// Packets that may hold TCP and are not looked into, by what they are.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct PassedOver {
        /// Provider backbone bridging (IEEE 802.1ah, Ethernet type 0x88e7).
        pub pbb: u64,
        /// IEEE 802.11 in GRE.
        pub gre_ieee802_11: u64,
        /// Teredo (RFC 4380), to UDP port 3544.
        pub teredo: u64,
        /// AYIYA (draft-massar-v6ops-ayiya-02), to UDP port 5072.
        pub ayiya: u64,
        /// IEEE 802.11 in TZSP, to UDP port 37008.
        pub tzsp_ieee802_11: u64,
    }
}

impl PassedOver {
    /// What each is called, and how many.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let Self { pbb, gre_ieee802_11, teredo, ayiya, tzsp_ieee802_11 } = *self;
        [
            ("PBB (802.1ah)", pbb),
            ("802.11 in GRE", gre_ieee802_11),
            ("Teredo", teredo),
            ("AYIYA", ayiya),
            ("802.11 in TZSP", tzsp_ieee802_11),
        ]
        .into_iter()
    }
}
