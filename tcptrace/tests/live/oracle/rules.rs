//! What the kernel says of a socket beside what we say of the endpoint: equal, or different by a rule with a name
//! and a reason.

use std::fmt;

/// One change of state: the kernel's, in our spelling, or ours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step<'a> {
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
}

impl fmt::Debug for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.from, self.to)
    }
}

/// A difference that is as it should be.
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    pub(crate) reason: &'static str,
    /// How many steps of the kernel and of ours it covers at the head of both, if it does.
    covers: fn(&Sides<'_, '_>) -> Option<(usize, usize)>,
}

/// What is left to compare, and whether the kernel had a socket at all.
pub(crate) struct Sides<'k, 'o> {
    kernel: &'k [Step<'k>],
    ours: &'o [Step<'o>],
    socket: bool,
}

const fn step(from: &'static str, to: &'static str) -> Step<'static> {
    Step { from, to }
}

/// The place of that rule in the table.
pub(crate) const REQUEST_SOCKET: usize = 1;
/// Likewise.
pub(crate) const TIME_WAIT: usize = 2;
/// Likewise.
pub(crate) const CLOSE_CALL: usize = 5;

pub(crate) const RULES: [Rule; 6] = [
    Rule {
        name: "presumed listener",
        reason: "LISTEN is the state of another socket, the listening one \
                 (net/ipv4/inet_connection_sock.c, inet_csk_listen_start)",
        covers: |s| (s.ours.first() == Some(&step("CLOSED", "LISTEN"))).then_some((0, 1)),
    },
    Rule {
        name: "request socket",
        reason: "a connection in SYN-RECEIVED is a request, no socket; its socket is made by the third segment and \
                 passes LISTEN -> SYN_RECV then (net/ipv4/inet_connection_sock.c, inet_csk_clone_lock), which \
                 older kernels report before they set its ports",
        covers: |s| {
            let ours = s.ours.first() == Some(&step("LISTEN", "SYN_RECEIVED"));
            (ours && s.kernel.first() == Some(&step("SYN_RECEIVED", "ESTABLISHED"))).then_some((0, 1))
        },
    },
    Rule {
        name: "TIME-WAIT is no socket",
        reason: "the socket is replaced by a smaller one, whose states nobody reports, and closes \
                 (net/ipv4/tcp_minisocks.c, tcp_time_wait)",
        covers: |s| {
            let (kernel, ours) = (s.kernel.first()?, s.ours.first()?);
            let waits = matches!(kernel.from, "FIN_WAIT_2" | "CLOSING") && kernel.to == "CLOSED";
            (waits && ours.from == kernel.from && ours.to == "TIME_WAIT").then_some((1, 1))
        },
    },
    Rule {
        name: "nobody there",
        reason: "nothing listened, or a firewall dropped the SYN before TCP: there is no socket \
                 (net/ipv4/tcp_ipv4.c, tcp_v4_rcv, no_tcp_socket)",
        covers: |s| (!s.socket && s.ours == [step("LISTEN", "CLOSED")]).then_some((0, 1)),
    },
    Rule {
        name: "simultaneous open",
        reason: "we presumed that the peer listened; it opened actively instead, its SYN crossing the first \
                 (net/ipv4/tcp_ipv4.c, tcp_v4_connect)",
        covers: |s| {
            let kernel = s.kernel.first() == Some(&step("CLOSED", "SYN_SENT"));
            (kernel && s.ours.first() == Some(&step("LISTEN", "SYN_SENT"))).then_some((1, 1))
        },
    },
    Rule {
        name: "close() changes nothing",
        reason: "an application's close() of a socket that is closing already sets the state that it has \
                 (net/ipv4/tcp.c, tcp_close_state)",
        covers: |s| s.kernel.first().is_some_and(|kernel| kernel.from == kernel.to).then_some((1, 0)),
    },
];

/// What came of comparing one endpoint, or many.
#[derive(Default)]
pub(crate) struct Verdict {
    pub(crate) kernel: usize,
    pub(crate) ours: usize,
    pub(crate) equal: usize,
    /// Times each rule was needed.
    pub(crate) explained: [usize; RULES.len()],
    pub(crate) unexplained: usize,
}

impl Verdict {
    pub(crate) fn of(kernel: &[Step<'_>], ours: &[Step<'_>]) -> Self {
        let mut verdict = Self { kernel: kernel.len(), ours: ours.len(), ..Self::default() };
        let mut sides = Sides { kernel, ours, socket: !kernel.is_empty() };
        while !sides.kernel.is_empty() || !sides.ours.is_empty() {
            let mut covered = RULES.iter().map(|rule| (rule.covers)(&sides)).enumerate();
            let by_rule = covered.find_map(|(nth, covers)| Some((nth, covers?)));
            if let ([kernel, rest_of_kernel @ ..], [ours, rest_of_ours @ ..]) = (sides.kernel, sides.ours)
                && kernel == ours
            {
                verdict.equal += 1;
                (sides.kernel, sides.ours) = (rest_of_kernel, rest_of_ours);
            } else if let Some((nth, (of_kernel, of_ours))) = by_rule {
                verdict.explained[nth] += 1;
                (sides.kernel, sides.ours) = (&sides.kernel[of_kernel..], &sides.ours[of_ours..]);
            } else {
                // Nothing after the first difference can be trusted to belong together.
                verdict.unexplained += sides.kernel.len().max(sides.ours.len());
                break;
            }
        }
        verdict
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.kernel += other.kernel;
        self.ours += other.ours;
        self.equal += other.equal;
        self.unexplained += other.unexplained;
        for (sum, n) in self.explained.iter_mut().zip(other.explained) {
            *sum += n;
        }
    }
}

/// Our name of a kernel state (`include/net/tcp_states.h`).
pub(crate) fn our_name(kernel: &str) -> &str {
    match kernel {
        "CLOSE" => "CLOSED",
        "SYN_RECV" => "SYN_RECEIVED",
        "FIN_WAIT1" => "FIN_WAIT_1",
        "FIN_WAIT2" => "FIN_WAIT_2",
        same => same,
    }
}

#[test]
fn a_difference_without_a_rule_is_unexplained() {
    let handshake = [step("CLOSED", "SYN_SENT"), step("SYN_SENT", "ESTABLISHED")];
    assert_eq!(Verdict::of(&handshake, &handshake).equal, 2);
    let [first, second] = handshake;
    for (kernel, ours) in [
        (&handshake[..], &handshake[..1]),
        (&handshake[..1], &handshake[..]),
        (&handshake[..], &[second, first][..]),
        (&handshake[..], &[][..]),
    ] {
        assert_ne!(Verdict::of(kernel, ours).unexplained, 0, "{kernel:?} is not {ours:?}");
    }
}
