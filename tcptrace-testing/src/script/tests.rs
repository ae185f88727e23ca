use super::{Problem, START, Script, Step};
use proptest::prelude::*;
use std::convert::Infallible;
use tcptrace_common::tcp::TcpFlags;
use tcptrace_core::{
    event::Vantage,
    segment::{Direction, Flow, Input, LossReport, Segment, Sender, Timestamp},
};

fn parse(text: &str) -> Script {
    Script::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn steps(text: &str) -> Vec<Step> {
    parse(text).steps().cloned().collect()
}

fn segment(text: &str) -> Segment {
    match &steps(text)[..] {
        [Step::Input(Input::Segment(segment))] => segment.clone(),
        other => panic!("{other:?}"),
    }
}

fn problem(text: &str) -> (usize, String) {
    match Script::parse(text) {
        Err(error) => (error.line, error.problem.to_string()),
        Ok(script) => panic!("{script:?}"),
    }
}

/// The difference between a script and what the tracker makes of it, if there is one.
fn play(text: &str) -> Option<String> {
    let script = parse(text);
    let Ok(played) = script.play(|input| Ok::<_, Infallible>(Some(input.clone())));
    played.difference().map(|difference| difference.to_string())
}

fn story(text: &str, transitions: bool) -> String {
    let script = parse(text);
    let Ok(played) = script.play(|input| Ok::<_, Infallible>(Some(input.clone())));
    played.story(transitions)
}

#[test]
fn a_segment_with_everything() {
    let all = segment(
        "vantage client\nclient [2001:db8::1]:40000\nserver [2001:db8::2]:443\n
         1.5 S2 SEWe. 5000 1001 7 win 9 ttl 3 on eth1 vlan 5.7 <mss 1300,sackOK,TS,wscale 7>  # and so on",
    );
    assert_eq!(all.ts, START.plus(1_500_000));
    assert_eq!(all.flags.to_string(), "S.EWe");
    assert_eq!((all.seq.0, all.ack.0, all.payload_len, all.window, all.ttl), (5000, 1001, 7, 9, 3));
    assert_eq!((all.flow.src_port, all.flow.dst_port, all.flow.interface), (443, 40_001, 2));
    assert_eq!((all.flow.vlan, all.flow.ipv6), ([5, 7], true));
    assert_eq!((all.direction, all.sender), (Direction::Ingress, Sender::There));
    let options = all.options.map(|raw| raw.parse()).unwrap_or_default();
    assert_eq!((options.mss, options.window_scale), (Some(1300), Some(7)));
    assert!(options.sack_permitted && options.timestamps && !options.fast_open && !options.mptcp);
}

#[test]
fn a_segment_with_little() {
    let little = segment("0 C - 1000");
    assert_eq!((little.flags, little.ack.0, little.payload_len), (TcpFlags(0), 0, 0));
    assert_eq!(
        (little.options, little.direction, little.sender),
        (None, Direction::Unknown, Sender::Unknown)
    );
    assert_eq!((little.flow.vlan, little.flow.interface), ([Flow::NO_VLAN; 2], 1));
    assert_eq!(segment("0 C S 1").options.and_then(|raw| raw.parse().mss), Some(1460));
    assert_eq!(segment("0 C S 1 <>").options.map(|raw| raw.as_slice().len()), Some(0));
    let others = segment("0 C S 1 <tfo,mptcp>").options.map(|raw| raw.parse()).unwrap_or_default();
    assert!(others.fast_open && others.mptcp);
}

#[test]
fn times_are_absolute_or_from_the_line_before() {
    let times: Vec<u64> = steps("1 C S 1\n+0.5 C S 1\n1s tick\n+2min tick\n9 end")
        .iter()
        .map(|step| step.ts().since(START))
        .collect();
    assert_eq!(times, [1_000_000, 1_500_000, 1_000_000_000, 121_000_000_000, 9_000_000]);
}

#[test]
fn loss_and_icmp() {
    let at = |ms: u64| Timestamp(START.0 + ms * 1_000_000);
    let lost = LossReport { records: 3, after: at(1), until: at(4) };
    assert_eq!(steps("4 lost 3 since 1"), [Step::Input(Input::Lost(lost))]);
    let [Step::Input(Input::Icmp(whole)), Step::Input(Input::Icmp(short))] = &steps(
        "vantage client
         1 R icmp 3/1 from 192.0.2.77 quotes C S 1000
         1 R icmp 3/1 from 192.0.2.77 quotes C S 1000 short",
    )[..] else {
        panic!("two errors");
    };
    assert_eq!((whole.kind, whole.code, whole.from[12..].to_vec()), (3, 1, vec![192, 0, 2, 77]));
    assert_eq!((whole.quoted.flags, whole.quoted.seq.0), (TcpFlags::SYN, 1000));
    // The quote is of a segment of the client, and the error travels to the client.
    assert_eq!((whole.quoted.flow.dst_port, whole.quoted.sender), (80, Sender::There));
    assert_eq!(
        (short.quoted.flags, short.quoted.seq.0, short.quoted.flow),
        (TcpFlags(0), 1000, whole.quoted.flow)
    );
}

#[test]
fn the_scene() {
    let script = parse(
        "# A case.\nvantage server\ngive-up 3s\ntime-wait 500\nmax-connections 2\nlevels tracker packets: no reason.",
    );
    let scene = script.scene();
    assert_eq!(script.title(), Some("A case."));
    assert_eq!(scene.vantage, Vantage::Server);
    assert_eq!((scene.config.give_up_ns, scene.config.time_wait_ns), (3_000_000_000, 500_000_000));
    assert_eq!(scene.config.max_connections, 2);
    let levels = scene.levels.clone().map(|levels| (levels.only.len(), levels.reason));
    assert_eq!(levels, Some((2, "no reason.".to_owned())));
    assert_eq!(parse("0 tick").title(), None);
}

#[test]
fn what_is_wrong_with_a_line_is_said_with_its_number() {
    for (text, line, words) in [
        ("0 C S", 1, "a sequence number is missing"),
        ("\n0 C X 1000", 2, "'X' is not flags"),
        ("0 C SS 1000", 1, "'S' is there twice"),
        ("0 X S 1000", 1, "'X' is not C or S"),
        ("0 C1 S 1000", 1, "'C1' is not C or S"),
        ("0 C S -5", 1, "'-5' is not a sequence number"),
        ("0 C S 4294967296", 1, "'4294967296' is not a sequence number"),
        ("0 C S 1 2 3 4", 1, "'4' is more than the line can have"),
        ("0 C S 1 win 5 win 6", 1, "'win' is there twice"),
        ("0 C S 1 window 5", 1, "'window' is more than the line can have"),
        ("0 C S 1 win 65536", 1, "'65536' is not a window"),
        ("0 C S 1 vlan 4096", 1, "'4096' is not a VLAN"),
        ("0 C . 1 <mss 5>", 1, "only SYNs are recorded with their options"),
        ("0 C S 1 <mss>", 1, "'mss' is not an option"),
        ("0 C S 1 <mss 5", 1, "the '>' after the options is missing"),
        ("0 C S 1 <TS,TS,TS,TS,mss 5>", 1, "these options take 44 octets, and a header has room for 40"),
        ("zero C S 1", 1, "'zero' is not a time, the scene's or an expectation"),
        ("0 C S 1\nvantage client", 2, "'vantage' belongs before the first segment"),
        ("client 192.0.2.1:1\nclient 192.0.2.1:1", 2, "'client' is there twice"),
        ("client [::1]:1\n0 tick", 2, "one of the addresses is IPv4, another IPv6"),
        ("0 R icmp 1/1 from ::1 quotes C S 1", 1, "one of the addresses is IPv4, another IPv6"),
        ("0 R icmp 1 from ::1 quotes C S 1", 1, "'1' is not TYPE/CODE"),
        ("levels tracker", 1, "'levels' ends with a colon and the reason"),
        ("levels tracker:", 1, "'levels' ends with a colon and the reason"),
        ("levels all: of them", 1, "'all' is not tracker, packets or kernel"),
        ("0 end\n1 tick", 2, "nothing happens after the end of the trace"),
        ("= established", 1, "nothing has happened yet that could be expected to cause this"),
        ("0 tick\n= outcome=closed", 2, "what is expected is missing"),
        ("0 tick\n= stats", 2, "'stats' is not an event, or C or S"),
        ("0 tick\n= C OPEN -> CLOSED", 2, "'OPEN' is not a state"),
        ("0 tick\n= C CLOSED CLOSED", 2, "'CLOSED' is not ->"),
        ("0 tick\n= connection outcome", 2, "'outcome' is not FIELD=VALUE"),
        ("0 tick\n= connection outcome=", 2, "'outcome=' is not FIELD=VALUE"),
        ("0 tick\n= connection a=1\n= a=2", 3, "'a' is there twice"),
        ("0 lost 5 until 7", 1, "'until' is not since"),
    ] {
        let text_of = |problem: (usize, String)| (problem.0, problem.1);
        assert_eq!(text_of(problem(text)), (line, words.to_owned()), "{text}");
    }
    assert_eq!(
        Script::parse("0 C S").err().map(|error| error.problem),
        Some(Problem::Missing("a sequence number"))
    );
}

const REFUSED: &str = "
    0  C S 1000
    28.82 S R. 0 1001
        = connection outcome=refused reset_by=server
        =   lifetime_ns=28.82ms client_state_ns.SYN_SENT=28820000 client_state_ns.ESTABLISHED=null
        =   icmp_error.type=null start=0 ts=28.82 client.port=40000 vlan=null";

#[test]
fn what_comes_is_compared_by_the_fields_that_are_there() {
    assert_eq!(play(REFUSED), None);
    for (from, to) in [
        ("outcome=refused", "outcome=reset"),
        ("28.82ms", "28.81ms"),
        ("=28820000", "=28820001"),
        ("ESTABLISHED=null", "ESTABLISHED=0"),
        ("type=null", "type=3"),
        ("start=0", "start=1"),
        ("start=0", "began=0"),
        ("icmp_error.type=null", "icmp_errors=null"),
        ("vlan=null", "vlan=5"),
        ("40000", "40001"),
        ("connection", "anomaly"),
    ] {
        let wrong = REFUSED.replacen(from, to, 1);
        assert_ne!(wrong, REFUSED);
        assert!(play(&wrong).is_some_and(|said| said.starts_with("4: ")), "{wrong}");
    }
}

#[test]
fn every_event_is_expected_and_in_its_place() {
    let missing = REFUSED.split("        =").next().unwrap_or_default();
    assert!(play(missing).is_some_and(|said| said.contains("\n+     = connection outcome=refused")));
    let late = play("0 C S 1000\n1 S R. 0 1001\n2 tick\n= connection outcome=refused");
    assert!(late.is_some_and(|said| said.starts_with("2: ")));
    let twice = play(&format!("{REFUSED}\n = connection outcome=refused"));
    assert!(twice.is_some_and(|said| said.starts_with("7: ")));
    // One expected transition means that all are expected.
    let all = "0 C S 1000\n= C CLOSED -> SYN-SENT\n= S CLOSED -> LISTEN?\n1 S R. 0 1001\n= S LISTEN -> CLOSED
               = C SYN-SENT -> CLOSED\n= connection outcome=refused";
    assert_eq!(play(all), None);
    for line in ["= C CLOSED -> SYN-SENT\n", "= C SYN-SENT -> CLOSED\n", "?"] {
        assert!(play(&all.replacen(line, "", 1)).is_some(), "{line}");
    }
}

#[test]
fn the_end_of_the_file_is_the_end_of_the_trace() {
    let open = play("0 C S 1000");
    assert!(open.is_some_and(|said| said.contains("+ 0 end\n+     = connection outcome=open")));
    assert_eq!(play("0 C S 1000\n5 end\n= connection outcome=open ts=5"), None);
}

#[test]
fn a_story_told_is_a_script_that_fits() {
    for text in
        ["# Title\n\n0 C S 1000 # first\n10 S S. 5000 1001\n11 C . 1001 5001 # third", "0 C SF 1\n", REFUSED]
    {
        let written = story(text, true);
        assert!(written.contains('='), "{written}");
        assert_eq!(play(&written), None, "{written}");
        let with_comments = written.replace("    =", "    # why\n    =");
        assert_eq!(story(&with_comments, false), with_comments);
    }
    // The fields that somebody chose stay, with the values that came.
    let wrong = REFUSED.replacen("28.82ms", "5ms", 1);
    assert!(story(&wrong, false).contains(" lifetime_ns=28.82ms"));
    assert!(!story(&wrong, false).contains("SYN-SENT ->"));
}

#[test]
fn what_does_not_reach_the_tracker_causes_nothing() {
    let script = parse("0 C S 1000\n1 S R. 0 1001\n2 end");
    let syns = |input: &Input| {
        Ok::<_, Infallible>(
            Some(input.clone()).filter(|input| matches!(input, Input::Segment(s) if s.flags.syn())),
        )
    };
    let Ok(played) = script.play(syns);
    assert!(played.difference().is_some_and(|difference| difference.story.contains("outcome=open")));
}

proptest! {
    #[test]
    fn any_text_is_a_script_or_an_error(text in "([0-9+.=# a-zA-Z<>?\"\\-/:,]{0,40}\n){0,5}") {
        _ = Script::parse(&text);
    }

    #[test]
    fn any_words_are_a_script_or_an_error(words in proptest::collection::vec(
        prop_oneof![
            Just("0"), Just("+1"), Just("C"), Just("S"), Just("R"), Just("S."), Just("1000"), Just("win"), Just("icmp"),
            Just("3/1"), Just("from"), Just("::1"), Just("quotes"), Just("short"), Just("lost"), Just("since"),
            Just("="), Just("connection"), Just("a=b"), Just("->"), Just("CLOSED"), Just("\n"), Just("<mss 5>"),
            Just("levels"), Just("tracker:"), Just("client"), Just("[::1]:1"), Just("end"), Just("\""), Just("<"),
            Just("C999"), Just("99999999d"),
        ],
        0..30,
    )) {
        if let Ok(script) = Script::parse(&words.join(" ")) {
            let Ok(played) = script.play(|input| Ok::<_, Infallible>(Some(input.clone())));
            _ = (played.difference(), played.story(true));
        }
    }
}
