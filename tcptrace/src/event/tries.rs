//! What was sent again in a handshake, and what that means.

use schemars::JsonSchema;
use serde::Serialize;

/// How the tries of an unanswered SYN are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// As stacks do it: every wait is as long as the one before or twice as long (RFC 6298 §5.5; Linux's
    /// `tcp_syn_linear_timeouts`). All tries passed here.
    Regular,
    /// Otherwise: some did not pass here, or no usual stack sent them.
    Irregular,
}

/// Why a server sends its SYN-ACK again although the acknowledgement has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SynackAgain {
    /// Once, and seen on the way: the acknowledgement was lost between here and the server.
    AckLost,
    /// More than once, or seen on the server's own host: the server does not take what reaches it. Its accept queue is
    /// full, or a filter of its own drops it.
    NotAccepted,
}
