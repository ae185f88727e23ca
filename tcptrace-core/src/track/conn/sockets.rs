//! The sockets of a connection's ends that are on this host, and when its first data came. Both are in one place, as there can
//! be a million connections without either.

use super::{Conn, index, times::When};
use crate::{
    event::{Cgroup, Process, ProcessHow, Role, Socket, SocketMoment},
    request::Request,
    segment::{Segment, Timestamp},
    socket::{How, SocketFacts, SocketNumbers, SocketOwner, SocketProcess},
};
use tcptrace_common::abi::NO_MIN_RTT;

/// What is known of the sockets of both ends, and of the first data.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sockets {
    ends: [EndSocket; 2],
    first_data: Option<FirstData>,
}

/// When the first octet of each direction passed.
#[derive(Clone, Debug)]
pub(crate) struct FirstData {
    /// When that of the client and that of the server passed.
    pub(crate) at: [When; 2],
    /// The segment with the server's acknowledges some of the client's data.
    pub(crate) answers: bool,
    /// What the client's says of the server that is asked.
    pub(crate) request: Option<Box<Request>>,
}

impl FirstData {
    pub(crate) const NONE: Self = Self { at: [When::NEVER; 2], answers: false, request: None };
}

/// What is known of the socket of one end.
#[derive(Clone, Debug, Default)]
struct EndSocket {
    owner: Option<SocketOwner>,
    /// Who opened it: connected or accepted it, bound the listener, or had it when the trace began.
    opener: Option<SocketProcess>,
    /// Who closed it.
    closer: Option<SocketProcess>,
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
        match &known.facts {
            SocketFacts::Owner(owner) => end.owner = Some(owner.clone()),
            SocketFacts::Numbers(numbers) => {
                let at = if seg.flags.rst() { SocketMoment::Rst } else { SocketMoment::Fin };
                end.closing = Some(Closing { at, ts: seg.ts, numbers: *numbers });
            }
        }
        if let Some(process) = &known.process {
            end.record_process(process);
        }
    }

    /// Records that `process` accepted the socket of `role`.
    pub(crate) fn record_acceptance(&mut self, role: Role, process: &SocketProcess) {
        self.sockets.get_or_insert_default().ends[index(role)].record_process(process);
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

    /// Who uses the socket of `role`, as events report it.
    pub(crate) fn process(&self, role: Role) -> Option<Process> {
        let end = self.end_socket(role)?;
        let (owner, process) = (end.owner.as_ref(), end.user());
        if owner.is_none() && process.is_none() {
            return None;
        }
        Some(Process {
            uid: owner.map(|owner| owner.uid),
            user: owner.and_then(|owner| owner.names.as_deref()?.user.clone()),
            ..report(process)
        })
    }

    /// Who closed the socket of `role`, where that is another process than uses it.
    pub(crate) fn closed_by(&self, role: Role) -> Option<Process> {
        let end = self.end_socket(role)?;
        let closer = end.closer.as_ref()?;
        (end.user()?.pid != closer.pid).then(|| report(Some(closer)))
    }

    /// The cgroup of the socket of `role`, as events report it.
    pub(crate) fn cgroup(&self, role: Role) -> Option<Cgroup> {
        let owner = self.end_socket(role)?.owner.as_ref()?;
        let names = owner.names.as_deref()?.cgroup.as_deref()?;
        Some(Cgroup {
            path: names.path.clone(),
            unit: names.unit.clone(),
            container: names.container.clone(),
            pod: names.pod.clone(),
            pod_name: names.pod_name.clone(),
        })
    }
}

impl EndSocket {
    fn record_process(&mut self, process: &SocketProcess) {
        match process.how {
            How::Close => self.closer = Some(process.clone()),
            // A worker accepts what another process listens for.
            How::Connect | How::Accept => self.opener = Some(process.clone()),
            How::Listen | How::Snapshot => _ = self.opener.get_or_insert_with(|| process.clone()),
        }
    }

    /// The process that uses it: who connected or accepted it. Who closed it stands in for that, and is nearer to it than who
    /// only listens.
    fn user(&self) -> Option<&SocketProcess> {
        let opener = self.opener.as_ref();
        let sure = opener.filter(|process| process.how != How::Listen);
        sure.or(self.closer.as_ref()).or(opener)
    }
}

/// A process as events report it, without its user.
fn report(process: Option<&SocketProcess>) -> Process {
    Process {
        pid: process.map(|it| it.pid),
        comm: process.map(|it| it.comm().into()),
        exe: process.and_then(|it| it.exe.clone()),
        uid: None,
        user: None,
        how: process.map(|it| match it.how {
            How::Connect => ProcessHow::Connect,
            How::Listen => ProcessHow::Listen,
            How::Accept => ProcessHow::Accept,
            How::Close => ProcessHow::Close,
            How::Snapshot => ProcessHow::Snapshot,
        }),
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
