//! What is driven: the kinds that every test knows, and the scenes of this one; and what the kernel and we must say
//! of each.

use crate::{
    scenes::{Phase, Scene},
    traffic::Kind,
};

/// A kind of connection.
#[derive(Clone, Copy)]
pub(crate) enum What {
    Kind(Kind),
    Scene(&'static Scene),
}

impl What {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Kind::ALL.into_iter().map(Self::Kind).chain(Scene::all().map(Self::Scene))
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kind(kind) => kind.name(),
            Self::Scene(scene) => scene.name,
        }
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Kind(_) => "",
            Self::Scene(scene) => scene.about,
        }
    }

    pub(crate) fn phase(self) -> Phase {
        match self {
            Self::Kind(_) => Phase::Usual,
            Self::Scene(scene) => scene.phase,
        }
    }

    pub(crate) fn is_slow(self) -> bool {
        match self {
            Self::Kind(kind) => kind.needs_loss(),
            Self::Scene(scene) => scene.slow,
        }
    }

    pub(crate) fn lacks(self) -> Option<String> {
        match self {
            Self::Kind(_) => None,
            Self::Scene(scene) => scene.lacks(),
        }
    }

    pub(crate) fn counter(self) -> Option<&'static str> {
        match self {
            Self::Kind(_) => None,
            Self::Scene(scene) => scene.counter,
        }
    }

    /// The kernel's states of the local socket, in our spelling: one of these.
    pub(crate) fn paths(self, local_is_client: bool) -> &'static [&'static str] {
        match self {
            Self::Scene(scene) => scene.paths[usize::from(!local_is_client)],
            Self::Kind(kind) => of_kind(kind, local_is_client),
        }
    }

    /// What we say of it.
    pub(crate) fn outcomes(self, local_is_client: bool) -> &'static [&'static str] {
        match self {
            Self::Scene(scene) => scene.outcomes[usize::from(!local_is_client)],
            Self::Kind(Kind::ResetByClient | Kind::ResetByServer | Kind::ResetWhenClosing) => &["reset"],
            Self::Kind(Kind::Refused) => &["refused"],
            Self::Kind(Kind::Unanswered) => &["unanswered"],
            Self::Kind(_) => &["closed"],
        }
    }

    /// Fields of the last `connection`, as JSON.
    pub(crate) fn says(self, local_is_client: bool) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Scene(scene) => scene.says[usize::from(!local_is_client)],
            Self::Kind(_) => &[],
        }
    }

    /// Connections of the one four-tuple.
    pub(crate) fn lives(self) -> usize {
        self.outcomes(true).len()
    }

    /// Those of them that only the end of the trace ends.
    pub(crate) fn stay_open(self, local_is_client: bool) -> usize {
        self.outcomes(local_is_client).iter().filter(|outcome| **outcome == "open").count()
    }
}

/// RFC 9293's figure 5, less what is no socket: LISTEN is another one's, TIME-WAIT a smaller thing.
#[expect(clippy::match_same_arms, reason = "one line for each kind and end")]
fn of_kind(kind: Kind, is_client: bool) -> &'static [&'static str] {
    match (kind, is_client) {
        (Kind::Refused | Kind::Unanswered, true) => &["CLOSED SYN_SENT CLOSED"],
        (Kind::Refused | Kind::Unanswered, false) => &[""],
        (Kind::ResetByClient | Kind::ResetByServer, true) => &["CLOSED SYN_SENT ESTABLISHED CLOSED"],
        (Kind::ResetByClient | Kind::ResetByServer, false) => &["LISTEN SYN_RECEIVED ESTABLISHED CLOSED"],
        (Kind::ResetWhenClosing, false) => &["LISTEN SYN_RECEIVED ESTABLISHED CLOSE_WAIT CLOSED"],
        (Kind::SimultaneousClose, true) => &["CLOSED SYN_SENT ESTABLISHED FIN_WAIT_1 CLOSING CLOSED"],
        (Kind::SimultaneousClose, false) => &["LISTEN SYN_RECEIVED ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 CLOSED"],
        (Kind::SimultaneousOpen, true) => {
            &["CLOSED SYN_SENT SYN_RECEIVED ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 CLOSED"]
        }
        (Kind::SimultaneousOpen, false) => &["CLOSED SYN_SENT ESTABLISHED CLOSE_WAIT LAST_ACK CLOSED"],
        (Kind::ServerCloses, true) => &["CLOSED SYN_SENT ESTABLISHED CLOSE_WAIT LAST_ACK CLOSED"],
        (Kind::ServerCloses, false) => &["LISTEN SYN_RECEIVED ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 CLOSED"],
        (_, true) => &["CLOSED SYN_SENT ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 CLOSED"],
        (_, false) => &["LISTEN SYN_RECEIVED ESTABLISHED CLOSE_WAIT LAST_ACK CLOSED"],
    }
}
