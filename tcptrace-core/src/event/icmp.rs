//! What the network says of a SYN or SYN-ACK.

use super::{Common, Role, define::object, value};
use std::{borrow::Cow, net::IpAddr};

object! {
    /// What an ICMP or ICMPv6 error says.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct IcmpReport {
        /// The address that the ICMP error came from: a router's on the way, or that of the host which could not be reached. The
        /// end that sent the segment which it quotes is `quoted_sender`.
        #[schemars(schema_with = "value::ip")]
        pub from: IpAddr,
        /// The type, of ICMP or ICMPv6 as the connection's addresses are.
        #[serde(rename = "type")]
        pub kind: u8,
        /// The code.
        pub code: u8,
        /// Both in words.
        pub meaning: Cow<'static, str>,
        /// Which end sent the SYN or SYN-ACK that the ICMP error quotes, and is told by it that the segment did not arrive. Whose
        /// word that is says `from`.
        pub quoted_sender: Role,
    }
}

object! {
    /// The network's answer to a SYN or SYN-ACK.
    #[derive(Clone, Debug, PartialEq)]
    pub struct IcmpErrorEvent {
        /// Who and when.
        #[serde(flatten)]
        pub common: Common,
        /// What it says.
        #[serde(flatten)]
        pub icmp: IcmpReport,
        /// The sequence number of the quoted segment, raw.
        pub seq: u32,
    }
}
