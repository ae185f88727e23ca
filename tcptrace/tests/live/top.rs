//! `tcptrace top` in a terminal, which tmux is: what it shows of real traffic, and that it leaves the terminal as it was.

use crate::{
    folder::Folder,
    lab::{DEADLINE, Family, Host, Lab, eventually},
    trace::binary,
    traffic::{bound, connect, impatient, in_turn, listener},
};
use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process},
};
use std::{
    env,
    ffi::OsStr,
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

/// A terminal in a host's namespace, with a shell that runs one command in it and tells of the terminal before and after.
struct Tmux<'a> {
    host: &'a Host,
    folder: Folder,
}

impl<'a> Tmux<'a> {
    /// Runs `tcptrace top` with these words, and waits until it shows something.
    fn start(host: &'a Host, words: &str, [columns, rows]: [u16; 2]) -> Self {
        let tmux = Self { host, folder: Folder::new() };
        let script = format!(
            "cd {folder}\nstty -g >before\nsh -c 'echo $$ >pid; exec {top} top {words}' 2>stderr\necho $? >status\nstty -g >after\n\
             mv after ended\nexec sleep 1000\n",
            folder = tmux.folder.display(),
            top = binary(),
        );
        fs::write(tmux.folder.join("script"), script).expect("our folder");
        let command = format!("sh {}", tmux.folder.word("script"));
        tmux.run(&["new-session", "-d", "-x", &columns.to_string(), "-y", &rows.to_string(), &command]);
        tmux.wait_for("it draws", |screen| screen.contains("tcptrace top"));
        tmux
    }

    fn tmux(&self, words: &[&str]) -> Output {
        let socket = self.folder.word("socket");
        let run = || {
            Command::new("tmux")
                .args(["-u", "-f", "/dev/null", "-S", &socket])
                .args(words)
                .env("LANG", "C.UTF-8")
                .env("SHELL", "/bin/sh")
                .env_remove("LC_ALL")
                .env_remove("TMUX")
                .env_remove("NO_COLOR")
                .output()
                .unwrap_or_else(|error| panic!("tmux: {error}"))
        };
        self.host.ns.enter(run)
    }

    fn run(&self, words: &[&str]) -> String {
        let output = self.tmux(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn screen(&self) -> String {
        self.run(&["capture-pane", "-p"])
    }

    /// Presses keys, each as tmux names it.
    fn press(&self, keys: &[&str]) {
        self.run(&[&["send-keys"], keys].concat());
    }

    fn wait_for(&self, what: &str, shows: impl Fn(&str) -> bool) -> String {
        let mut screen = String::new();
        eventually(what, || {
            screen = self.screen();
            if shows(&screen) { Ok(()) } else { Err(format!("{screen}\n{}", self.read("stderr"))) }
        });
        screen
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }

    fn pid(&self) -> Pid {
        let pid = self.read("pid").trim().parse().expect("a number");
        Pid::from_raw(pid).expect("a process")
    }

    /// Waits for the end, and looks at what is left: the terminal is as it was. Returns the exit status and what was said.
    fn ended(&self) -> (String, String) {
        eventually("it has ended", || {
            if self.folder.join("ended").exists() { Ok(()) } else { Err(self.screen()) }
        });
        assert_eq!(self.read("before"), self.read("ended"), "the modes of the terminal");
        let format = "#{alternate_on} #{cursor_flag} #{mouse_any_flag}";
        assert_eq!(self.run(&["display-message", "-p", format]).trim(), "0 1 0");
        assert_eq!(self.screen().trim(), "", "nothing of the screen is left");
        (self.read("status").trim().to_owned(), self.read("stderr"))
    }
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        // Once its only session is gone the server ends too.
        self.tmux(&["kill-server"]);
    }
}

const WEB: u16 = 8080;
const DATABASE: u16 = 5432;
const CLOSED: u16 = 6379;

fn at(lab: &Lab, port: u16) -> SocketAddr {
    SocketAddr::new(lab.b.ip(Family::V4), port)
}

/// A connection to a service.
fn open(lab: &Lab, port: u16) -> (TcpStream, TcpStream) {
    let listener = listener(&lab.b, at(lab, port), 1);
    let client = lab.a.ns.enter(|| bound(SocketAddr::new(lab.a.ip(Family::V4), 0)));
    connect(&client, &at(lab, port)).expect("it listens");
    let (server, _) = listener.accept().expect("it is connected");
    (impatient(client), impatient(server.into()))
}

/// Seven connections that close, five that stay, and four that are refused.
fn traffic(lab: &Lab) -> Vec<(TcpStream, TcpStream)> {
    for _ in 0..7 {
        let (client, server) = open(lab, WEB);
        in_turn(&client, server);
    }
    let open = (0..5).map(|_| open(lab, DATABASE)).collect();
    for _ in 0..4 {
        let client = lab.a.ns.enter(|| bound(SocketAddr::new(lab.a.ip(Family::V4), 0)));
        assert_eq!(connect(&client, &at(lab, CLOSED)), Err(Errno::CONNREFUSED));
    }
    open
}

/// What stands behind the name of a service, word by word.
fn row(screen: &str, service: &SocketAddr) -> Option<Vec<String>> {
    let service = service.to_string();
    let mut rows = screen.lines().map(|line| line.trim_start_matches('>').split_whitespace());
    rows.find_map(|mut words| (words.next() == Some(&service)).then(|| words.map(str::to_owned).collect()))
}

/// The columns of one row: how many are open, the failed of a hundred, and why.
fn counts(screen: &str, service: &SocketAddr) -> Option<(String, String, String)> {
    let words = row(screen, service)?;
    Some((words.first()?.clone(), words.get(2)?.clone(), words.get(3)?.clone()))
}

#[test]
fn services_connections_and_ladders_are_on_the_screen() {
    let lab = Lab::new();
    let tmux = Tmux::start(&lab.a, &format!("-i {}", lab.a.dev), [80, 24]);
    lab.a.wait_until_attached_to(lab.a.dev);
    let held = traffic(&lab);
    let screen = tmux.wait_for("all services are there", |screen| screen.contains("16 connections in all"));
    assert!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");
    assert!(screen.contains("lost: nothing") && screen.contains("open 5 "), "{screen}");
    assert!(screen.contains("failed 25.0% (4 of 16)"), "{screen}");
    let [web, database, closed] = [WEB, DATABASE, CLOSED].map(|port| at(&lab, port));
    let is = |open: &str, failed: &str| Some((open.to_owned(), failed.to_owned()));
    let told = |service| counts(&screen, service).map(|(open, failed, _)| (open, failed));
    assert_eq!(told(&web), is("0", "0.0%"), "{screen}");
    assert_eq!(told(&database), is("5", "0.0%"), "{screen}");
    assert_eq!(counts(&screen, &closed), Some(("0".into(), "100.0%".into(), "refused".into())), "{screen}");
    // The total is the next column to sort by, and comes onto the screen for that.
    tmux.press(&["s"]);
    let screen = tmux.wait_for("the total is shown", |screen| screen.contains("TOTAL"));
    for (service, total) in [(&web, "7"), (&database, "5"), (&closed, "4")] {
        assert_eq!(
            row(&screen, service).and_then(|words| words.get(2).cloned()).as_deref(),
            Some(total),
            "{screen}"
        );
    }
    tmux.press(&["/", "5432", "Enter", "Enter"]);
    let screen = tmux.wait_for("the connections are shown", |screen| screen.contains(" FROM"));
    let states = |line: &&str| line.matches("ESTABLISHED ").count() == 2;
    assert_eq!(screen.lines().filter(states).count(), 5, "{screen}");
    for (client, _) in &held {
        assert!(screen.contains(&client.local_addr().expect("it is bound").to_string()), "{screen}");
    }
    tmux.press(&["Enter"]);
    let screen = tmux.wait_for("the ladder is shown", |screen| screen.contains("SYN ACK 0 ack 1"));
    assert!(screen.contains("ESTABLISHED  |-- ACK 1 ack 1 -"), "{screen}");
    // It grows while it is looked at.
    drop(held);
    tmux.wait_for("the ladder has the end", |screen| screen.contains("FIN"));
    tmux.run(&["resize-window", "-x", "120", "-y", "40"]);
    tmux.press(&["Escape"]);
    tmux.wait_for("the connections are shown", |screen| screen.contains("HOW AND WHEN"));
    tmux.press(&["Escape", "Escape"]);
    thread::sleep(Duration::from_millis(100));
    tmux.press(&["Escape"]);
    let screen = tmux.wait_for("the services are shown", |screen| {
        screen.contains("NET ms") && screen.contains(&web.to_string())
    });
    assert!(screen.contains("HOST ms") && screen.contains("LAST MIN"), "{screen}");
    assert!(screen.lines().any(|line| line.chars().count() > 100), "{screen}");
    tmux.press(&["q"]);
    assert_eq!(tmux.ended(), ("0".to_owned(), String::new()));
    lab.a.assert_nothing_attached();
}

#[test]
fn what_is_paused_stays_and_goes_on() {
    let lab = Lab::new();
    let tmux = Tmux::start(&lab.a, &format!("-i {} 'tcp port {WEB}'", lab.a.dev), [80, 24]);
    lab.a.wait_until_attached_to(lab.a.dev);
    in_turn_to(&lab);
    tmux.wait_for("the first is there", |screen| screen.contains(" 1 connection in all"));
    tmux.press(&["p"]);
    tmux.wait_for("it is paused", |screen| screen.contains("PAUSED"));
    in_turn_to(&lab);
    let paused = Instant::now();
    while paused.elapsed() < Duration::from_millis(1500) {
        assert!(tmux.screen().contains(" 1 connection in all"));
        thread::sleep(Duration::from_millis(100));
    }
    tmux.press(&["p"]);
    tmux.wait_for("the second is there", |screen| screen.contains(" 2 connections in all"));
    tmux.press(&["?"]);
    tmux.wait_for("the help is shown", |screen| screen.contains("draw everything again"));
    tmux.press(&["C-c"]);
    assert_eq!(tmux.ended(), ("0".to_owned(), String::new()));
}

fn in_turn_to(lab: &Lab) {
    let (client, server) = open(lab, WEB);
    in_turn(&client, server);
}

/// All threads are confined, the one that draws too.
#[test]
fn the_screen_is_confined_and_every_signal_leaves_the_terminal_as_it_was() {
    let lab = Lab::new();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let tmux = Tmux::start(&lab.a, &format!("-i {}", lab.a.dev), [80, 24]);
        lab.a.wait_until_attached_to(lab.a.dev);
        let pid = tmux.pid();
        let threads: Vec<_> = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()))
            .expect("it runs")
            .map(|it| fs::read_to_string(it.expect("a thread").path().join("status")).expect("it runs"))
            .collect();
        assert!(threads.iter().any(|status| status.contains("Name:\tscreen\n")), "{threads:?}");
        assert!(threads.iter().all(|status| status.contains("Seccomp:\t2\n")), "{threads:?}");
        kill_process(pid, signal).expect("it runs");
        assert_eq!(tmux.ended(), ("0".to_owned(), String::new()), "{signal:?}");
        lab.a.assert_nothing_attached();
    }
}

/// The window of the terminal is closed, and nobody is there any more.
#[test]
fn a_terminal_that_goes_away_ends_it() {
    let lab = Lab::new();
    let tmux = Tmux::start(&lab.a, &format!("-i {}", lab.a.dev), [80, 24]);
    lab.a.wait_until_attached_to(lab.a.dev);
    let pid = tmux.pid();
    tmux.tmux(&["kill-server"]);
    let begun = Instant::now();
    while rustix::process::test_kill_process(pid).is_ok() {
        assert!(begun.elapsed() < DEADLINE, "it goes on without a terminal");
        thread::sleep(Duration::from_millis(20));
    }
    lab.a.assert_nothing_attached();
}

/// Names a folder that the screens of docs/top.md are written to, after a quarter of a minute of traffic.
const SCREENS: &str = "TCPTRACE_SCREENS";

/// The traffic of docs/top.md: some services that work, and one where nobody listens.
#[test]
fn steady_traffic_has_rates_and_spark_lines() {
    let folder = env::var_os(SCREENS);
    let lab = Lab::new();
    let tmux = Tmux::start(&lab.a, &format!("-i {} --first-byte", lab.a.dev), [80, 24]);
    lab.a.wait_until_attached_to(lab.a.dev);
    let begun = Instant::now();
    let least = Duration::from_secs(if folder.is_some() { 30 } else { 3 });
    let mut held = Vec::new();
    let mut round: usize = 0;
    while begun.elapsed() < least {
        for (port, every) in [(WEB, 1), (443, 2), (8443, 4)] {
            if round.is_multiple_of(every) {
                let (mut client, mut server) = open(&lab, port);
                crate::traffic::send(&mut client, &mut server, 100);
                crate::traffic::send(&mut server, &mut client, 1000);
                in_turn(&client, server);
            }
        }
        if round.is_multiple_of(5) {
            held.push(open(&lab, DATABASE));
        }
        if round.is_multiple_of(3) {
            let client = lab.a.ns.enter(|| bound(SocketAddr::new(lab.a.ip(Family::V4), 0)));
            assert_eq!(connect(&client, &at(&lab, CLOSED)), Err(Errno::CONNREFUSED));
        }
        round += 1;
        thread::sleep(Duration::from_millis(50));
    }
    let screens = |size: [u16; 2]| {
        let [columns, rows] = size.map(|it| it.to_string());
        tmux.run(&["resize-window", "-x", &columns, "-y", &rows]);
        let wide = size[0] > 80;
        let screen = tmux.wait_for("it is drawn anew", |screen| {
            screen.lines().count() > usize::from(size[1]) - 4 && screen.contains("LAST MIN") == wide
        });
        if let Some(folder) = &folder {
            fs::write(Path::new(folder).join(format!("top-{columns}x{rows}.txt")), &screen)
                .expect("a folder");
        }
        screen
    };
    let screen = screens([80, 24]);
    let web = row(&screen, &at(&lab, WEB)).expect("it is there");
    assert!(web[1].parse::<f64>().expect("a rate") > 0.5, "{screen}");
    let screen = screens([120, 40]);
    assert!(screen.chars().any(|c| ('▁'..='█').contains(&c)), "{screen}");
    if let Some(folder) = &folder {
        tmux.press(&["/", "5432", "Enter", "Enter"]);
        tmux.wait_for("the connections are shown", |screen| screen.contains(" FROM"));
        screens_of_one(&tmux, folder);
    }
    drop(held);
    tmux.press(&["C-c"]);
    assert_eq!(tmux.ended().0, "0");
}

/// Writes the screens of a service's connections and of the ladder of one.
fn screens_of_one(tmux: &Tmux<'_>, folder: &OsStr) {
    tmux.run(&["resize-window", "-x", "80", "-y", "24"]);
    let screen = tmux.wait_for("it is drawn anew", |screen| {
        screen.starts_with("tcptrace top") && !screen.contains("HOW AND WHEN") && screen.contains(" FROM")
    });
    fs::write(Path::new(folder).join("top-connections.txt"), screen).expect("a folder");
    tmux.press(&["Enter"]);
    let screen = tmux.wait_for("the ladder is shown", |screen| screen.contains("SYN ACK"));
    fs::write(Path::new(folder).join("top-ladder.txt"), screen).expect("a folder");
}
