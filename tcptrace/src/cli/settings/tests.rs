use super::{FILTER, ParseError, Setting, Source, Surroundings, Takes, check, options, parse, switch, words};
use crate::cli::{Args, Command};
use clap::{Arg, CommandFactory, Parser as _};
use proptest::prelude::*;
use std::{ffi::OsString, io, path::Path};

/// What comes of these words with these variables, where `/f` is a file with this text.
fn parsed(typed: &[&str], variables: &[(&str, &str)], file: &str) -> Result<Command, ParseError> {
    let read = |path: &Path| {
        if path == Path::new("/f") { Ok(file.to_owned()) } else { Err(io::ErrorKind::NotFound.into()) }
    };
    let words = ["tcptrace"].iter().chain(typed).map(OsString::from).collect();
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
    parse(&Surroundings { words, variables, read: &read })
}

/// What comes of words that are all typed, if they make sense.
fn tried_typing(words: &[OsString]) -> Option<Command> {
    let all = [OsString::from("tcptrace")].into_iter().chain(words.iter().cloned());
    Args::try_parse_from(all).ok()?.command().ok()
}

fn typed(words: &[OsString]) -> Command {
    tried_typing(words).expect("they make sense")
}

fn printed(typed: &[&str], variables: &[(&str, &str)], file: &str) -> String {
    match parsed(&[&["config"], typed].concat(), variables, file) {
        Ok(Command::PrintConfig(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// The lines that set something.
fn in_force(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect()
}

fn error(typed: &[&str], variables: &[(&str, &str)], file: &str) -> String {
    parsed(typed, variables, file)
        .map(|command| format!("{command:?}"))
        .expect_err("it makes no sense")
        .to_string()
}

/// What an option takes, as words that would be typed and as a value in a file.
fn example(whole: &clap::Command, arg: &Arg) -> (Vec<OsString>, String) {
    const TEXTS: [&str; 17] = [
        "0123456789abcdef",
        "eth0",
        "port 443",
        "1",
        "10s",
        "100",
        "vxlan",
        "1/2",
        "64K",
        "client",
        "connection",
        "always",
        "xdp",
        "600",
        "1M",
        "127.0.0.1:9464",
        "date",
    ];
    let value = |text: &str| match Takes::of(arg) {
        Takes::Several => format!("[\"{text}\"]"),
        _ => format!("\"{text}\""),
    };
    match Takes::of(arg) {
        Takes::Switch => (vec![switch(arg)], "true".to_owned()),
        Takes::Count => (vec![switch(arg), switch(arg)], "2".to_owned()),
        Takes::One | Takes::Several => {
            let all = TEXTS.map(|text| (words(arg, &[text.to_owned()]), value(text)));
            let takes = |words: &[OsString]| {
                let source = Source::Environment(String::new());
                check(whole, &Setting { id: arg.get_id().to_string(), words: words.to_vec(), source }).is_ok()
            };
            let found = all.into_iter().find(|(words, _)| takes(words));
            found.unwrap_or_else(|| panic!("{}: none of {TEXTS:?} is a value of it", arg.get_id()))
        }
    }
}

#[test]
fn every_option_means_the_same_in_a_file_in_the_environment_and_as_it_is_printed() {
    let whole = <Args as CommandFactory>::command();
    let mut tried = 0;
    for (key, arg) in options(&whole) {
        let (words, value) = example(&whole, arg);
        // Some options say nothing without another.
        let beside: [&[OsString]; 6] = [
            &[],
            &["--json".into()],
            &["--summary-by=client".into()],
            &["--output=x".into()],
            &["--output=x".into(), "--rotate-size=1M".into()],
            &["--metrics=127.0.0.1:9464".into()],
        ];
        let found =
            beside.iter().find_map(|beside| Some((beside, tried_typing(&[*beside, &words].concat())?)));
        let (beside, expected) = found.unwrap_or_else(|| panic!("{key} makes sense with none of {beside:?}"));
        let beside: Vec<_> = beside.iter().map(|word| word.to_str().expect("text")).collect();
        let file = format!("{key} = {value}");
        let with_file = [&["--config=/f"], &beside[..]].concat();
        assert_eq!(parsed(&with_file, &[], &file).expect(key), expected, "{file}");
        let variable = format!("TCPTRACE_{}", key.to_uppercase().replace('-', "_"));
        let plain = value.trim_matches(['[', ']', '"']);
        assert_eq!(parsed(&beside, &[(&variable, plain)], "").expect(key), expected, "{variable}={plain}");
        let again = printed(&with_file, &[], &file);
        assert_eq!(parsed(&["--config=/f"], &[], &again).expect(key), expected, "{again}");
        tried += 1;
    }
    assert!(tried > 30, "{tried} options");
}

#[test]
fn what_is_typed_goes_before_the_environment_and_that_before_the_file() {
    let file = "interface = [\"a\", \"b\"]\njson = true\nring-size = \"1M\"\nmax-connections = 7\n";
    let variables =
        [("TCPTRACE_RING_SIZE", "2M"), ("TCPTRACE_MAX_CONNECTIONS", ""), ("TCPTRACE_NO_SUCH", "1")];
    let text = printed(&["--config", "/f", "-i", "c"], &variables, file);
    assert_eq!(
        in_force(&text),
        [
            "interface = [\"c\"]  # the command line",
            "ring-size = \"2M\"  # TCPTRACE_RING_SIZE in the environment",
            "json = true  # /f:2",
            "max-connections = 7  # /f:4",
        ]
    );
}

/// Also what conflicts with what was typed.
#[test]
fn what_is_typed_takes_the_place_of_what_it_conflicts_with() {
    let file = "interface = \"a\"\nfilter = \"port 80\"\nquiet = true\n";
    let plain = typed(&["-r".into(), "x".into(), "-q".into(), "port 80".into()]);
    assert_eq!(parsed(&["--config=/f", "-r", "x"], &[], file).expect("a file is read"), plain);
    let Command::ListInterfaces { .. } = parsed(&["-D", "--config=/f"], &[], file).expect("a list") else {
        panic!("no list");
    };
    let by_environment = parsed(&["-r", "x"], &[("TCPTRACE_CONFIG", "/f")], file);
    assert_eq!(by_environment.expect("a file is read"), plain);
    let summed =
        parsed(&["--config=/f"], &[("TCPTRACE_SUMMARY_BY", "client,server")], file).expect("a trace");
    let words = ["-i", "a", "--summary-by=client,server", "port 80"].map(OsString::from);
    assert_eq!(summed, typed(&words));
}

#[test]
fn a_check_takes_the_settings_that_it_knows() {
    let file = "interface = \"a\"\nmax-connections = 5\ndecap = \"all\"\n";
    let found = parsed(&["check", "--config", "/f"], &[("TCPTRACE_JSON", "1")], file).expect("a check");
    assert_eq!(found, typed(&["check", "-i", "a", "--decap"].map(OsString::from)));
}

#[test]
fn errors_name_the_place_and_what_to_do() {
    let of = |file: &str| error(&["--config=/f"], &[], file);
    insta::assert_snapshot!(of("\nintreface = \"a\"\n"), @"/f:2: there is no option intreface (did you mean interface?); `tcptrace config` has all");
    insta::assert_snapshot!(of("json = \"yes\"\n"), @"/f:1: json: true or false is needed");
    insta::assert_snapshot!(of("verbose = 300\n"), @"/f:1: verbose: a number from 0 to 255 is needed");
    insta::assert_snapshot!(of("interface = { a = 1 }\n"), @r#"/f:1: interface: a list of texts is needed, as in ["a", "b"], or one text"#);
    insta::assert_snapshot!(of("# a\nring-size = \"3M\"\n"), @"/f:2: invalid value '3M' for '--ring-size <SIZE>': a power of two from 64K to 1G is needed, such as 16M");
    insta::assert_snapshot!(of("[output]\njson = true\n"), @"/f:1: [output]: the file has no sections, each option is a line by itself");
    insta::assert_snapshot!(of("json = \n"), @"/f:1: string values must be quoted, expected literal string");
    insta::assert_snapshot!(of("read = \"x\"\n"), @"/f:1: read is for the command line alone, as --read is");
    insta::assert_snapshot!(of("json = true\njson = false\n"), @"/f:2: duplicate key");
    insta::assert_snapshot!(of("quiet = true\nsummary-by = \"client\"\n"), @"/f:1: the argument '--quiet' cannot be used with '--summary-by <LIST>'");
    insta::assert_snapshot!(of("\nsummary-top = 5\n"), @"/f:2: the following required arguments were not provided: --summary-by <LIST>");
    insta::assert_snapshot!(error(&[], &[("TCPTRACE_JSON", "maybe")], ""), @"TCPTRACE_JSON in the environment: true or false is needed");
    insta::assert_snapshot!(error(&[], &[("TCPTRACE_SAMPLE", "2")], ""), @"TCPTRACE_SAMPLE in the environment: invalid value '2' for '--sample <1/N>': 1/N is needed, with N from 1 to 4294967295, such as 1/100");
    insta::assert_snapshot!(error(&["--config=/g"], &[], ""), @"cannot read /g: entity not found; --config names the file");
}

/// What is wrong with the command line is said as ever.
#[test]
fn the_command_lines_own_errors_are_not_the_files() {
    for words in
        [&["--ring-size=3M"][..], &["--no-such"], &["-h"], &["check", "--help"], &["config", "x", "-F", "y"]]
    {
        let found = parsed(words, &[("TCPTRACE_JSON", "true")], "");
        assert!(matches!(found, Err(ParseError::Usage(_))), "{words:?}: {found:?}");
    }
}

/// Without settings it is a file whose every line is a comment, which ships.
#[test]
fn the_file_that_ships_is_what_is_printed_without_settings() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/tcptrace.toml");
    let printed = printed(&[], &[], "");
    assert_eq!(in_force(&printed), Vec::<&str>::new());
    let ships = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(ships, printed, "`cargo run -p tcptrace -- config > packaging/tcptrace.toml` writes it anew");
    let defaults: String = printed
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| line.contains(" = "))
        .fold(String::new(), |all, line| all + line + "\n");
    assert!(defaults.contains(&format!("{FILTER} = ")), "{defaults}");
}

proptest! {
    #[test]
    fn no_file_makes_it_panic(text in "\\PC*", key in "[a-z-]{1,12}", value in "\\PC{0,20}") {
        let _ = parsed(&["--config=/f"], &[], &text);
        let _ = parsed(&["--config=/f"], &[], &format!("{key} = {value}"));
        let _ = parsed(&["--config=/f"], &[("TCPTRACE_FILTER", &text)], &format!("{key} = [{value}]"));
    }
}
