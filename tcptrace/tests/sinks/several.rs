//! Several capture files as one trace.

use crate::{
    files::{Captured, connection, on, pcap, pcap_of, pcapng, simple_packets, snapped},
    icmp::Scratch,
    packets::Frame,
};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    process::{Command, Output},
};

/// The trace of these files, in this order on the command line.
fn command(files: &[&Scratch], args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcptrace"));
    for file in files {
        command.arg("-r").arg(&file.0);
    }
    command.args(args).env("TZ", "UTC");
    command
}

fn run(files: &[&Scratch], args: &[&str]) -> Output {
    command(files, args).output().expect("it starts")
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("UTF-8")
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("UTF-8")
}

fn events(files: &[&Scratch], kinds: &str) -> Vec<Value> {
    let output = run(files, &["--json", "-q", "--events", kinds]);
    assert!(output.status.success(), "{}", stderr(&output));
    crate::schema::assert_valid(stdout(&output));
    stdout(&output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn packets() -> Vec<Captured> {
    snapped(connection(&Frame::default(), &[]), 1 << 16)
}

/// Another connection, this much later.
fn later(us: u32) -> Vec<(u32, Vec<u8>)> {
    let other = connection(&Frame { src_port: 4321, ..Frame::default() }, &[]);
    other.into_iter().map(|(at, bytes)| (at + us, bytes)).collect()
}

/// What is printed, but for the number of the run.
fn told(output: &Output) -> String {
    let (before, run) = stdout(output).rsplit_once("\"run\":\"").expect("statistics have it");
    let (_, after) = run.split_once('"').expect("it ends");
    [before, after].concat()
}

/// All kinds but the one that tells of the trace.
const JSON: [&str; 4] =
    ["--json", "-q", "--events", "established,connection,anomaly,icmp_error,transition,segment,stats"];

#[test]
fn a_connection_goes_on_in_the_next_file() {
    let whole = run(&[&pcap(&packets())], &JSON);
    for at in 0..=8 {
        let mut first = packets();
        let second = pcap(&first.split_off(at));
        let first = pcap(&first);
        // As they were given, the other way round, and with the second from a pipe or redirected.
        for files in [[&first, &second], [&second, &first]] {
            assert_eq!(told(&run(&files, &JSON)), told(&whole), "{at}");
        }
        let redirected = command(&[&second], &[&JSON[..], &["-r", "-"]].concat())
            .stdin(File::open(&first.0).expect("it is there"))
            .output()
            .expect("it starts");
        assert_eq!(told(&redirected), told(&whole), "{at}");
        let mut cat =
            Command::new("cat").arg(&second.0).stdout(std::process::Stdio::piped()).spawn().expect("cat");
        let piped = command(&[&first], &[&JSON[..], &["-r", "-"]].concat())
            .stdin(cat.stdout.take().expect("it is piped"))
            .output()
            .expect("it starts");
        assert!(cat.wait().expect("it ends").success());
        assert_eq!(told(&piped), told(&whole), "{at}");
    }
}

#[test]
fn many_files_are_put_in_order() {
    let whole = run(&[&pcap(&packets())], &JSON);
    let mut files: Vec<Scratch> = packets().into_iter().map(|packet| pcap(&[packet])).collect();
    files.push(pcap(&[]));
    files.reverse();
    files.swap(2, 7);
    assert_eq!(told(&run(&files.iter().collect::<Vec<_>>(), &JSON)), told(&whole));
}

#[test]
fn each_file_has_its_own_link_type() {
    // Without Ethernet's header.
    let bare = later(1_000_000).into_iter().map(|(us, bytes)| (us, bytes[14..].to_vec())).collect();
    let files = [pcap_of(101, &snapped(bare, 1 << 16)), pcap(&packets())];
    let files = [&files[0], &files[1]];
    let connections = events(&files, "connection");
    let told: Vec<_> = connections.iter().map(|it| (&it["outcome"], &it["interface"])).collect();
    assert_eq!(told, [(&json!("closed"), &json!("#0")), (&json!("closed"), &json!("#1"))]);
    // Known from the first line on.
    let lines = run(&files, &[]);
    assert!(
        stdout(&lines).lines().next().is_some_and(|line| line.contains("  #0  ESTABLISHED")),
        "{lines:?}"
    );
}

#[test]
fn an_interface_is_the_same_where_place_name_and_link_type_are() {
    let halves = |names: [&str; 2]| {
        let mut first = on(0, connection(&Frame::default(), &[]));
        let second = first.split_off(5);
        [pcapng(&[(names[0], 1)], &first, None), pcapng(&[(names[1], 1)], &second, None)]
    };
    let outcomes = |files: &[Scratch; 2]| -> Vec<(Value, Value)> {
        let all = events(&[&files[0], &files[1]], "connection");
        all.iter().map(|it| (it["interface"].clone(), it["outcome"].clone())).collect()
    };
    assert_eq!(outcomes(&halves(["eth0", "eth0"])), [(json!("eth0"), json!("closed"))]);
    let apart = outcomes(&halves(["eth0", "eth1"]));
    assert!(apart.contains(&(json!("eth0"), json!("open"))), "{apart:?}");
    assert!(apart.iter().any(|(interface, _)| interface == "eth1"), "{apart:?}");
}

#[test]
fn what_the_captures_lack_adds_up() {
    let files = [
        pcapng(&[("eth0", 1)], &on(0, connection(&Frame::default(), &[])), Some((1, 20))),
        pcapng(&[("eth0", 1)], &on(0, later(1_000_000)), Some((300, 4000))),
        simple_packets(&snapped(later(0), 1 << 16)),
    ];
    let stats = &events(&[&files[2], &files[1], &files[0]], "stats")[0];
    assert_eq!((&stats["packets"], &stats["connections"]["closed"]), (&json!(24), &json!(3)));
    let capture = &stats["capture"];
    let sums =
        ["dropped_by_interface", "dropped_by_system", "without_time"].map(|name| capture[name].clone());
    assert_eq!(sums, [json!(301), json!(4020), json!(8)]);
}

#[test]
fn files_of_the_same_time_are_said_to_be() {
    let files =
        [pcap(&packets()), pcap(&snapped(later(50_000), 1 << 16)), pcap(&snapped(later(60_000), 1 << 16))];
    let names = files.each_ref().map(|file| file.0.display().to_string());
    let output = run(&[&files[2], &files[1], &files[0]], &[]);
    let said = format!(
        "tcptrace: {} begins 70.100 ms before {} ends: what lies across that has no times (`mergecap -w OUT FILES` puts packets \
         of several files in order)\n",
        names[1], names[0]
    );
    assert!(stderr(&output).starts_with(&said), "{}", stderr(&output));
    assert_eq!(stderr(&output).matches("tcptrace: ").count(), 1, "{}", stderr(&output));
    // On two interfaces as well, where packets of each for itself are in order.
    let [first, second] =
        [("eth0", 0), ("eth1", 50_000)].map(|(name, us)| pcapng(&[(name, 1)], &on(0, later(us)), None));
    let output = run(&[&first, &second], &[]);
    assert!(stderr(&output).contains(" begins 70.100 ms before "), "{}", stderr(&output));
    // One after the other they are not.
    let apart = pcap(&snapped(later(1_000_000), 1 << 16));
    assert!(!stderr(&run(&[&apart, &files[0]], &[])).contains(" begins "));
}

#[test]
fn an_error_names_its_file_and_what_was_not_read_for_it() {
    let (good, text, cut) = (pcap(&packets()), Scratch::new(), pcap(&snapped(later(1_000_000), 1 << 16)));
    fs::write(&text.0, "no capture at all\n").expect("a folder for temporary files");
    let output = run(&[&good, &text], &[]);
    let name = text.0.display().to_string();
    assert!(stderr(&output).starts_with(&format!("tcptrace: {name} is no pcap or pcapng capture but text")));
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""), "nothing is read in part");

    let bytes = fs::read(&cut.0).expect("it is there");
    fs::write(&cut.0, &bytes[..bytes.len() - 5]).expect("a folder for temporary files");
    let last = pcap(&snapped(later(9_000_000), 1 << 16));
    let output = run(&[&last, &cut, &good], &[]);
    let said = stderr(&output);
    assert!(said.starts_with("tcptrace: 1 file after the damaged one is left out\n"), "{said}");
    let name = cut.0.display().to_string();
    assert!(
        said.lines().last().is_some_and(|line| line.starts_with(&format!("tcptrace: {name} is cut short"))),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output).matches("CLOSED").count(), 1, "{}", stdout(&output));
}

#[test]
fn segments_of_several_files_are_written_to_one() {
    let files = [pcap(&packets()), pcap(&snapped(later(1_000_000), 1 << 16))];
    let copy = Scratch::new();
    let path = copy.0.to_str().expect("UTF-8");
    let kinds = ["--json", "-q", "--events", "established,connection"];
    let printed = run(&[&files[0], &files[1]], &kinds);
    assert!(run(&[&files[0], &files[1]], &["-q", "-w", path]).status.success());
    assert_eq!(stdout(&run(&[&copy], &kinds)), stdout(&printed));
    let refused = run(&[&files[0], &copy], &["-q", "-w", path]);
    assert!(stderr(&refused).contains("is a capture that is read"), "{}", stderr(&refused));
}
