//! `tcptrace merge` over files: what it prints, and what is wrong usage.

use crate::{icmp::Scratch, textbook};
use serde_json::Value;
use std::process::{Command, Output};

fn run(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcptrace"));
    command.args(words).env("TZ", "UTC").output().expect("it starts")
}

fn text(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A file as a vantage with a name.
fn named(name: &str, file: &Scratch) -> String {
    format!("{name}={}", file.0.display())
}

/// The textbook connection, and the same without its first FIN.
fn two() -> [Scratch; 2] {
    let whole = textbook::capture();
    let link = if whole[20] == 1 { 14 } else { 0 };
    let mut at = 24;
    loop {
        let len = u32::from_le_bytes(whole[at + 8..at + 12].try_into().expect("four")) as usize;
        let packet = &whole[at + 16 + link..at + 16 + len];
        if packet[usize::from(packet[0] & 15) * 4 + 13] & 1 != 0 {
            let without = [&whole[..at], &whole[at + 16 + len..]].concat();
            return [Scratch::holding(&whole), Scratch::holding(&without)];
        }
        at += 16 + len;
    }
}

#[test]
fn the_text_has_a_table_and_sums_up() {
    let [a, b] = two();
    insta::assert_snapshot!(text(run(&["merge", &named("a", &a), &named("b", &b)])), @r"
    2020-06-10 06:59:50.264655  192.168.64.128:60592 > 180.101.49.11:80  CLOSED/OPEN
      nothing tells which vantage is nearer to the client: the order is that of the
          files
              a          b
          0.000      0.000  client SYN 0
         28.789     28.789  server SYN ACK 0 ack 1
         28.820     28.820  client ACK 1 ack 1
         47.243       lost  client FIN ACK 173 ack 2782
         47.445          -  server ACK 2782 ack 174
         66.319     66.319  server FIN ACK 2782 ack 174
         66.336     66.336  client ACK 174 ack 2783
      a to b: round trip 0.000 ms; at most 0.000 ms there and 0.000 ms back over the
          least; there 0.000 ms longer than back, ± 0.000 ms

    a: 1 connection, 0 of them seen nowhere else; 7 segments
    b: 1 connection, 0 of them seen nowhere else; 5 segments
    1 connection joined: 1 by addresses, ports and both initial sequence numbers
    The clock of b is 0.000 ms ahead of that of a, ± 0.000 ms, by 3 segments; the
        least round trip between them is 0.000 ms
    a to b: 3 segments passed, 1 lost (1 FIN)
    b to a: 2 segments passed, 0 lost
    ");
}

#[test]
fn of_three_vantages_what_went_is_told_of_the_hops() {
    let [a, b] = two();
    let said = text(run(&["merge", &named("a", &a), &named("b", &b), &named("c", &b)]));
    for line in [
        "a to b: 3 segments passed, 1 lost (1 FIN)",
        "b to c: 3 segments passed, 0 lost",
        "The clock of c is 0.000 ms ahead of that of a",
    ] {
        assert!(said.contains(line), "{line:?} is not in {said}");
    }
    assert!(!said.contains("a to c:"), "b is between them: {said}");
}

#[test]
fn the_checked_in_schema_is_the_generated_one() {
    let checked_in = include_str!("../../schema/merge.schema.json");
    assert!(
        text(run(&["schema", "merge"])) == checked_in,
        "what a merge prints has changed: run `cargo xtask schema`, and commit tcptrace/schema/merge.schema.json with the change"
    );
}

#[test]
fn each_line_of_json_is_as_the_schema_says() {
    let [a, b] = two();
    let schema: Value = serde_json::from_str(&text(run(&["schema", "merge"]))).expect("JSON");
    let validator =
        jsonschema::options().should_validate_formats(true).build(&schema).expect("it is a JSON Schema");
    let lines = text(run(&["merge", "--json", &named("a", &a), &named("b", &b)]));
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 2);
    for line in &lines {
        let errors: Vec<String> = validator.iter_errors(line).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{line:#}: {errors:?}");
    }
    let fates: Vec<&str> = lines[0]["segments"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| it["fate"].as_str().expect("a name"))
        .collect();
    assert_eq!(fates.iter().filter(|fate| **fate == "lost").count(), 1, "{fates:?}");
    assert_eq!(lines[1]["merge"], "summary");
}

#[test]
fn wrong_usage_says_what_would_be_right() {
    let [a, b] = two();
    let path = a.0.display().to_string();
    for (words, says) in [
        (&["merge", &path][..], "[NAME=]FILE"),
        (&["merge", "-", "-"], "the standard input can be the file of one vantage only"),
        (&["merge", &path, &path, "--filter", "prot 80"], "prot"),
    ] {
        let output = run(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(said.contains(says), "{words:?}: {said}");
    }
    let output = run(&["merge", &path, "/nonexistent"]);
    assert_eq!(output.status.code(), Some(1));
    // Without segments there is a sentence.
    let lines = text(run(&["-r", &path, "--json", "-q"]));
    let without = Scratch::holding(lines.as_bytes());
    let told = text(run(&["merge", &named("a", &without), &named("b", &b)]));
    assert!(told.contains("trace with --events all"), "{told}");
}
