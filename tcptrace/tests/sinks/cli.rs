//! The command line: what it accepts, what it refuses and how.

use crate::{icmp::Scratch, textbook};
use clap::Parser as _;
use std::{
    ffi::OsStr,
    fs::{self, File},
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};
use tcptrace::{
    cli::{
        self, Args, Color, Config, FilterText, Format, Input, Interfaces, Limits, LineWidth, MetricsAddress,
        MetricsConfig, Only,
    },
    event::{Kind, Kinds},
    kernel::namespaces::Namespaces,
    sink::text::TimeFormat,
};

fn parse(args: &[&str]) -> Result<cli::Command, clap::Error> {
    Args::try_parse_from([&["tcptrace"], args].concat())?.command()
}

fn config(args: &[&str]) -> Config {
    match parse(args) {
        Ok(cli::Command::Trace(config)) => *config,
        other => panic!("{args:?} is {other:?}"),
    }
}

fn tcptrace(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcptrace"));
    command.args(args).env_remove("RUST_LOG");
    command
}

fn run(args: &[&str]) -> Output {
    tcptrace(args).output().expect("the binary runs")
}

#[test]
fn the_defaults() {
    let config = config(&[]);
    assert_eq!(config.input, Input::Live(Interfaces::Default));
    assert_eq!(config.output.format, Format::Text);
    assert_eq!(config.output.events, [Kind::Established, Kind::Connection].into_iter().collect());
    assert_eq!((config.count, config.stats_interval), (None, None));
    assert_eq!(config.ring_bytes, 8 << 20);
    assert!(!config.output.once && self::config(&["--once"]).output.once);
    let limits = Limits {
        max_connections: 262_144,
        syn_timeout: Duration::from_secs(70),
        time_wait: Duration::from_mins(1),
    };
    assert_eq!(config.limits, limits);
}

#[test]
fn a_filter_in_one_word_or_many_or_in_a_file() {
    for (args, text) in [
        (&[][..], ""),
        (&["port 80 or port 443"], "port 80 or port 443"),
        (&["-i", "eth0", "host", "10.0.0.1", "and", "not", "port", "22"], "host 10.0.0.1 and not port 22"),
    ] {
        assert_eq!(config(args).filter, FilterText::Given(text.into()), "{args:?}");
    }
    assert_eq!(config(&["-F", "some.file"]).filter, FilterText::File("some.file".into()));
    assert!(parse(&["-F", "some.file", "port", "80"]).is_err());
}

/// Before anything else: no file is looked for, and no privilege is needed.
#[test]
fn a_filter_that_is_none_is_wrong_usage_and_shows_where() {
    let wrong = run(&["-r", "nowhere.pcap", "port", "80", "and", "udp"]);
    let said = String::from_utf8_lossy(&wrong.stderr);
    assert_eq!(
        said,
        "tcptrace: cannot use the filter: 'udp' is not supported: tcptrace traces TCP only\n  port 80 and udp\n              ^^^\n"
    );
    assert_eq!((wrong.status.code(), wrong.stdout.len()), (Some(2), 0));
    let missing = run(&["-r", "nowhere.pcap", "-F", "no.such.filter"]);
    let said = String::from_utf8_lossy(&missing.stderr);
    assert!(said.starts_with("tcptrace: cannot read the filter in no.such.filter: No such file"), "{said}");
    assert_eq!(missing.status.code(), Some(1));
    // There is no end to it.
    let endless = run(&["-r", "nowhere.pcap", "-F", "/dev/zero"]);
    let said = String::from_utf8_lossy(&endless.stderr);
    assert_eq!(said, "tcptrace: cannot read the filter in /dev/zero: it is longer than 4 MiB\n");
}

#[test]
fn kinds_of_events() {
    let default = Kinds::NONE.with(Kind::Established).with(Kind::Connection);
    let verbose = default.with(Kind::Transition).with(Kind::Anomaly).with(Kind::IcmpError);
    for (args, kinds) in [
        (&["--json"][..], default.with(Kind::Start).with(Kind::Stats)),
        (&["--stats-interval", "10s"], default.with(Kind::Stats)),
        (&["-v"], verbose),
        (&["-vv"], verbose.with(Kind::Segment)),
        (&["-v", "--json"], verbose.with(Kind::Start).with(Kind::Stats)),
        (&["--events", "all"], Kinds::ALL),
        (&["--events", "segment,anomaly"], Kinds::NONE.with(Kind::Segment).with(Kind::Anomaly)),
        (&["--events", "segment", "--json"], Kinds::NONE.with(Kind::Segment)),
        (&["--json", "-w", "-"], Kinds::NONE),
    ] {
        assert_eq!(config(args).output.events, kinds, "{args:?}");
    }
}

#[test]
fn interfaces() {
    for (args, interfaces, many) in [
        (&["-i", "any"][..], Interfaces::Any, true),
        (&["-i", "eth0", "-i", "eth0"], Interfaces::Named(vec!["eth0".into()]), false),
        (&["-ieth0", "-i", "lo"], Interfaces::Named(vec!["eth0".into(), "lo".into()]), true),
    ] {
        let parsed = config(args).input;
        assert_eq!(parsed.has_many_interfaces(), many);
        assert_eq!(parsed, Input::Live(interfaces));
    }
}

#[test]
fn values() {
    for (text, bytes) in [("65536", 65536), ("64K", 65536), ("16m", 16 << 20), ("1G", 1 << 30)] {
        assert_eq!(config(&["--ring-size", text]).ring_bytes, bytes);
    }
    for (text, seconds) in [("1s", 1), ("90s", 90), ("1m30s", 90), ("1h", 3600), ("PT2M", 120)] {
        assert_eq!(config(&["--syn-timeout", text]).limits.syn_timeout, Duration::from_secs(seconds));
    }
    assert_eq!(config(&["-r", "-"]).input, Input::Files(vec!["-".into()]));
    assert_eq!(config(&["-nn", "-c", "3", "-q"]).count, Some(3));
    assert_eq!(parse(&["-D"]).expect("valid"), cli::Command::ListInterfaces { netns: Namespaces::Own });
    let blue = Namespaces::Named("blue".to_owned());
    let listed = parse(&["--netns", "blue", "-D"]).expect("valid");
    assert_eq!(listed, cli::Command::ListInterfaces { netns: blue.clone() });
    assert_eq!(config(&["--netns", "blue"]).netns, blue);
    let all = config(&["--all-netns"]);
    assert_eq!((&all.netns, &all.input), (&Namespaces::All, &Input::Live(Interfaces::Any)));
    assert!(config(&["--all-netns", "-i", "eth0"]).has_many_interfaces());
    assert_eq!(parse(&["schema"]).expect("valid"), cli::Command::Schema(cli::SchemaOf::Events));
    let checked = cli::CheckConfig {
        interfaces: Interfaces::Named(vec!["eth0".into()]),
        netns: blue.clone(),
        ingress: cli::IngressHook::Xdp,
        decap: tcptrace_common::wire::tunnel::Decap::all(),
        ring_bytes: 1 << 20,
        sockets: true,
        processes: false,
        first_byte: true,
        server_name: true,
        json: true,
    };
    let tail = ["--ingress", "xdp", "--decap", "--server-name", "--ring-size", "1M", "--json"];
    let args = [&["check", "-i", "eth0", "--netns", "blue"][..], &tail].concat();
    assert_eq!(parse(&args).expect("valid"), cli::Command::Check(checked));
    let Ok(cli::Command::Check(everywhere)) = parse(&["check", "--all-netns"]) else { panic!("valid") };
    assert_eq!((&everywhere.netns, &everywhere.interfaces), (&Namespaces::All, &Interfaces::Any));
}

#[test]
fn colour_is_for_terminals_and_can_be_refused() {
    for (color, terminal, no_color, enabled) in [
        (Color::Auto, true, None, true),
        (Color::Auto, false, None, false),
        (Color::Auto, true, Some("1"), false),
        (Color::Auto, true, Some(""), true),
        (Color::Always, false, Some("1"), true),
        (Color::Never, true, None, false),
    ] {
        assert_eq!(color.enabled(terminal, no_color.map(OsStr::new)), enabled);
    }
}

#[test]
fn text_is_as_wide_as_it_is_asked_to_be() {
    for (args, width) in [
        (&[][..], LineWidth::Terminal),
        (&["--width", "40"], LineWidth::Columns(40)),
        (&["--width=65535"], LineWidth::Columns(65535)),
        (&["--width", "none"], LineWidth::Endless),
    ] {
        assert_eq!(config(args).output.width, width);
    }
    for wrong in ["39", "65536", "wide", "-1", ""] {
        let error = parse(&[&format!("--width={wrong}")]).expect_err(wrong).to_string();
        assert!(
            error.contains("a number of columns from 40 to 65535 is needed, such as 100, or none"),
            "{error}"
        );
    }
}

#[test]
fn metrics_are_served_at_a_port_or_at_a_path() {
    assert_eq!(config(&[]).metrics, None);
    for (address, parsed) in [
        ("127.0.0.1:9464", MetricsAddress::Tcp("127.0.0.1:9464".to_owned())),
        ("[::1]:0", MetricsAddress::Tcp("[::1]:0".to_owned())),
        ("localhost:9464", MetricsAddress::Tcp("localhost:9464".to_owned())),
        ("unix:/run/a:1", MetricsAddress::Unix("/run/a:1".into())),
    ] {
        assert_eq!(parsed.to_string(), address);
        let config = config(&["--metrics", address, "--metrics-top", "7"]);
        assert_eq!(config.metrics, Some(MetricsConfig { address: parsed, top: 7 }));
    }
}

/// Also one that comes later: what would do nothing beside `-D` is refused.
#[test]
fn the_list_of_interfaces_takes_only_namespaces_and_habits() {
    let mut command = <Args as clap::CommandFactory>::command();
    command.build();
    let list = command.get_arguments().find(|it| it.get_long() == Some("list-interfaces")).expect("-D");
    let refused: Vec<_> = command.get_arg_conflicts_with(list).iter().map(|it| it.get_id()).collect();
    let taken = command.get_arguments().filter(|it| !it.is_hide_set() && !refused.contains(&it.get_id()));
    let taken: Vec<&str> = taken.map(|it| it.get_id().as_str()).collect();
    assert_eq!(taken, ["netns", "all_netns", "list_interfaces", "numeric", "config", "help", "version"]);
}

/// The program's help and that of each subcommand, as on a terminal of 80 columns.
fn help() -> Vec<clap::Command> {
    let mut command = <Args as clap::CommandFactory>::command().term_width(80);
    command.build();
    command.get_subcommands().cloned().chain([command.clone()]).collect()
}

#[test]
fn help_fits_eighty_columns() {
    for mut command in help() {
        // What is within anyway does not hang on how it is wrapped.
        let after =
            [command.get_after_help(), command.get_after_long_help()].map(|it| it.map(ToString::to_string));
        let after: Vec<String> = after.into_iter().flatten().collect();
        let helps = [command.render_help().to_string(), command.render_long_help().to_string()];
        assert!(helps.iter().all(|help| help.contains("Usage: tcptrace")));
        for line in helps.iter().chain(&after).flat_map(|text| text.lines()) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}

/// A screen is 24 lines, and `-h` is read without paging back.
#[test]
fn short_help_fits_two_screens_and_says_where_the_rest_is() {
    for mut command in help() {
        let short = command.render_help().to_string();
        assert!(short.lines().count() <= 48, "{} lines:\n{short}", short.lines().count());
        // An option is one line: none goes on in the next one.
        let goes_on = short.lines().find(|line| line.starts_with(&" ".repeat(11)));
        assert_eq!(goes_on, None, "{short}");
    }
    let [short, long] =
        ["-h", "--help"].map(|option| String::from_utf8(run(&[option]).stdout).expect("UTF-8"));
    assert!(
        short.contains("\nExamples:\n  sudo tcptrace -i eth0 ")
            && short.contains("All options, what lines say, and more: --help")
    );
    for option in ["--ring-size", "--syn-timeout", "--color", "--kernel-log"] {
        assert!(!short.contains(option) && long.contains(option), "{option}");
    }
}

/// `--help` leaves out only what hands that know tcpdump type and what changes nothing.
#[test]
fn long_help_has_every_option() {
    for mut command in help() {
        let long = command.render_long_help().to_string();
        for option in command.get_arguments().filter(|it| !it.is_hide_set()).filter_map(clap::Arg::get_long) {
            assert!(long.contains(&format!("--{option}")), "{option}");
        }
    }
}

#[test]
fn wrong_usage_is_said_on_stderr_with_exit_code_2() {
    for (args, said) in [
        (&["--frobnicate"][..], "unexpected argument '--frobnicate'"),
        (&["-i", "any", "-i", "eth0"], "cannot be combined with others"),
        (&["-i", &"long".repeat(32)], "has 1 to 127 characters"),
        (&["-i", "a/b"], "no '/', ':' or space"),
        (&["--events", "established,sins"], "'sins' is not a kind of event"),
        (&["--events", "all", "-v"], "cannot be used with"),
        (&["--ring-size", "3M"], "a power of two from 64K to 1G is needed"),
        (&["--ring-size", "2G"], "a power of two from 64K to 1G is needed"),
        (&["--ring-size", "18446744073709551615G"], "a power of two from 64K to 1G is needed"),
        (&["--ring-size", "é"], "a power of two from 64K to 1G is needed"),
        (&["--stats-interval", "10"], "a duration from 100ms to 24h is needed"),
        (&["--syn-timeout", "2h"], "a duration from 1s to 1h is needed"),
        (&["--time-wait", "0s"], "a duration from 1s to 1h is needed"),
        (&["--max-connections", "0"], "is not in 1..=16777216"),
        (&["-c", "0"], "a number of connections from 1 on is needed"),
        (&["-D", "-i", "eth0"], "cannot be used with"),
        (&["-D", "--json"], "cannot be used with"),
        (&["-D", "tcp"], "cannot be used with"),
        (&["-D", "-F", "some.file"], "cannot be used with"),
        (&["-D", "--ring-size", "1M"], "cannot be used with"),
        (&["-D", "--ingress", "tc"], "cannot be used with"),
        (&["-r", "a.pcap", "--netns", "blue"], "cannot be used with"),
        (&["-r", "a.pcap", "--all-netns"], "cannot be used with"),
        (&["--netns", "blue", "--all-netns"], "cannot be used with"),
        (&["--netns", ""], "a value is required"),
        (&["-r", "a.pcap", "-i", "eth0"], "cannot be used with"),
        (&["-r", "a.pcap", "--ingress", "xdp"], "cannot be used with"),
        (&["-r", "-", "-r", "a.pcap", "-r", "-"], "'-r -' is the standard input and can be given once"),
        (&["--summary-by", "host"], "client, server (an address) or service (an address and port) is needed"),
        (&["--summary-by", "client", "-q"], "cannot be used with"),
        (&["--summary-by", "client", "--summary-top", "0"], "is not in 1..=1000"),
        (&["--summary-top", "5"], "--summary-by"),
        (&["--metrics", "9464"], "a host and a port are needed, such as 127.0.0.1:9464, or unix:PATH"),
        (&["--metrics", ":9464"], "a host and a port are needed"),
        (&["--metrics", "localhost:94640"], "a host and a port are needed"),
        (&["--metrics", "::1:9464"], "an IPv6 address is in brackets, as in [::1]:9464"),
        (&["--metrics", "unix:"], "the path of a socket has 1 to 107 octets"),
        (&["--metrics", "localhost:9464", "--metrics-top", "0"], "is not in 1..=1000"),
        (&["--metrics-top", "5"], "--metrics <ADDR>"),
        (&["-r", "a.pcap", "--metrics", "localhost:9464"], "cannot be used with"),
        (&["-D", "--metrics", "localhost:9464"], "cannot be used with"),
        (&["-i", "eth0", "schema"], "'schema' is neither a word of the filter language nor an address"),
        (&["--ingress", "af_xdp"], "[possible values: tc, xdp]"),
        (&["check", "-i", "any", "-i", "eth0"], "cannot be combined with others"),
        (&["check", "-i", "eth0", "port 80"], "unexpected argument 'port 80'"),
        (&["check", "-r", "a.pcap"], "unexpected argument '-r'"),
        (&["check", "--netns", "blue", "--all-netns"], "cannot be used with"),
    ] {
        let output = run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{args:?} wrote to stdout");
        assert!(stderr.contains(said), "{args:?} said {stderr}");
    }
}

#[test]
fn habits_of_tcpdump_are_taken_or_told_what_to_do_instead() {
    for args in [&["-nlUNp", "-s", "0"][..], &["-nn", "-s96", "port", "80"], &["-l", "-l"]] {
        assert_eq!(config(args).output.times, TimeFormat::OfDay, "{args:?}");
    }
    assert!(matches!(parse(&["-nD"]), Ok(cli::Command::ListInterfaces { .. })));
    for (args, instead) in [
        (&["-e"][..], "'-e' is not taken: link headers are not kept"),
        (
            &["-B", "4096"],
            "'-B' is not taken: the buffer between the kernel and tcptrace is set by --ring-size",
        ),
        (&["-Z", "root"], "'-Z' is not taken"),
        (&["-G", "60"], "'-G' is not taken: --rotate-every begins another file"),
        (&["-C", "10"], "'-C' is not taken: --rotate-size begins another file"),
        (&["-W", "3"], "'-W' is not taken: --keep says how many files are kept"),
    ] {
        let output = run(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(instead) && said.trim_end().lines().count() == 1, "{said}");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
    let all = [
        TimeFormat::None,
        TimeFormat::Epoch,
        TimeFormat::SincePrevious,
        TimeFormat::Date,
        TimeFormat::SinceFirst,
    ];
    for (count, times) in (1..).zip(all) {
        assert_eq!(config(&[&format!("-{}", "t".repeat(count))]).output.times, times);
    }
    assert!(parse(&["-tttttt"]).is_err());
}

#[test]
fn the_forms_of_times_have_names_too() {
    let letters = ["day", "none", "epoch", "delta", "date", "relative"];
    for (count, name) in letters.iter().enumerate() {
        let letters = "t".repeat(count);
        let by_letters = if count == 0 { config(&[]) } else { config(&[&format!("-{letters}")]) };
        assert_eq!(config(&["--time", name]).output.times, by_letters.output.times, "{name}");
    }
    assert!(parse(&["--time", "delta", "-t"]).is_err());
    assert!(parse(&["--time", "delta", "--json"]).is_err());
    assert!(config(&["--utc"]).output.utc && !config(&[]).output.utc);
}

#[test]
fn times_are_those_of_utc_where_that_is_asked_for() {
    let file = Scratch::new();
    fs::write(&file.0, textbook::capture()).expect("a folder for temporary files");
    let path = file.0.to_str().expect("a plain name");
    let first_line = |args: &[&str]| {
        let output = tcptrace(&[&["-q", "-r", path], args].concat()).env("TZ", "XXX-7").output();
        let text = String::from_utf8(output.expect("it starts").stdout).expect("UTF-8");
        text.lines().next().expect("a line").chars().take(26).collect::<String>()
    };
    assert_eq!(first_line(&["--time=date"]), "2020-06-10 13:59:50.293475");
    assert_eq!(first_line(&["--time=date", "--utc"]), "2020-06-10 06:59:50.293475");
}

#[test]
fn hosts_and_ports_have_names_on_request() {
    let mut capture = textbook::capture();
    // Both ends become this host, whose name is known everywhere.
    for address in [[192, 168, 64, 128], [180, 101, 49, 11]] {
        for at in 0..capture.len() - 4 {
            if capture[at..at + 4] == address {
                capture[at..at + 4].copy_from_slice(&[127, 0, 0, 1]);
            }
        }
    }
    let file = Scratch::new();
    fs::write(&file.0, capture).expect("a folder for temporary files");
    let path = file.0.to_str().expect("a plain name");
    let services = fs::read_to_string("/etc/services").unwrap_or_default();
    let has_http = services.lines().any(|line| line.starts_with("http\t") || line.starts_with("http "));
    let http = if has_http { "http" } else { "80" };
    for (args, pair) in [
        (&["-N"][..], format!("localhost:60592 > localhost:{http} ")),
        (&["--names", "--width", "40"], "127.0.0.1:60592 > 127.0.0.1:80\n".to_owned()),
        (&[], "127.0.0.1:60592 > 127.0.0.1:80 ".to_owned()),
    ] {
        let output = run(&[args, &["-q", "-r", path]].concat());
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains(&pair), "{args:?}: {text}");
    }
    assert!(parse(&["-N", "--json"]).is_err(), "JSON has numbers");
}

/// What Wireshark calls with, and reads.
#[test]
fn wireshark_is_answered() {
    let answer = |args: &[&str]| {
        let output = run(&[&["extcap"], args].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let interfaces = answer(&["--extcap-interfaces", "--extcap-version=4.0"]);
    let version = env!("CARGO_PKG_VERSION");
    assert!(interfaces.starts_with(&format!("extcap {{version={version}}}{{display=TCP lifecycles}}\n")));
    for line in [
        "interface {value=tcptrace-any}{display=TCP lifecycles of all interfaces}",
        "interface {value=tcptrace-lo}{display=TCP lifecycles of lo}",
    ] {
        assert!(interfaces.lines().any(|it| it == line), "{interfaces}");
    }
    let lo = ["--extcap-interface", "tcptrace-lo"];
    assert_eq!(
        answer(&[&["--extcap-dlts"], &lo[..]].concat()),
        "dlt {number=1}{name=EN10MB}{display=Ethernet}\n"
    );
    assert!(answer(&[&["--extcap-config"], &lo[..]].concat()).starts_with("arg {number=0}{call=--decap}"));
    let filter = |text| answer(&[&lo[..], &["--extcap-capture-filter", text]].concat());
    assert_eq!(filter("tcp port 443"), "");
    assert!(filter("prt 443").starts_with("cannot use the filter: 'prt' is neither"));
}

#[test]
fn a_capture_for_wireshark_is_a_trace_that_prints_nothing() {
    let words = ["extcap", "--capture", "--extcap-interface", "tcptrace-eth0", "--fifo", "/tmp/fifo"];
    let config = config(&[&words[..], &["--extcap-capture-filter", "port 443", "--decap"]].concat());
    assert_eq!(config.input, Input::Live(Interfaces::Named(vec!["eth0".to_owned()])));
    assert_eq!(config.write.as_deref(), Some(Path::new("/tmp/fifo")));
    assert_eq!(config.filter, FilterText::Given("port 443".to_owned()));
    assert_eq!((config.output.events, config.output.quiet), (Kinds::NONE, true));
    assert_ne!(config.decap, self::config(&words).decap);
    for wrong in [
        &["extcap"][..],
        &["extcap", "--capture", "--extcap-interface", "tcptrace-eth0"],
        &["extcap", "--extcap-dlts"],
        &["extcap", "--extcap-dlts", "--extcap-interface", "eth0"],
        &["extcap", "--extcap-dlts", "--extcap-interface", "tcptrace-"],
    ] {
        assert!(parse(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_file_or_interface_in_the_place_of_a_filter_is_told_where_it_belongs() {
    for (word, hint) in [
        ("lo", "'lo' is an interface: to trace it, tcptrace -i lo"),
        ("Cargo.toml", "'Cargo.toml' is a file: to read a capture, tcptrace -r Cargo.toml"),
    ] {
        let output = run(&[word]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(hint), "{said}");
        assert_eq!(output.status.code(), Some(2));
    }
    let said = run(&["neither"]).stderr;
    assert_eq!(String::from_utf8_lossy(&said).lines().count(), 3, "the error and the place");
}

/// There a word is a condition, and in the place of nothing else.
#[test]
fn a_filter_from_a_file_is_given_no_hint_about_options() {
    let file = Scratch::new();
    for word in ["lo", "Cargo.toml"] {
        fs::write(&file.0, format!("{word}\n")).expect("a folder for temporary files");
        let output = run(&["-r", "nowhere.pcap", "-F", file.0.to_str().expect("UTF-8")]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.starts_with("tcptrace: cannot use the filter: ") && said.lines().count() == 3, "{said}");
        assert_eq!(output.status.code(), Some(2));
    }
}

/// The limit is the kernel programs', and is found out before anything is loaded.
#[test]
fn a_filter_is_as_long_as_what_runs_it_allows() {
    let ports: Vec<String> = (0..100).map(|port| port.to_string()).collect();
    let filter = format!("port in {{{}}}", ports.join(" "));
    let live = run(&["-i", "lo", &filter]);
    let said = String::from_utf8_lossy(&live.stderr).into_owned();
    assert!(said.contains("takes 200 steps, and the kernel programs run 128"), "{said}");
    assert!(said.contains("with -r, it may be longer"), "{said}");
    assert_eq!(live.status.code(), Some(2));
    let syn = |dst_port| crate::packets::Frame { flags: 2, ack: 0, dst_port, ..Default::default() }.bytes();
    let capture = Scratch::capture(&[syn(99), syn(100)]);
    let taken = crate::icmp::run(&capture, &["--json", "-q", "--events", "connection", &filter]);
    assert_eq!(taken.lines().count(), 1, "{taken}");
    assert!(taken.contains("\"port\":99}"), "{taken}");
}

#[test]
fn a_count_and_spans_say_what_they_are() {
    for (args, what) in [
        (&["-c", "ten"][..], "a number of connections from 1 on is needed, such as 10"),
        (&["-c", "0"], "a number of connections"),
        (&["--for", "0s"], "a duration from 1s to 8760h is needed"),
        (&["--slower", "ten"], "a duration from 1us to 1h is needed"),
        (&["-r", "x", "--for", "10s"], "cannot be used with"),
        (&["--failed", "-v"], "cannot be used with"),
    ] {
        let error = parse(args).expect_err("it is refused").to_string();
        assert!(error.contains(what), "{args:?}: {error}");
    }
    let config = config(&["--for", "60s", "--summary-interval", "10s", "--failed", "--slower", "10ms"]);
    assert_eq!(
        (config.duration, config.summary_interval),
        (Some(Duration::from_mins(1)), Some(Duration::from_secs(10)))
    );
    assert_eq!(config.output.only, Only { failed: true, slower: Some(Duration::from_millis(10)) });
}

#[test]
fn schema_prints_the_schema() {
    let output = run(&["schema"]);
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), crate::schema::CHECKED_IN);
}

#[test]
fn a_reader_that_has_gone_away_is_no_failure() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output =
        tcptrace(&["schema"]).stdout(writer).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let output = output.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn a_full_disk_is_one_line_with_exit_code_1() {
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    let output = tcptrace(&["schema"]).stdout(full).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let output = output.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr, "tcptrace: cannot write the schema: No space left on device (os error 28)\n");
}
