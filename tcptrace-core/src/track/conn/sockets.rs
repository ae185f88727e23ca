//! The sockets of a connection's ends that are on this host, and when its first data came. Both are in one place, as there can
//! be a million connections without either.

use super::{Conn, index};
use crate::{
    event::{Owner, Role, Socket, SocketMoment},
    segment::{Segment, Timestamp},
    socket::{SenderSocket, SocketNumbers, SocketOwner},
    track::first_data::FirstData,
};
use tcptrace_common::abi::NO_MIN_RTT;

/// What is known of the sockets of both ends, and of the first data.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sockets {
    ends: [EndSocket; 2],
    first_data: Option<FirstData>,
}

/// What is known of the socket of one end.
#[derive(Clone, Debug, Default)]
struct EndSocket {
    owner: Option<SocketOwner>,
    closing: Option<Closing>,
}

/// What a socket knew when it sent its last FIN or RST.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closing {
    pub(crate) at: SocketMoment,
    pub(crate) ts: Timestamp,
    pub(crate) numbers: SocketNumbers,
}

impl Conn {
    /// Records what is known of the socket that sent `seg`.
    pub(super) fn record_socket(&mut self, sender: Role, seg: &Segment) {
        let Some(known) = seg.socket.as_deref() else { return };
        let end = &mut self.sockets.get_or_insert_default().ends[index(sender)];
        match known {
            SenderSocket::Owner(owner) => end.owner = Some(owner.clone()),
            SenderSocket::Numbers(numbers) => {
                let at = if seg.flags.rst() { SocketMoment::Rst } else { SocketMoment::Fin };
                end.closing = Some(Closing { at, ts: seg.ts, numbers: *numbers });
            }
        }
    }

    /// When its first data came, as far as it has.
    pub(crate) fn first_data(&self) -> Option<&FirstData> {
        self.sockets.as_deref()?.first_data.as_ref()
    }

    pub(crate) fn first_data_mut(&mut self) -> &mut FirstData {
        self.sockets.get_or_insert_default().first_data.get_or_insert(FirstData::NONE)
    }

    fn end_socket(&self, role: Role) -> Option<&EndSocket> {
        Some(&self.sockets.as_deref()?.ends[index(role)])
    }

    /// What the socket of `role` knew when it sent its last FIN or RST.
    pub(crate) fn closing_socket(&self, role: Role) -> Option<&Closing> {
        self.end_socket(role)?.closing.as_ref()
    }

    /// Whose the socket of `role` is, as events report it.
    pub(crate) fn owner(&self, role: Role) -> Option<Owner> {
        let SocketOwner { uid, names, .. } = self.end_socket(role)?.owner.as_ref()?;
        let (user, cgroup) =
            names.as_deref().map_or((None, None), |it| (it.user.clone(), it.cgroup.as_deref()));
        Some(Owner {
            uid: *uid,
            user,
            cgroup: cgroup.map(|it| it.path.clone()),
            unit: cgroup.and_then(|it| it.unit.clone()),
            container: cgroup.and_then(|it| it.container.clone()),
            pod: cgroup.and_then(|it| it.pod.clone()),
        })
    }
}

impl Closing {
    /// The same, as events report it.
    pub(crate) fn report(&self) -> Socket {
        let SocketNumbers { srtt, min_rtt, rate_delivered, rate_interval, mss, .. } = self.numbers;
        // The kernel keeps the smoothed time in eighths of a microsecond.
        let rtt_ns = (srtt != 0).then(|| u64::from(srtt) * 1000 / 8);
        let octets = u64::from(rate_delivered) * u64::from(mss);
        Socket {
            at: self.at,
            rtt_ns,
            min_rtt_ns: (min_rtt != NO_MIN_RTT && rtt_ns.is_some()).then(|| u64::from(min_rtt) * 1000),
            retransmits: self.numbers.retransmits,
            segments_out: self.numbers.segments_out,
            segments_in: self.numbers.segments_in,
            bytes_acked: self.numbers.bytes_acked,
            bytes_received: self.numbers.bytes_received,
            cwnd: self.numbers.cwnd,
            delivery_rate: (rate_delivered != 0 && rate_interval != 0)
                .then(|| octets.saturating_mul(1_000_000) / u64::from(rate_interval)),
        }
    }
}
