//! What a segment leads to.

use crate::event::{Outcome, ResetPhase};

/// What the connection is after a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// It goes on.
    Goes,
    /// A reset that is doubted for a while.
    Holds,
    /// It ended so.
    Ends(Outcome, Option<ResetPhase>),
    /// The segment opens the four-tuple anew: this connection ended so, and another begins.
    Restarts(Outcome),
}
