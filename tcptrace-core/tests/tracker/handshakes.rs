//! Handshakes that go wrong, and four-tuples that are opened anew: what events say of them.

use super::{
    outcomes,
    script::{opened, run},
};
use tcptrace_core::event::{AnomalyReason, Backoff, Outcome, ResetPhase, Role, SynackAgain};

#[test]
fn a_blind_syn_does_not_end_a_connection() {
    let r = opened(
        "40 C S 9000
         41 S .  5001 1001
         50 C F. 1101 5001
         51 S F. 5001 1102
         52 C .  1102 5002",
    )
    .tick("80000");
    assert_eq!(r.anomalies(), [(AnomalyReason::SynInConnection, None)]);
    assert_eq!(outcomes(&r), [(1, Outcome::Closed), (2, Outcome::Unanswered)]);
    assert_eq!(r.connections()[0].client_bytes, Some(100));
    // Each guessed SYN is one connection, and the real one outlives them all.
    let many: Vec<_> = (0..20).map(|n| format!("{} C S {}", 40 + n, 9000 + n * 70_000)).collect();
    let r = opened(&many.join("\n")).feed("90 S F. 5001 1001").finish("100");
    assert_eq!((r.anomalies().len(), r.connections().len()), (20, 21));
    let open = r.connections().into_iter().find(|c| c.common.id == 1).expect("it is reported");
    assert_eq!((open.outcome, open.server_fins), (Outcome::Open, 1));
}

#[test]
fn a_blind_syn_does_not_end_a_handshake() {
    let r = run("
        0    C S  1000
        10   S S. 5000 1001
        10.5 C S  9000
        11   C .  1001 5001
        20   C R. 1001 5001")
    .tick("80000");
    assert_eq!(outcomes(&r), [(1, Outcome::Reset), (2, Outcome::Unanswered)]);
    // The client really opens anew: it sends its SYN again, and the server answers when it has forgotten the first
    // connection.
    let r = run("
        0    C S  1000
        10   S S. 5000 1001
        20   C S  9000
        21   C R  1001
        1020 C S  9000
        1021 S S. 7000 9001
        1022 C .  9001 7001")
    .finish("2000");
    assert_eq!(outcomes(&r), [(1, Outcome::Aborted), (2, Outcome::Open)]);
    // The SYN can also be answered at once.
    let r = run("0 C S 1000\n10 S S. 5000 1001\n20 C S 9000\n21 S S. 7000 9001").finish("5000");
    assert_eq!(outcomes(&r), [(1, Outcome::Aborted), (2, Outcome::SynackUnanswered)]);
    // Where nobody goes on with either, each is given up in its time, and what comes then is of the second.
    let r = run("0 C S 1000\n10 S S. 5000 1001\n20000 C S 9000").tick("75010").feed("75020 S R. 0 9001");
    assert_eq!(outcomes(&r), [(1, Outcome::SynackUnanswered), (2, Outcome::Refused)]);
}

#[test]
fn a_forgotten_connection_is_reset_and_the_syn_tried_again() {
    let r = opened(
        "40   C S  9000
         40.5 S .  5001 1001
         41   C R  1001
         1040 C S  9000
         1041 S S. 7000 9001
         1042 C .  9001 7001",
    )
    .finish("2000");
    assert_eq!(outcomes(&r), [(1, Outcome::Reset), (2, Outcome::Open)]);
    let (old, new) = (r.connections()[0], r.connections()[1]);
    assert_eq!((old.reset_by, old.reset_phase), (Some(Role::Client), Some(ResetPhase::Established)));
    assert!(new.challenge_ack && !old.challenge_ack);
    assert_eq!(new.times.syn_retry_ns, Some(1_000_000_000));
    // An old connection that began before the trace is treated alike.
    let r = run("
        40   C S  9000
        41   C R  1001
        1040 C S  9000
        1041 S S. 7000 9001
        1042 C .  9001 7001")
    .finish("2000");
    assert!(r.only().challenge_ack && r.anomalies().is_empty());
    assert_eq!(r.established(), 1);
    // A challenger that gives up is not the old one's end.
    let r = opened("40 C S 9000\n41 C R. 9001 0").finish("50");
    assert_eq!(outcomes(&r), [(2, Outcome::Aborted), (1, Outcome::Open)]);
}

#[test]
fn a_synack_again_after_the_acknowledgement() {
    let again = |script: &str| {
        let r = opened(script).finish("20000");
        let c = r.only();
        (c.synacks_after_ack, c.synack_again)
    };
    assert_eq!(again("1010 S S. 5000 1001\n1011 C . 1001 5001"), (1, Some(SynackAgain::LostOrNotAccepted)));
    assert_eq!(
        again("1010 S S. 5000 1001\n1011 C . 1001 5001\n3010 S S. 5000 1001\n3011 C . 1001 5001"),
        (2, Some(SynackAgain::LostOrNotAccepted)),
        "who drops them, a router or the server, does not show here"
    );
    // An acknowledgement that was lost shows after the server's first time-out, 1 s, and not only after the second.
    assert_eq!(
        again("3010 S S. 5000 1001\n3011 C . 1001 5001\n7010 S S. 5000 1001"),
        (2, Some(SynackAgain::Deferred))
    );
    // SYN to SYN-ACK took 10 ms: what comes within that was sent before the acknowledgement could arrive.
    assert_eq!(again("20 S S. 5000 1001\n20.1 C . 1001 5001"), (0, None));
    let r = run("
        vantage server
        0    C S   1000
        0.1  S S.  5000 1001
        10   C .   1001 5001
        1000 S S.  5000 1001")
    .finish("2000");
    assert_eq!(r.only().synack_again, Some(SynackAgain::NotAccepted), "it had reached the server's host");
}

#[test]
fn the_spacing_of_syns() {
    let spaced = |times: &str| {
        let script: Vec<_> = times.split(' ').map(|at| format!("{at} C S 1000")).collect();
        let r = run(&script.join("\n")).tick("200000");
        (r.only().syn_intervals_ns.len(), r.only().syn_backoff)
    };
    assert_eq!(spaced("0"), (0, None));
    assert_eq!(spaced("0 1000 3000 7000 15000"), (4, Some(Backoff::Regular)));
    // Linux since 6.5: four times the same wait, then twice as long each (net.ipv4.tcp_syn_linear_timeouts).
    assert_eq!(spaced("0 1020 2040 3070 4090 6100 10200"), (6, Some(Backoff::Regular)));
    assert_eq!(spaced("0 3000 9000"), (2, Some(Backoff::Regular)));
    // Of SYNs at 0, 1, 3 and 7 s the second did not pass here.
    assert_eq!(spaced("0 3000 7000"), (2, Some(Backoff::Irregular)));
    assert_eq!(spaced("0 10 20"), (2, Some(Backoff::Irregular)));
}

#[test]
fn a_syn_that_was_answered_under_another_address_says_from_where() {
    let ends = |server: &str| format!("client 192.0.2.1:40000\nserver {server}\n");
    let service = ends("203.0.113.29:80");
    let answer = ends("192.0.2.189:8080") + "0.05 C S 1000\n0.1 S S. 5000 1001\n0.12 C R 1001";
    for (isn, elsewhere) in [(1000, true), (1001, false)] {
        let run = run(&format!("{service}0 C S {isn}")).feed(&answer).tick("80000");
        let all = run.connections();
        let unanswered = all.iter().find(|c| c.outcome == Outcome::Unanswered).expect("it is reported");
        let told = unanswered.answered_elsewhere.map(|it| it.to_string());
        assert_eq!(told, elsewhere.then(|| "192.0.2.189:8080".to_owned()), "{isn}");
        let others = all.iter().filter(|c| c.outcome != Outcome::Unanswered);
        assert!(others.into_iter().all(|c| c.answered_elsewhere.is_none()));
    }
}
