//! The ways in which a connection goes here, and what is to be told of each.

use crate::{loss::Loss, packets::Rng, traffic::Flow};
use serde_json::{Value, json};

/// One way to live and die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Way {
    /// Request, answer, and the client closes.
    ClientCloses,
    /// Request, answer, and the server closes.
    ServerCloses,
    /// Opened and closed by the client without a word.
    Silent,
    /// The server goes on sending after the client's FIN.
    HalfClose,
    /// Both send a FIN before they see the other's.
    BothClose,
    /// Both send a SYN before they see the other's; the client closes.
    BothOpen,
    /// RST by the client while open.
    ResetByClient,
    /// RST by the server while open.
    ResetByServer,
    /// Nobody listens.
    Refused,
    /// A firewall drops the SYN.
    Unanswered,
    /// Open for long without a word; then the client says one and closes.
    Long,
}

impl Way {
    pub(crate) const ALL: [Self; 11] = [
        Self::ClientCloses,
        Self::ServerCloses,
        Self::Silent,
        Self::HalfClose,
        Self::BothClose,
        Self::BothOpen,
        Self::ResetByClient,
        Self::ResetByServer,
        Self::Refused,
        Self::Unanswered,
        Self::Long,
    ];

    /// Of a hundred connections so many go this way.
    const fn percent(self) -> usize {
        match self {
            Self::ClientCloses => 32,
            Self::ServerCloses => 20,
            Self::Silent | Self::HalfClose | Self::Refused => 8,
            Self::BothClose | Self::BothOpen => 2,
            Self::ResetByClient | Self::ResetByServer => 6,
            Self::Unanswered => 5,
            Self::Long => 3,
        }
    }

    /// One, by their shares.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let mut lot = rng.below(Self::ALL.iter().map(|way| way.percent()).sum());
        for way in Self::ALL {
            match lot.checked_sub(way.percent()) {
                Some(rest) => lot = rest,
                None => return way,
            }
        }
        unreachable!("the lot is below the sum")
    }

    /// What the firewall does to it.
    pub(crate) const fn loss(self) -> Loss {
        match self {
            Self::BothClose => Loss::FinsUntilAnswered,
            Self::BothOpen => Loss::SynsUntilAnswered,
            Self::Unanswered => Loss::EverySyn,
            _ => Loss::Nothing,
        }
    }

    /// The outcome that is to be told.
    pub(crate) const fn outcome(self) -> &'static str {
        match self {
            Self::ResetByClient | Self::ResetByServer => "reset",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
            _ => "closed",
        }
    }
}

/// A connection as it is meant to go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) flow: Flow,
    pub(crate) way: Way,
    /// Octets from the client.
    pub(crate) request: usize,
    /// Octets from the server.
    pub(crate) answer: usize,
}

impl Plan {
    /// Of what a complete report says of it, what is wrong.
    pub(crate) fn faults(&self, event: &Value) -> Vec<String> {
        let fields = self.expected();
        let wrong = fields.iter().filter(|(field, expected)| event[*field] != *expected);
        wrong.map(|(field, expected)| format!("{field} is {}, not {expected}", event[*field])).collect()
    }

    fn expected(&self) -> Vec<(&'static str, Value)> {
        let mut fields = vec![
            ("outcome", json!(self.way.outcome())),
            ("partial", json!(false)),
            ("vantage", json!("client")),
            ("ip_version", json!(if self.flow.client.is_ipv4() { 4 } else { 6 })),
            ("simultaneous_open", json!(self.way == Way::BothOpen)),
        ];
        let closed_by = match self.way {
            Way::ResetByClient => return [fields, vec![("reset_by", json!("client"))]].concat(),
            Way::ResetByServer | Way::Refused => {
                return [fields, vec![("reset_by", json!("server"))]].concat();
            }
            Way::Unanswered => return fields,
            Way::ServerCloses => "server",
            Way::BothClose => "both",
            _ => "client",
        };
        fields.push(("closed_by", json!(closed_by)));
        fields.push(("client_bytes", json!(self.request)));
        fields.push(("server_bytes", json!(self.answer)));
        if self.way == Way::HalfClose {
            fields.push(("half_closed", json!(true)));
        }
        fields
    }
}
