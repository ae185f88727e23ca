//! What is to be done with a connection after a segment.

use crate::event::{Outcome, ResetPhase};

/// What is to be done with a connection after a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// The connection goes on.
    GoesOn,
    /// The segment is a reset that is held for a while.
    HoldsReset,
    /// The segment ended the connection with this outcome; by a reset of an open connection, in this phase.
    Ends(Outcome, Option<ResetPhase>),
    /// The segment opens the four-tuple anew: the connection ended before with this outcome, and another begins.
    Restarts(Outcome),
}
