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
    kind: &'k str,
    kernel: &'k [Step<'k>],
    ours: &'o [Step<'o>],
    socket: bool,
}

/// SYN-SENT and back, and then once more.
fn is_vain(kernel: &[Step<'_>]) -> bool {
    kernel.starts_with(&[step("CLOSED", "SYN_SENT"), step("SYN_SENT", "CLOSED"), step("CLOSED", "SYN_SENT")])
}

const fn step(from: &'static str, to: &'static str) -> Step<'static> {
    Step { from, to }
}

/// The place of that rule in the table: it comes before equality, for its first step has an equal one later.
const TAKEN: usize = 0;

pub(crate) const RULES: [Rule; 12] = [
    Rule {
        name: "four-tuple taken",
        reason: "connect() found no room for its socket and sent nothing, and the application tried again \
                 (net/ipv4/tcp_ipv4.c, tcp_v4_connect, EADDRNOTAVAIL)",
        covers: |s| is_vain(s.kernel).then_some((2, 0)),
    },
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
    Rule {
        name: "TIME-WAIT is over",
        reason: "a SYN opened the four-tuple anew: the smaller thing that was in TIME-WAIT ends unreported \
                 (net/ipv4/inet_timewait_sock.c, inet_twsk_deschedule_put)",
        covers: |s| (s.ours.first() == Some(&step("TIME_WAIT", "CLOSED"))).then_some((0, 1)),
    },
    Rule {
        name: "request without a socket",
        reason: "the third segment never came, so the request never became a socket \
                 (net/ipv4/inet_connection_sock.c, reqsk_timer_handler)",
        covers: |s| {
            let ours = s.ours == [step("LISTEN", "SYN_RECEIVED"), step("SYN_RECEIVED", "CLOSED")];
            (!s.socket && ours).then_some((0, 2))
        },
    },
    Rule {
        name: "third segment not sent",
        reason: "the client is in ESTABLISHED before its third segment, which a firewall of its own host drops: the \
                 packets do not prove it",
        covers: |s| {
            let kernel = s.kernel == [step("SYN_SENT", "ESTABLISHED"), step("ESTABLISHED", "CLOSED")];
            let silent = s.kind == "ThirdSegmentNever";
            (silent && kernel && s.ours == [step("SYN_SENT", "CLOSED")]).then_some((2, 1))
        },
    },
    Rule {
        name: "death without a segment",
        reason: "TCP_USER_TIMEOUT ran out: the socket is closed and nobody is told (net/ipv4/tcp_timer.c, \
                 tcp_write_err); the packets do not prove it",
        covers: |s| {
            let kernel = s.kernel == [step("ESTABLISHED", "CLOSED")];
            (s.kind == "UserTimeout" && kernel && s.ours.is_empty()).then_some((1, 0))
        },
    },
    Rule {
        name: "RST instead of an acknowledgement",
        reason: "the FIN had come, so CLOSE-WAIT, and close() with data unread sends a RST before its acknowledgement: a \
                 RST is the end and not looked at further (RFC 9293 §3.10.7.4, second and fifth step)",
        covers: |s| {
            let kernel = s.kernel == [step("ESTABLISHED", "CLOSE_WAIT"), step("CLOSE_WAIT", "CLOSED")];
            let ours = s.ours == [step("ESTABLISHED", "CLOSED")];
            (s.kind == "ResetForFin" && kernel && ours).then_some((2, 1))
        },
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
    /// The steps of the kernel and of ours that are one and the same event.
    pub(crate) pairs: Vec<(usize, usize)>,
}

impl Verdict {
    pub(crate) fn of(kind: &str, kernel: &[Step<'_>], ours: &[Step<'_>]) -> Self {
        let mut verdict = Self { kernel: kernel.len(), ours: ours.len(), ..Self::default() };
        let mut sides = Sides { kind, kernel, ours, socket: !kernel.is_empty() };
        while !sides.kernel.is_empty() || !sides.ours.is_empty() {
            let mut covered = RULES.iter().map(|rule| (rule.covers)(&sides)).enumerate();
            let by_rule = covered.find_map(|(nth, covers)| Some((nth, covers?)));
            let here = (kernel.len() - sides.kernel.len(), ours.len() - sides.ours.len());
            let taken = matches!(by_rule, Some((TAKEN, _)));
            if let ([kernel, rest_of_kernel @ ..], [ours, rest_of_ours @ ..]) = (sides.kernel, sides.ours)
                && kernel == ours
                && !taken
            {
                verdict.equal += 1;
                verdict.pairs.push(here);
                (sides.kernel, sides.ours) = (rest_of_kernel, rest_of_ours);
            } else if let Some((nth, (of_kernel, of_ours))) = by_rule {
                verdict.explained[nth] += 1;
                if (of_kernel, of_ours) == (1, 1) {
                    verdict.pairs.push(here);
                }
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

/// The states on the way, with a mark where a step does not begin where the last one ended.
pub(crate) fn path(steps: &[Step<'_>]) -> String {
    let mut way: Vec<&str> = Vec::new();
    let vain = |nth: usize| is_vain(&steps[nth..]) || (nth > 0 && is_vain(&steps[nth - 1..]));
    let steps = steps.iter().enumerate().filter(|(nth, step)| step.from != step.to && !vain(*nth));
    for (_, step) in steps {
        if way.last() != Some(&step.from) {
            way.extend((!way.is_empty()).then_some("/"));
            way.push(step.from);
        }
        way.push(step.to);
    }
    way.join(" ")
}

#[test]
fn a_difference_without_a_rule_is_unexplained() {
    let handshake = [step("CLOSED", "SYN_SENT"), step("SYN_SENT", "ESTABLISHED")];
    assert_eq!(Verdict::of("", &handshake, &handshake).equal, 2);
    let [first, second] = handshake;
    let death = step("ESTABLISHED", "CLOSED");
    for (kernel, ours) in [
        (&handshake[..], &handshake[..1]),
        (&handshake[..1], &handshake[..]),
        (&handshake[..], &[second, first][..]),
        (&handshake[..], &[][..]),
        (&[first, second, death][..], &handshake[..]),
        (&[first, second, death][..], &[first, step("SYN_SENT", "CLOSED")][..]),
        (
            &[second, step("ESTABLISHED", "CLOSE_WAIT"), step("CLOSE_WAIT", "CLOSED")][..],
            &[second, death][..],
        ),
    ] {
        assert_ne!(Verdict::of("", kernel, ours).unexplained, 0, "{kernel:?} is not {ours:?}");
    }
}
