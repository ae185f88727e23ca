//! The tracker, case by case; [`tcptrace_testing::script`] has the language of the scripts.

mod ahead;
mod filtered;
mod grid;
mod handshakes;
mod limit;
mod long;
mod model;
mod names;
mod properties;
mod script;
mod shedding;

use script::{OPEN, Run, opened, run};
use tcptrace_core::{
    event::{AnomalyReason, ClosedBy, Outcome, ResetPhase, Role, State, Vantage},
    segment::Timestamp,
};

#[test]
fn the_textbook_connection_gives_the_published_numbers() {
    let sent = run("
        vantage client
        0       C S   4130871516
        28.789  S S.  528643112  4130871517
        28.820  C .   4130871517 528643113
        47.243  C F.  4130871689 528645894
        47.445  S .   528645894  4130871690
        66.319  S FP. 528645894  4130871690
        66.336  C .   4130871690 528645895");
    let c = sent.only();
    assert_eq!(c.outcome, Outcome::Closed);
    assert_eq!(c.closed_by, Some(ClosedBy::Client));
    assert_eq!(c.common.vantage, Vantage::Client);
    assert!(c.common.complete && !c.partial && !c.half_closed && !c.simultaneous_open);
    assert_eq!(c.times.syn_to_established_ns, Some(28_820_000));
    assert_eq!(c.times.syn_to_synack_ns, Some(28_789_000));
    assert_eq!(c.times.synack_to_ack_ns, Some(31_000));
    assert_eq!(c.times.syn_retry_ns, Some(0));
    assert_eq!(c.times.network_rtt_ns, Some(28_789_000));
    assert_eq!(c.times.local_stack_ns, Some(31_000));
    assert_eq!(c.first_fin_to_ack_ns, Some(202_000));
    assert_eq!(c.close_wait_ns, Some(18_874_000));
    assert_eq!(c.second_fin_to_ack_ns, Some(17_000));
    assert_eq!(c.teardown_ns, Some(19_093_000));
    assert_eq!(c.lifetime_ns, Some(66_336_000));
    assert_eq!((c.client_bytes, c.server_bytes, c.bytes_mod_4gib), (Some(172), Some(2781), false));
    assert_eq!((c.client_isn, c.server_isn), (Some(4_130_871_516), Some(528_643_112)));
    assert_eq!((c.client_state, c.server_state), (Some(State::TimeWait), Some(State::Closed)));
    assert_eq!(
        c.client_state_ns.as_slice(),
        [
            (State::SynSent, Some(28_820_000)),
            (State::Established, Some(18_423_000)),
            (State::FinWait1, Some(202_000)),
            (State::FinWait2, Some(18_891_000))
        ]
    );
    assert_eq!(
        c.server_state_ns.as_slice(),
        [
            (State::SynReceived, Some(31_000)),
            (State::Established, Some(18_625_000)),
            (State::CloseWait, Some(18_874_000)),
            (State::LastAck, Some(17_000))
        ]
    );
    assert_eq!(
        sent.transitions(),
        [
            "C CLOSED>SYN-SENT",
            "S CLOSED>LISTEN?",
            "S LISTEN>SYN-RECEIVED",
            "C SYN-SENT>ESTABLISHED",
            "S SYN-RECEIVED>ESTABLISHED",
            "C ESTABLISHED>FIN-WAIT-1",
            "S ESTABLISHED>CLOSE-WAIT",
            "C FIN-WAIT-1>FIN-WAIT-2",
            "S CLOSE-WAIT>LAST-ACK",
            "C FIN-WAIT-2>TIME-WAIT",
            "S LAST-ACK>CLOSED",
        ]
    );
    assert_eq!(sent.established(), 1);
}

#[test]
fn three_segment_close_makes_both_changes_at_one_instant() {
    let r = opened(
        "20 C F. 1101 5001
         30 S F. 5001 1102
         31 C .  1102 5002",
    );
    let c = r.only();
    assert_eq!((c.outcome, c.closed_by), (Outcome::Closed, Some(ClosedBy::Client)));
    assert_eq!(c.close_wait_ns, Some(0));
    assert!(!c.half_closed);
    assert_eq!(c.first_fin_to_ack_ns, Some(10_000_000));
    assert_eq!(
        r.transitions()[5..],
        [
            "C ESTABLISHED>FIN-WAIT-1",
            "S ESTABLISHED>CLOSE-WAIT",
            "C FIN-WAIT-1>FIN-WAIT-2",
            "S CLOSE-WAIT>LAST-ACK",
            "C FIN-WAIT-2>TIME-WAIT",
            "S LAST-ACK>CLOSED"
        ]
    );
}

#[test]
fn close_by_the_server() {
    let r = opened(
        "20 S F. 5001 1001
         21 C .  1001 5002
         40 C F. 1001 5002
         50 S .  5002 1002",
    );
    let c = r.only();
    assert_eq!((c.outcome, c.closed_by), (Outcome::Closed, Some(ClosedBy::Server)));
    assert_eq!((c.client_state, c.server_state), (Some(State::Closed), Some(State::TimeWait)));
    assert_eq!(c.close_wait_ns, Some(19_000_000));
    assert_eq!((c.client_bytes, c.server_bytes), (Some(0), Some(0)));
}

#[test]
fn half_close_with_data_flowing_or_with_time() {
    let with_data = opened(
        "20 C F. 1101 5001
         21 S .  5001 1102
         60 S F. 9001 1102
         61 C .  1102 9002",
    );
    assert!(with_data.only().half_closed);
    assert_eq!(with_data.only().server_bytes, Some(4000));
    let with_time = opened(
        "20   C F. 1101 5001
         21   S .  5001 1102
         1021 S F. 5001 1102
         1022 C .  1102 5002",
    );
    assert!(with_time.only().half_closed);
}

#[test]
fn simultaneous_close_passes_through_closing() {
    let r = opened(
        "20 C F. 1001 5001
         20.1 S F. 5001 1001
         30 S .  5002 1002
         30.1 C .  1002 5002",
    );
    let c = r.only();
    assert_eq!((c.outcome, c.closed_by), (Outcome::Closed, Some(ClosedBy::Both)));
    assert_eq!((c.client_state, c.server_state), (Some(State::TimeWait), Some(State::TimeWait)));
    assert_eq!((c.close_wait_ns, c.half_closed), (None, false));
    assert_eq!(r.transitions()[5..7], ["C ESTABLISHED>FIN-WAIT-1", "S ESTABLISHED>FIN-WAIT-1"]);
    assert!(r.transitions().contains(&"S FIN-WAIT-1>CLOSING".to_owned()));
}

#[test]
fn simultaneous_open() {
    let r = run("
        0    C S  1000
        1    S S  5000
        2    C S. 1000 5001
        3    S S. 5000 1001");
    assert_eq!(r.established(), 1);
    assert_eq!(
        r.transitions(),
        [
            "C CLOSED>SYN-SENT",
            "S CLOSED>LISTEN?",
            "S LISTEN>SYN-SENT",
            "C SYN-SENT>SYN-RECEIVED",
            "S SYN-SENT>SYN-RECEIVED",
            "S SYN-RECEIVED>ESTABLISHED",
            "C SYN-RECEIVED>ESTABLISHED",
        ]
    );
    let r = r.finish("10");
    assert!(r.only().simultaneous_open);
    assert_eq!(r.only().outcome, Outcome::Open);
}

#[test]
fn syn_retries_are_split_from_the_network_time() {
    let r = run("
        0       C S  1000
        1000    C S  1000
        3000    C S  1000
        3020    S S. 5000 1001
        3020.5  C .  1001 5001")
    .finish("4000");
    let c = r.only();
    assert_eq!(c.syn_retransmits, 2);
    assert_eq!(c.times.syn_retry_ns, Some(3_000_000_000));
    assert_eq!(c.times.syn_to_synack_ns, Some(20_000_000));
    assert_eq!(c.times.syn_to_established_ns, Some(3_020_500_000));
}

#[test]
fn synack_retransmitted_and_with_another_isn() {
    let again = run("
        0    C S  1000
        10   S S. 5000 1001
        1010 S S. 5000 1001
        1011 C .  1001 5001")
    .finish("2000");
    let c = again.only();
    assert_eq!((c.synack_retransmits, c.times.synack_to_ack_ns), (1, Some(1_000_000)));
    assert_eq!(c.times.syn_to_synack_ns, Some(10_000_000));

    let other = run("
        0    C S  1000
        10   S S. 5000 1001
        1010 S S. 7000 1001
        1011 C .  1001 7001
        1020 S F. 7101 1001
        1021 C F. 1001 7102
        1022 S .  7102 1002");
    assert_eq!(other.anomalies(), [(AnomalyReason::SynackIsnChanged, Some(5000))]);
    assert_eq!((other.only().server_isn, other.only().server_bytes), (Some(7000), Some(100)));
}

#[test]
fn third_segment_lost_and_data_arrives_instead() {
    let r = run("
        0   C S  1000
        10  S S. 5000 1001
        300 C P. 1001 5001 50")
    .finish("400");
    assert_eq!(r.only().times.syn_to_established_ns, Some(300_000_000));
    // Data from the middle proves that the connection is open, but not since when.
    let r = run("
        0   C S  1000
        10  S S. 5000 1001
        300 C P. 2001 6001 50")
    .finish("400");
    assert_eq!(r.only().times.syn_to_established_ns, None);
    assert_eq!(r.established(), 1);
}

#[test]
fn fast_open_data_counts() {
    let r = run("
        0   C S  1000 0 200
        10  S S. 5000 1201 300
        11  C .  1201 5301
        20  C F. 1201 5301
        30  S F. 5301 1202
        31  C .  1202 5302");
    let c = r.only();
    assert_eq!((c.client_bytes, c.server_bytes), (Some(200), Some(300)));
    assert_eq!(c.times.syn_to_established_ns, Some(11_000_000));
    assert!(r.anomalies().is_empty());
}

#[test]
fn refused() {
    let r = run("
        0 C S 1000
        1 S R. 0 1001");
    let c = r.only();
    assert_eq!((c.outcome, c.reset_by, c.reset_phase), (Outcome::Refused, Some(Role::Server), None));
    assert_eq!((c.client_bytes, c.server_bytes), (None, None));
    // The refusal must acknowledge the SYN (RFC 9293 §3.10.7.3).
    let r = run("
        0 C S 1000
        1 S R. 0 999")
    .finish("5000");
    assert_eq!(r.anomalies(), [(AnomalyReason::RstOutOfWindow, Some(1001))]);
    assert_eq!(r.only().outcome, Outcome::Unanswered);
    // RFC 9293 §3.10.7.1: at sequence number 0 a RST answers a SYN, seen or not.
    let r = run("0 S R. 0 1001");
    let c = r.only();
    assert_eq!((c.outcome, c.partial, c.reset_phase), (Outcome::Refused, true, None));
    assert_eq!((c.common.server.port, c.client_isn), (80, None));
    // Some stacks try again with the same ISN: each refusal is one connection.
    let r = run("
        0 C S 1000
        1 S R. 0 1001
        500 C S 1000
        501 S R. 0 1001");
    assert_eq!(r.connections().len(), 2);
}

#[test]
fn unanswered_is_decided_by_the_inputs_clock() {
    let r = run("0 C S 1000\n1000 C S 1000").tick("75999.999999");
    assert!(r.connections().is_empty());
    let r = r.tick("76000");
    let c = r.only();
    assert_eq!((c.outcome, c.syn_retransmits), (Outcome::Unanswered, 1));
    assert_eq!(c.common.ts, Timestamp(1_000_000_000 + 76_000_000_000));
    assert_eq!((c.client_state, c.server_state), (Some(State::Closed), Some(State::Closed)));
    assert_eq!(r.transitions()[2..], ["C SYN-SENT>CLOSED?", "S LISTEN>CLOSED?"]);
    assert_eq!(r.tracker.open(), 0);
}

#[test]
fn synack_unanswered() {
    let r = run("0 C S 1000\n10 S S. 5000 1001\n1010 S S. 5000 1001").tick("100000");
    let c = r.only();
    assert_eq!((c.outcome, c.synack_retransmits), (Outcome::SynackUnanswered, 1));
    assert_eq!(c.times.synack_to_ack_ns, None);
}

#[test]
fn aborted_by_a_reset_or_a_fresh_syn() {
    let reset = run("0 C S 1000\n10 S S. 5000 1001\n11 C R 1001");
    assert_eq!((reset.only().outcome, reset.only().reset_by), (Outcome::Aborted, Some(Role::Client)));
    let fresh = run("0 C S 1000\n10 C S 2000").finish("5000");
    let outcomes: Vec<_> = fresh.connections().iter().map(|c| c.outcome).collect();
    assert_eq!(outcomes, [Outcome::Aborted, Outcome::Unanswered]);
}

#[test]
fn reset_by_phase() {
    for (script, by, phase) in [
        ("20 S R 5001", Role::Server, ResetPhase::Established),
        ("20 C R. 1001 5001", Role::Client, ResetPhase::Established),
        ("20 C F. 1001 5001\n30 S R. 5001 1002", Role::Server, ResetPhase::Closing),
        ("20 C F. 1001 5001\n30 S F. 5001 1002\n31 C R 1002", Role::Client, ResetPhase::AfterClose),
    ] {
        let r = opened(script);
        let c = r.only();
        assert_eq!((c.outcome, c.reset_by, c.reset_phase), (Outcome::Reset, Some(by), Some(phase)));
        assert_eq!((c.client_state, c.server_state), (Some(State::Closed), Some(State::Closed)));
    }
}

#[test]
fn a_reset_out_of_window_is_an_anomaly_and_changes_nothing() {
    let r = opened("20 S R 4000").finish("30");
    assert_eq!(r.anomalies(), [(AnomalyReason::RstOutOfWindow, Some(5001))]);
    assert_eq!((r.only().outcome, r.only().server_rsts), (Outcome::Open, 1));
}

#[test]
fn a_fin_again_is_counted_and_a_moved_one_is_an_anomaly() {
    let r = opened(
        "20 C F. 1001 5001
         220 C F. 1001 5001
         230 C F. 1051 5001
         240 S F. 5001 1002
         241 C .  1002 5002",
    );
    assert_eq!(r.only().client_fins, 3);
    assert_eq!(r.anomalies(), [(AnomalyReason::FinMoved, Some(1002))]);
    assert_eq!(r.only().first_fin_to_ack_ns, Some(220_000_000));
}

#[test]
fn an_acknowledgement_seen_before_its_fin() {
    let r = opened(
        "20 S F. 5001 1102
         21 C F. 1101 5002
         22 S .  5002 1102",
    );
    // The server's FIN already acknowledges the client's, which we saw later.
    let c = r.only();
    assert_eq!((c.outcome, c.closed_by), (Outcome::Closed, Some(ClosedBy::Client)));
    assert_eq!((c.first_fin_to_ack_ns, c.second_fin_to_ack_ns), (None, Some(1_000_000)));
    assert_eq!((c.client_state, c.server_state), (Some(State::TimeWait), Some(State::Closed)));
}

#[test]
fn midstream_pick_up_is_partial() {
    let r = run("
        0 C F. 1001 5001
        1 S F. 5001 1002
        2 C .  1002 5002");
    let c = r.only();
    assert!(c.partial && c.direction_inferred);
    assert_eq!((c.outcome, c.closed_by), (Outcome::Closed, Some(ClosedBy::Client)));
    assert_eq!((c.common.server.port, c.lifetime_ns, c.client_bytes), (80, None, None));
    assert_eq!(c.client_state_ns.as_slice()[0].0, State::FinWait1, "how long it was open is not known");
    assert_eq!(r.established(), 0);
}

#[test]
fn the_trace_begins_at_the_synack() {
    let r = run("
        0 S S. 5000 1001
        1 C .  1001 5001
        2 C F. 1001 5001
        3 S F. 5001 1002
        4 C .  1002 5002");
    let c = r.only();
    assert!(c.partial && !c.direction_inferred);
    assert_eq!(c.times.syn_to_established_ns, None);
    assert_eq!(c.times.synack_to_ack_ns, Some(1_000_000));
    assert_eq!((c.client_bytes, c.server_bytes), (None, Some(0)));
    assert_eq!(r.established(), 1);
}

#[test]
fn a_syn_that_its_synack_overtook() {
    // The two are reordered on the way to the capture point, with time stamps in order.
    let r = run("
        10 S S. 5000 1001
        0  C S  1000
        11 C .  1001 5001
        20 C F. 1101 5001
        30 S F. 5001 1102
        31 C .  1102 5002");
    let c = r.only();
    assert_eq!((c.partial, c.outcome, c.client_bytes), (false, Outcome::Closed, Some(100)));
    assert_eq!(c.times.syn_to_established_ns, Some(11_000_000));
    assert_eq!((c.lifetime_ns, c.client_isn), (Some(31_000_000), Some(1000)));
    assert_eq!(c.client_state_ns.as_slice().iter().filter_map(|s| s.1).sum::<u64>(), 31_000_000);
    // Time stamps in the order of arrival: the numbers fit, the times are not known.
    let r = run("10 S S. 5000 1001\n11 C S 1000\n12 C . 1001 5001").finish("20");
    let c = r.only();
    assert_eq!((c.partial, c.client_isn), (false, Some(1000)));
    assert_eq!((c.times.syn_to_established_ns, c.times.syn_to_synack_ns), (None, None));
    // After the end the SYN is a late copy, not a new connection.
    let r = run("
        10 S S. 5000 1001
        11 C .  1001 5001
        20 C R. 1001 5001
        21 C S  1000")
    .finish("30");
    assert_eq!(r.only().outcome, Outcome::Reset);
}

#[test]
fn one_direction_only() {
    let r = run("0 C S 1000\n20 C F. 1101 5001").finish("30");
    let c = r.only();
    assert_eq!((c.outcome, c.client_state), (Outcome::Open, Some(State::FinWait1)));
    assert_eq!((c.client_bytes, c.times.syn_to_established_ns), (Some(100), None));
}

#[test]
fn port_reuse_from_time_wait_and_while_open() {
    let closed = opened(
        "20 C F. 1001 5001
         30 S F. 5001 1002
         31 C .  1002 5002
         40 C S  9000
         41 S R. 0 9001",
    );
    assert_eq!(outcomes(&closed), [(1, Outcome::Closed), (2, Outcome::Refused)]);
    assert!(closed.transitions().contains(&"C TIME-WAIT>CLOSED?".to_owned()));
    // The server has forgotten the old one, or its number is past it.
    let open = opened("40 C S 9000\n41 S S. 7000 9001\n42 C . 9001 7001").finish("50");
    assert_eq!(outcomes(&open), [(1, Outcome::Reused), (2, Outcome::Open)]);
    assert_eq!(open.connections()[1].times.syn_to_established_ns, Some(2_000_000));
    let refused = opened("40 C S 9000\n41 S R. 0 9001").finish("50");
    assert_eq!(outcomes(&refused), [(1, Outcome::Reused), (2, Outcome::Refused)]);
    // Where one side was never heard the SYN alone decides: no other segment will.
    let deaf = run("0 C S 1000\n20 C F. 1101 5001\n40 C S 9000").finish("5000");
    assert_eq!(outcomes(&deaf), [(1, Outcome::Reused), (2, Outcome::Unanswered)]);
}

fn outcomes(run: &Run) -> Vec<(u64, Outcome)> {
    run.connections().iter().map(|c| (c.common.id, c.outcome)).collect()
}

#[test]
fn time_wait_lasts_two_msl_and_absorbs_late_segments() {
    let r = opened(
        "20 C F. 1001 5001
         30 S F. 5001 1002
         31 C .  1002 5002
         200 S F. 5001 1002
         201 C .  1002 5002
         300 C S  1000",
    )
    .tick("60199");
    assert_eq!(r.connections().len(), 1);
    let last = |r: &Run| r.transitions().last().cloned();
    assert_eq!(last(&r).as_deref(), Some("S LAST-ACK>CLOSED"), "the FIN again starts the wait again");
    let r = r.tick("60200");
    assert_eq!(last(&r).as_deref(), Some("C TIME-WAIT>CLOSED?"));
}

#[test]
fn a_reset_ends_time_wait() {
    let closed = "20 C F. 1001 5001\n30 S F. 5001 1002\n31 C . 1002 5002\n";
    for (reset, ends) in
        [("40 S R 5002", true), ("40 C R 1002", true), ("40 S R 5001", false), ("40 S R 4000", false)]
    {
        let r = opened(&[closed, reset].concat());
        assert_eq!(r.connections().len(), 1);
        let ended = r.transitions().last().map(String::as_str) == Some("C TIME-WAIT>CLOSED");
        assert_eq!(ended, ends, "{reset}");
    }
}

#[test]
fn sequence_numbers_that_wrap() {
    let r = run("
        0  C S  4294967290
        10 S S. 4294967295 4294967291
        11 C .  4294967291 0
        20 C F. 94 1000
        30 S F. 1000 95
        31 C .  95 1001");
    let c = r.only();
    assert_eq!((c.client_bytes, c.server_bytes), (Some(99), Some(1000)));
    assert_eq!(c.times.syn_to_established_ns, Some(11_000_000));
    assert!(r.anomalies().is_empty());
}

#[test]
fn impossible_flags_are_anomalies() {
    for letters in ["SF", "SR", "FPU", "F", "SF."] {
        let r = run(&format!("0 C {letters} 1000 5000"));
        assert_eq!(r.anomalies(), [(AnomalyReason::ImpossibleFlags, None)], "{letters}");
        assert_eq!(r.tracker.open(), 0);
        let r = opened(&format!("20 C {letters} 1001 5001")).finish("30");
        assert_eq!((r.anomalies().len(), r.only().outcome), (1, Outcome::Open), "{letters}");
    }
}

#[test]
fn acknowledgement_numbers_are_checked() {
    let synack = run("0 C S 1000\n1 S S. 5000 1003").finish("5000");
    assert_eq!(synack.anomalies(), [(AnomalyReason::SynackAckMismatch, Some(1001))]);
    assert_eq!(synack.only().outcome, Outcome::Unanswered);
    let third = run("0 C S 1000\n1 S S. 5000 1001\n2 C . 1001 4999").finish("5000");
    assert_eq!(third.anomalies(), [(AnomalyReason::HandshakeAckMismatch, Some(5001))]);
    assert_eq!(third.only().outcome, Outcome::SynackUnanswered);
    let beyond = opened("20 C F. 1001 5001\n21 S . 5001 1003").finish("30");
    assert_eq!(beyond.anomalies(), [(AnomalyReason::AckBeyondSent, Some(1002))]);
    assert_eq!(beyond.only().client_state, Some(State::FinWait1));
}

#[test]
fn vantage_says_which_part_is_ours() {
    for (name, vantage, network, local) in [
        ("client", Vantage::Client, Some(10_000_000), Some(100_000)),
        ("server", Vantage::Server, Some(100_000), Some(10_000_000)),
        ("middle", Vantage::Middle, None, None),
    ] {
        let r = run(&format!("vantage {name}\n{OPEN}")).finish("20");
        let c = r.only();
        assert_eq!(
            (c.common.vantage, c.times.network_rtt_ns, c.times.local_stack_ns),
            (vantage, network, local)
        );
    }
}

#[test]
fn where_expected_acknowledgements_were_overwritten_a_missing_one_says_nothing() {
    let unanswered = "0 C S 1000\n1 S S. 5000 1001\n2 overwritten";
    let silent = run(unanswered).feed("100s tick");
    assert_eq!(silent.only().outcome, Outcome::SynackUnanswered);
    assert!(!silent.only().common.complete, "its acknowledgement may have been one of those");
    let later = run("0.5 overwritten\n1 C S 1000\n2 S S. 5000 1001\n100s tick");
    assert!(later.only().common.complete, "it began after that");
    let whole = run(OPEN).feed("10.5 overwritten").finish("20");
    assert!(whole.only().common.complete, "none is missing");
    let fin = run(OPEN).feed("10.5 C F. 1001 5001\n11 overwritten").finish("20");
    assert!(!fin.only().common.complete, "that of the FIN is");
}

#[test]
fn a_loss_marks_the_connections_it_can_have_touched() {
    let touched = run(OPEN).feed("10.5 lost 1 since 10.2").finish("20");
    assert!(!touched.only().common.complete);
    let later = run("0.5 lost 1 since 0\n1 C S 1000\n2 S R. 0 1001");
    assert!(later.only().common.complete);
    let partial = run("0.5 lost 1 since 0\n1 C F. 1001 5001").finish("2");
    assert!(!partial.only().common.complete);
    // The third segment's record was lost: the FIN proves that it was open, not since when.
    let third = run("0 C S 1000\n1 S S. 5000 1001\n2 lost 1 since 1.5\n3 C F. 1001 5001").finish("4");
    assert_eq!(third.only().times.syn_to_established_ns, None);
}
