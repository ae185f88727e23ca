//! The page of `tcptrace report`: what it has in it for each way that a connection can go, what strangers' names do to it, and how
//! it is in a browser. Chromium looks at it, and axe-core, which `cargo xtask test` gets, says whether everybody can use it. The
//! pictures are left in the folder `page` of cargo's folder for tests.

mod browser;

use browser::Browser;
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};
use tcptrace::{
    segment::Timestamp,
    sink::{Sink as _, json::JsonSink},
};
use tcptrace_testing::{folder::Folder, script::START, stories};

/// 2026-06-13T10:00:00Z.
const BEGIN: u64 = 1_781_344_800_000_000_000;
const SECOND: u64 = 1_000_000_000;

fn report(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcptrace"));
    command.arg("report").args(words).env("TZ", "UTC").output().expect("it starts")
}

fn page(words: &[&str]) -> String {
    let output = report(words);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The events of all stories, one a second, as lines of JSON.
fn all_stories() -> Vec<u8> {
    let (mut sink, mut out) = (JsonSink::default(), bytes::BytesMut::new());
    for (number, story) in (0_u64..).zip(stories::all()) {
        for mut event in story.script().expect("stories are tested elsewhere").events() {
            event.retime(|ts| match ts {
                Timestamp::UNKNOWN => ts,
                // A story can begin before its first input.
                ts => Timestamp(BEGIN + number * SECOND + ts.0.saturating_sub(START.0)),
            });
            if let Some(common) = event.common_mut() {
                // Each story has its own connections from 1 on.
                common.id += number * 1000;
            }
            sink.event(&event, &mut out);
        }
    }
    out.to_vec()
}

fn written(folder: &Folder, name: &str, content: &[u8]) -> String {
    fs::write(folder.join(name), content).expect("our folder");
    folder.word(name)
}

/// The contents of all elements of this name, each without the markup within.
fn texts(page: &str, element: &str) -> Vec<String> {
    let (open, close) = (format!("<{element}"), format!("</{element}>"));
    page.split(&open)
        .skip(1)
        .filter_map(|rest| rest.split_once('>')?.1.split_once(&close))
        .map(|it| plain(it.0))
        .collect()
}

fn plain(html: &str) -> String {
    html.split('<')
        .enumerate()
        .map(|(at, part)| if at == 0 { part } else { part.split_once('>').map_or("", |it| it.1) })
        .collect()
}

#[test]
fn every_story_is_on_the_page_and_everybody_can_use_it() {
    let folder = Folder::new();
    let lines = written(&folder, "stories.jsonl", &all_stories());
    let made = folder.word("stories.html");
    assert!(report(&[&lines, "-o", &made]).status.success());
    let html = fs::read_to_string(&made).expect("it was written");
    assert!(html.len() < 5_000_000, "{} octets", html.len());
    // The same on stdout.
    assert!(page(&[&lines]) == html);
    for nothing_loaded in ["http://", "https://", "src=", "url(", "@import"] {
        let found = html.replace("http://www.w3.org/2000/svg", "").replace("url(#", "");
        assert!(!found.contains(nothing_loaded), "{nothing_loaded}");
    }
    let browser = Browser::new();
    browser.assert_accessible(Path::new(&made));
    Browser::take_pictures(Path::new(&made), "stories");
}

#[test]
fn names_that_others_chose_are_no_markup() {
    const NAME: &str = "</script><script>alert(1)</script><!--&\"'\u{1b}[2J";
    let folder = Folder::new();
    let stories = all_stories();
    let text = String::from_utf8(stories).expect("JSON is UTF-8");
    let lines: Vec<String> = text
        .lines()
        .map(|line| {
            let mut event: serde_json::Value = serde_json::from_str(line).expect("JSON");
            for end in ["client_process", "server_process"] {
                if event.get(end).is_some() {
                    event[end] = serde_json::json!({ "pid": 1, "comm": NAME, "exe": NAME, "uid": 0, "user": NAME, "how": null });
                }
            }
            if event.get("server_name").is_some() {
                event["server_name"] = NAME.into();
            }
            if event.get("interface").is_some() {
                event["interface"] = NAME.into();
            }
            event.to_string()
        })
        .collect();
    let hostile =
        written(&folder, "</title><b>.jsonl".replace('/', "").as_str(), lines.join("\n").as_bytes());
    let html = page(&[&hostile]);
    assert_eq!(html.matches("<script").count(), 1, "the page's own");
    assert!(!html.contains("alert(1)</script>") && !html.contains('\u{1b}') && !html.contains("<b>"));
    let path = folder.join("hostile.html");
    fs::write(&path, &html).expect("our folder");
    Browser::new().assert_accessible(&path);
}

#[test]
fn damage_is_on_the_page_and_the_error() {
    let folder = Folder::new();
    let mut lines = all_stories();
    lines.truncate(lines.len() / 2);
    let cut = written(&folder, "cut.jsonl", &lines);
    let output = report(&[&cut]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("cut.jsonl"), "{said}");
    let html = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(html.ends_with("</html>\n"), "the page is whole");
    let headings = texts(&html, "h2");
    assert!(headings.iter().any(|it| it == "This is not everything"), "{headings:?}");
}

#[test]
fn an_old_page_stays_where_no_new_one_comes() {
    let folder = Folder::new();
    let made = written(&folder, "page.html", b"old");
    for (words, reason) in [
        (vec!["missing.jsonl", "-o", &made], "missing.jsonl"),
        (vec![&made, "-o", &made], "page.html"),
        (vec!["-o", &made], "FILE"),
    ] {
        let output = report(&words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(reason), "{words:?}: {said}");
        assert_eq!(fs::read(&made).expect("it is there"), b"old");
    }
    let lines = written(&folder, "a.jsonl", &all_stories());
    let nowhere = folder.word("none/page.html");
    let output = report(&[&lines, "-o", &nowhere]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("none/page.html") && output.stdout.is_empty(),
        "{said}"
    );
    assert!(report(&[&lines, "-o", &made]).status.success());
    assert!(fs::read(&made).expect("it is there").len() > 10_000);
    assert_eq!(folder.paths().len(), 2, "nothing is left beside: {:?}", folder.paths());
}

#[test]
fn nothing_to_tell_is_a_page_too() {
    let folder = Folder::new();
    let lines = written(&folder, "stories.jsonl", &all_stories());
    let html = page(&[&lines, "--filter", "port 1"]);
    assert!(html.ends_with("</html>\n"));
    let path = folder.join("empty.html");
    fs::write(&path, &html).expect("our folder");
    Browser::new().assert_accessible(&path);
}
