//! Debian's tshark captures from interfaces that `tcptrace extcap` makes, and has its dumpcap write what comes.

use crate::{
    lab::{Family, Lab},
    trace::binary,
    traffic::{Kind, drive},
};
use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};
use tcptrace_testing::{folder::Folder, lab::eventually};

/// What the package puts into Wireshark's folder.
const SCRIPT: &str = include_str!("../../../packaging/wireshark/tcptrace");

/// Has a program of Wireshark's run with that script alone in its folder, in a mount namespace of its own.
fn wireshark(folder: &Folder, words: &[&str]) -> Command {
    const ENTER: &str = r#"
place=$(tshark -G folders | sed -n 's/^Extcap path:[[:space:]]*//p')
mount --bind "$0" "$place" && exec "$@""#;
    let script = folder.word("scripts/tcptrace");
    if !Path::new(&script).exists() {
        let text = SCRIPT.replace("exec tcptrace", &format!("exec {}", binary()));
        assert_ne!(text, SCRIPT, "the script calls the program that is tested");
        fs::create_dir(folder.word("scripts")).expect("a folder for temporary files");
        fs::write(&script, text).expect("a folder for temporary files");
        Command::new("chmod").arg("755").arg(&script).status().expect("chmod runs");
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--", "sh", "-c", ENTER]).arg(folder.word("scripts")).args(words);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn finish(child: Child) -> String {
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn captures_lifecycles_of_an_interface_by_their_filter() {
    // A connection has six at least.
    const SEGMENTS: &str = "12";
    let lab = Lab::new();
    let folder = Folder::new();
    let start = |words: &[&str]| lab.a.ns.enter(|| wireshark(&folder, words).spawn().expect("it starts"));
    let listed = finish(start(&["tshark", "-D"]));
    let interface = format!("tcptrace-{}", lab.a.dev);
    assert!(listed.contains(&format!("{interface} (TCP lifecycles of {})", lab.a.dev)), "{listed}");

    let path = folder.word("written.pcapng");
    let fields = ["-T", "fields", "-e", "tcp.flags", "-e", "tcp.analysis.initial_rtt", "-e", "ip.version"];
    // The filter leaves the connections over IPv6 out.
    let tshark = ["tshark", "-l", "-i", &interface, "-f", "ip", "-c", SEGMENTS];
    let tshark = start(&[&tshark[..], &fields].concat());
    let writing = start(&["tshark", "-q", "-i", &interface, "-f", "ip", "-c", SEGMENTS, "-w", &path]);
    eventually("both captures are attached", || {
        let programs = lab.a.programs();
        // Two captures, each with a program for what comes in and one for what goes out.
        if programs.len() >= 4 { Ok(()) } else { Err(format!("{programs:?}")) }
    });
    for kind in [Kind::ClientCloses, Kind::HalfClose] {
        for family in Family::BOTH {
            drive(kind, &lab.a, &lab.b, family);
        }
    }
    let lines = finish(tshark);
    finish(writing);
    let read = ["tshark", "-r", &path];
    let again = finish(start(&[&read[..], &fields].concat()));
    let rows: Vec<Vec<&str>> = lines.lines().map(|line| line.split('\t').collect()).collect();
    let flags: Vec<u32> = rows
        .iter()
        .map(|row| u32::from_str_radix(row[0].trim_start_matches("0x"), 16).expect("a number"))
        .collect();
    assert_eq!(flags[..3], [0x02, 0x12, 0x10], "the handshake is whole: {lines}");
    assert!(rows.iter().all(|row| row[2] == "4"), "{lines}");
    assert!(!rows[2][1].is_empty(), "it knows the initial RTT: {lines}");
    assert_eq!(again.lines().count(), lines.lines().count());
    lab.a.assert_nothing_attached();
}
