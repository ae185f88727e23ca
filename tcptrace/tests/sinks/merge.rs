//! `tcptrace merge` over files: what it prints, and what is wrong usage.

use crate::{icmp::Scratch, textbook};
use serde_json::Value;
use std::{
    fs,
    process::{Command, Output},
};

/// A file with this content.
fn written(content: &[u8]) -> Scratch {
    let file = Scratch::new();
    fs::write(&file.0, content).expect("a folder for temporary files");
    file
}

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
            return [written(&whole), written(&without)];
        }
        at += 16 + len;
    }
}

#[test]
fn the_text_has_a_table_and_sums_up() {
    let [a, b] = two();
    insta::assert_snapshot!(text(run(&["merge", &named("a", &a), &named("b", &b)])), @"");
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
    let without = written(lines.as_bytes());
    let told = text(run(&["merge", &named("a", &without), &named("b", &b)]));
    assert!(told.contains("trace with --events all"), "{told}");
}
