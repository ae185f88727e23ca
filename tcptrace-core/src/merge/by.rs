//! What a merge finds out, and the grounds on which it does, as the JSON names them.

use schemars::JsonSchema;
use serde::Serialize;

/// By what the connections of two traces were found to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JoinedBy {
    /// By addresses, ports and both initial sequence numbers.
    FourTupleAndIsns,
    /// By both initial sequence numbers; addresses or ports are translated.
    Isns,
    /// By addresses, ports and the client's initial sequence number, as no answer to the SYN was seen somewhere.
    FourTupleAndClientIsn,
    /// By the client's initial sequence number, and the addresses and ports of one end; those of the other are translated.
    ClientIsn,
}

/// How it is known which place is nearer to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderedBy {
    /// One of them is the client's host or the server's.
    Host,
    /// Routers between them have lowered TTLs or hop limits.
    Ttl,
    /// What the client sends is later at one than at the other, compared with what the server sends.
    Times,
    /// Other connections between the same places say so.
    Others,
    /// Nothing tells: the files are taken to be named from the client to the server.
    Given,
}

/// What became of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It was seen at each place from the first to the last.
    Passed,
    /// It was seen at the place `after`, and did not come to the place `before`.
    Lost,
    /// The same, or it did come and was not recorded, as another segment that says as much came about then. This can be of
    /// acknowledgements only.
    LostOrUnrecorded,
    /// It was not seen at the place `after`, although it was nearer to the sender and missed nothing, but at the place `before`.
    /// Something between them sent it, or it went another way.
    Appeared,
    /// It was seen on the way, and whether it came to the place `before` is not known: that place was not looking then, or may have
    /// lost a record of it.
    Unknown,
    /// A place has an acknowledgement, and the others had no reason to record it.
    OfOne,
}
