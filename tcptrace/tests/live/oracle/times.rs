//! When the kernel changed a state, beside when we say so. The kernel's change lies on the path between our two hooks:
//! after the segment that caused it came in, before the segment that tells of it goes out. So
//!
//! - none may be on the wrong side of the segment that we have it from, however busy the machine is: a clock or a hook
//!   that was wrong by more than [`SLACK_NS`] one way or the other would put half of them there;
//! - by far the most must lie close to it. How close is the scheduler's affair, so single ones may be as late as they
//!   like, unless all of a kind are: then it takes a rule with a name and a reason.

use super::rules::Step;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// What the two readings may differ by: whole microseconds of the kernel's, and the measurement of the offset between
/// the clocks, ours and the tracer's.
const SLACK_NS: i64 = 50_000;

/// The path from one hook to the socket or back takes a few microseconds (a busy machine's softirq some hundreds). A stamp
/// that was wrong by a millisecond would be beyond it at every step.
const CLOSE_NS: i64 = 500_000;

/// So many of a hundred must be that close.
const CLOSE_PERCENT: usize = 80;

/// None is farther away, whatever the scheduler does, unless a rule says why: less than the kernel's first retransmission
/// timer (include/net/tcp.h, `TCP_TIMEOUT_INIT`), more than anything that happens on the path.
const FAR_NS: i64 = 900_000_000;

/// A lifecycle segment as the traced host's hook saw it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) at: i64,
    pub(crate) incoming: bool,
}

/// A difference in time that is as it should be.
pub(crate) struct TimeRule {
    pub(crate) name: &'static str,
    pub(crate) reason: &'static str,
    /// On which side of our evidence the kernel's change lies, for the steps that it covers.
    side: Side,
    covers: fn(&Case<'_>) -> bool,
}

/// A step of one end of a connection.
struct Case<'a> {
    kind: &'a str,
    is_client: bool,
    from: &'a str,
    to: &'a str,
    /// Some segment showed it to us.
    evidence: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Before,
    After,
    Either,
}

pub(crate) const TIME_RULES: [TimeRule; 8] = [
    TimeRule {
        name: "silence",
        reason: "nobody answered: the application gives up when it likes, we after --syn-timeout",
        side: Side::Before,
        covers: |c| !c.evidence && (c.from, c.to) == ("SYN_SENT", "CLOSED"),
    },
    TimeRule {
        name: "Fast Open",
        reason: "the SYN makes the socket, and the SYN-ACK is sent by it or after it \
                 (net/ipv4/tcp_fastopen.c, tcp_fastopen_create_child)",
        side: Side::Either,
        covers: |c| c.to == "SYN_RECEIVED" && c.kind.starts_with("FastOpen") && !c.is_client,
    },
    TimeRule {
        name: "request socket",
        reason: "a request becomes a socket by the third segment, and passes SYN-RECEIVED then \
                 (net/ipv4/inet_connection_sock.c, inet_csk_clone_lock); we say it at the SYN-ACK",
        side: Side::After,
        covers: |c| (c.from, c.to) == ("LISTEN", "SYN_RECEIVED"),
    },
    TimeRule {
        name: "lost behind the hook",
        reason: "our hook saw the segment, a firewall dropped it before TCP did; the next one is for both",
        side: Side::After,
        covers: |c| {
            !c.is_client
                && match c.kind {
                    "SynAckRetry" | "AcceptQueueFull" => c.to == "ESTABLISHED",
                    "LastAckLost" => c.from == "LAST_ACK",
                    _ => false,
                }
        },
    },
    TimeRule {
        name: "lost before the hook",
        reason: "the kernel sent its acknowledgement, a firewall of the same host dropped it; the next one, or the RST \
                 in its place, is for both",
        side: Side::Before,
        covers: |c| {
            let unsent = matches!(c.kind, "LastAckUnsent" | "ResetAfterBothFins");
            c.is_client && unsent && c.from == "FIN_WAIT_2"
        },
    },
    TimeRule {
        name: "request waits for data",
        reason: "TCP_DEFER_ACCEPT: the third segment makes no socket, the data after it do \
                 (net/ipv4/tcp_minisocks.c, tcp_check_req)",
        side: Side::After,
        covers: |c| c.kind.starts_with("DeferAccept") && c.from == "SYN_RECEIVED",
    },
    TimeRule {
        name: "FIN behind data",
        reason: "close() changes the state, the FIN is sent when the peer's window has let all data before it pass \
                 (net/ipv4/tcp.c, tcp_close_state; tcp_output.c, tcp_send_fin)",
        side: Side::Before,
        covers: |c| c.kind == "ZeroWindowClose" && c.to == "FIN_WAIT_1",
    },
    TimeRule {
        name: "no socket any more",
        reason: "the socket was gone before the packets tell: an orphan in FIN-WAIT-2 (net/ipv4/tcp.c, __tcp_close), or \
                 one that its host lost; the RST or the acknowledgement comes from elsewhere",
        side: Side::Before,
        covers: |c| match c.kind {
            "Orphan" | "OrphanGetsData" | "ZeroWindowClose" => c.is_client && c.from == "FIN_WAIT_2",
            "ServerForgets" => !c.is_client && c.to == "CLOSED",
            "ClientForgets" | "ClientCrashes" => c.is_client && c.from == "ESTABLISHED" && c.to == "CLOSED",
            _ => false,
        },
    },
];

/// A pair of equal steps (or such that a rule makes one of), the kernel's and ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair<'a> {
    pub(crate) step: Step<'a>,
    pub(crate) kernel: i64,
    pub(crate) ours: i64,
    /// Our step before this one.
    pub(crate) since: i64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times {
    /// Kernel's less ours, of those that no rule is for.
    differences: Vec<i64>,
    /// How far they are from the nearer hook.
    distances: Vec<i64>,
    pub(crate) explained: [usize; TIME_RULES.len()],
    pub(crate) wrong: Vec<String>,
}

/// What came in since the endpoint's last step, up to the evidence of this one: one of them is its cause. More than one
/// where the peer had to send it again.
fn causes<'a>(pair: &'a Pair<'_>, seen: &'a [Seen]) -> impl Iterator<Item = i64> + 'a {
    seen.iter().filter(|s| s.incoming && (pair.since..=pair.ours).contains(&s.at)).map(|s| s.at)
}

/// The order that cause and effect have: where the kernel's change must lie, or is not known to.
fn bounds(pair: &Pair<'_>, seen: &[Seen]) -> (Option<i64>, Option<i64>) {
    let evidence = seen.iter().find(|s| s.at == pair.ours);
    match (evidence, pair.step.to) {
        // Nothing but our clock told us.
        (None, _) => (None, None),
        (Some(Seen { incoming: true, .. }), _) => (Some(pair.ours), None),
        // Its own doing: the state comes first, then the segment (net/ipv4/tcp_output.c, tcp_connect; tcp.c,
        // tcp_close_state).
        (Some(_), "SYN_SENT" | "FIN_WAIT_1" | "LAST_ACK") => (None, Some(pair.ours)),
        // An answer: the peer's segment changes the state, which may be before or after the answer is sent
        // (net/ipv4/tcp_input.c, tcp_fin).
        (Some(_), "CLOSING" | "TIME_WAIT" | "CLOSED") => (causes(pair, seen).min(), None),
        (Some(_), _) => (causes(pair, seen).min(), Some(pair.ours)),
    }
}

impl Times {
    pub(crate) fn add(&mut self, kind: &str, is_client: bool, pair: &Pair<'_>, seen: &[Seen], slack: i64) {
        let slack = SLACK_NS + slack;
        let difference = pair.kernel - pair.ours;
        let (low, high) = bounds(pair, seen);
        let too_early = low.is_some_and(|low| pair.kernel < low - slack);
        let too_late = high.is_some_and(|high| pair.kernel > high + slack);
        let case = Case {
            kind,
            is_client,
            from: pair.step.from,
            to: pair.step.to,
            evidence: seen.iter().any(|seen| seen.at == pair.ours),
        };
        let rule = TIME_RULES.iter().position(|rule| (rule.covers)(&case));
        let on_its_side = rule.is_none_or(|rule| match TIME_RULES[rule].side {
            Side::Before => difference <= slack,
            Side::After => difference >= -slack,
            Side::Either => true,
        });
        let from_hooks = causes(pair, seen).map(|at| (pair.kernel - at).abs());
        let distance = from_hooks.fold(difference.abs(), i64::min);
        let wrong = match rule {
            Some(_) => !on_its_side,
            None => too_early || too_late || distance > FAR_NS,
        };
        if wrong {
            self.wrong.push(format!(
                "{kind}, {}, {:?}: the kernel's less ours is {difference} ns; it is due {low:?} to {high:?} ns after ours",
                if is_client { "client" } else { "server" },
                pair.step,
                low = low.map(|low| low - pair.ours),
                high = high.map(|high| high - pair.ours),
            ));
        }
        if let Some(rule) = rule {
            self.explained[rule] += 1;
        } else {
            self.differences.push(difference);
            self.distances.push(distance);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.differences.extend(&other.differences);
        self.distances.extend(&other.distances);
        self.wrong.extend_from_slice(&other.wrong);
        for (sum, n) in self.explained.iter_mut().zip(other.explained) {
            *sum += n;
        }
    }

    /// Median, 99th percentile and greatest of the absolute differences, and of the distance from the nearer hook, in
    /// microseconds.
    pub(crate) fn columns(&self) -> String {
        let part = |values: &[i64]| {
            let mut sorted: Vec<i64> = values.iter().map(|ns| ns.abs()).collect();
            sorted.sort_unstable();
            let at = |percent: usize| {
                let last = sorted.len().checked_sub(1)?;
                Some(sorted[last * percent / 100])
            };
            let us = |ns: Option<i64>| {
                ns.map_or("-".to_owned(), |ns| format!("{}.{}", ns / 1000, ns % 1000 / 100))
            };
            format!("{:>7} {:>9} {:>9}", us(at(50)), us(at(99)), us(at(100)))
        };
        format!("{} | {}", part(&self.differences), part(&self.distances))
    }

    /// Panics with the reason unless the times are those of the same events.
    pub(crate) fn assert_the_same(&self, table: &str) {
        assert!(self.wrong.is_empty(), "cause and effect:\n{}\n{table}", self.wrong.join("\n"));
        let close = self.distances.iter().filter(|&&ns| ns <= CLOSE_NS).count();
        assert!(
            close * 100 >= self.distances.len() * CLOSE_PERCENT,
            "only {close} of {} steps are within {CLOSE_NS} ns of what the kernel says\n{table}",
            self.distances.len()
        );
    }
}

/// `CLOCK_REALTIME` less `CLOCK_MONOTONIC`, measured again and again: the wall clock is steered.
pub(crate) struct Offset {
    low: i64,
    high: i64,
}

impl Offset {
    pub(crate) fn new() -> Self {
        let now = Self::measure();
        Self { low: now, high: now }
    }

    pub(crate) fn refresh(&mut self) {
        let now = Self::measure();
        (self.low, self.high) = (self.low.min(now), self.high.max(now));
    }

    pub(crate) fn middle(&self) -> i64 {
        self.low.midpoint(self.high)
    }

    /// How far it moved meanwhile.
    pub(crate) fn moved(&self) -> i64 {
        self.high - self.low
    }

    /// The try of several that was interrupted least.
    fn measure() -> i64 {
        let ns = |time: Timespec| time.tv_sec * 1_000_000_000 + time.tv_nsec;
        let tries = (0..20).map(|_| {
            let before = ns(clock_gettime(ClockId::Monotonic));
            let real = ns(clock_gettime(ClockId::Realtime));
            let after = ns(clock_gettime(ClockId::Monotonic));
            (after - before, real - before.midpoint(after))
        });
        tries.min().expect("there were some").1
    }
}

#[test]
fn a_clock_that_is_wrong_by_a_millisecond_is_noticed() {
    // A handshake of a client as hooks and sockets see it, microseconds apart.
    let seen = [(2_000, false), (40_000, true), (44_000, false)].map(|(at, incoming)| Seen { at, incoming });
    let steps = [("CLOSED", "SYN_SENT", 0, 2_000), ("SYN_SENT", "ESTABLISHED", 42_000, 44_000)];
    let compared = |wrong_by: i64| {
        let mut times = Times::default();
        for (from, to, kernel, ours) in steps {
            let seen = seen.map(|it| Seen { at: it.at + wrong_by, ..it });
            let pair = Pair { step: Step { from, to }, kernel, ours: ours + wrong_by, since: wrong_by };
            times.add("", true, &pair, &seen, 0);
        }
        times
    };
    assert!(compared(0).wrong.is_empty(), "{:?}", compared(0).wrong);
    for wrong_by in [-1_000_000, 1_000_000] {
        let times = compared(wrong_by);
        assert!(!times.wrong.is_empty(), "{wrong_by}");
        assert!(times.distances.iter().all(|&ns| ns > CLOSE_NS), "{:?}", times.distances);
    }
}
