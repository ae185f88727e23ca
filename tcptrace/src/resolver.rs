//! Names for addresses, which the system's own resolver is asked for by getent(1), and names for ports, by `/etc/services`.
//!
//! Processes without any rights do the asking, which start before the process of the trace confines itself: what the resolver
//! does, such as opening sockets and loading libraries, is nothing that a trace may do. A trace never waits for one that
//! takes packets: a name that is not known yet is asked for, and the next line has it.

use crate::{
    confine::{self, ConfineError},
    names::tcp_ports,
    sink::text::Naming,
};
use std::{
    collections::{HashMap, hash_map::Entry},
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    net::IpAddr,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};
use thiserror::Error;

/// How many processes ask at a time. Most of the time they wait for a server of names.
const PROCESSES: usize = 4;
/// How many addresses may wait to be asked for. An address that finds no room is asked for when it comes again.
const QUEUE: usize = 1024;
/// How many names are remembered; after that all are forgotten.
const REMEMBERED: usize = 65_536;
/// The longest name that is taken, in bytes. Names may have 255 (RFC 1035 §2.3.4), which no line has room for.
const LONGEST: usize = 100;
/// Answers each line that is an address by a line that is empty or begins with the name behind the address.
const ASK: &str = r#"while read -r address; do echo "$(getent hosts "$address" | head -n 1)"; done"#;

/// Why names cannot be asked for.
#[derive(Debug, Error)]
pub enum ResolverError {
    /// The command that asks cannot be started.
    #[error("cannot start sh(1), which asks for names by getent(1): {0}; --names needs both")]
    Start(#[from] io::Error),
    /// The processes that ask could not be confined.
    #[error(transparent)]
    Confine(#[from] ConfineError),
}

/// Asks for names, and remembers them.
#[derive(Debug)]
pub struct Resolver {
    known: Arc<Known>,
    ports: HashMap<u16, Arc<str>>,
    asks: SyncSender<IpAddr>,
    /// How long a name that is asked for is waited for.
    patience: Duration,
}

/// The names that are known, and those that were asked for.
#[derive(Debug, Default)]
struct Known {
    names: Mutex<HashMap<IpAddr, Answer>>,
    answered: Condvar,
    /// Whether somebody has waited in vain since the last answer: then nobody waits before there is another.
    silent: AtomicBool,
    /// How many answers have come.
    answers: AtomicU64,
}

#[derive(Clone, Debug)]
enum Answer {
    Asked,
    Name(Arc<str>),
    /// There is no name.
    None,
}

/// A process that asks.
struct Asker {
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Resolver {
    /// Starts the processes that ask. Each new name is waited for so long.
    pub fn start(patience: Duration) -> Result<Arc<Self>, ResolverError> {
        let services = fs::read_to_string("/etc/services").unwrap_or_default();
        let (asks, questions) = sync_channel(QUEUE);
        let (tell, told) = sync_channel(1);
        let known = Arc::new(Known::default());
        let resolver = Self { known: Arc::clone(&known), ports: ports(&services), asks, patience };
        // What the thread gives up, the processes that it starts do not have.
        thread::Builder::new().name("names".to_owned()).spawn(move || {
            let (result, askers) = match start_askers() {
                Ok(askers) => (Ok(()), askers),
                Err(error) => (Err(error), Vec::new()),
            };
            // Whoever started this waits for it.
            _ = tell.send(result);
            let questions = Arc::new(Mutex::new(questions));
            for asker in askers {
                let (questions, known) = (Arc::clone(&questions), Arc::clone(&known));
                // One process less asks where a thread cannot be started.
                _ = thread::Builder::new()
                    .name("names".to_owned())
                    .spawn(move || asker.run(&questions, &known));
            }
        })?;
        match told.recv() {
            Ok(result) => result.map(|()| Arc::new(resolver)),
            Err(_) => Err(io::Error::other("the thread that starts them has ended").into()),
        }
    }
}

impl Naming for Resolver {
    fn host(&self, ip: IpAddr) -> Option<Arc<str>> {
        let mut names = self.known.lock();
        if let Entry::Vacant(unknown) = names.entry(ip) {
            self.asks.try_send(ip).ok()?;
            unknown.insert(Answer::Asked);
        }
        let silent = self.known.silent.load(Ordering::Relaxed);
        let end = Instant::now() + if silent { Duration::ZERO } else { self.patience };
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match names.get(&ip) {
                Some(Answer::Name(name)) => return Some(Arc::clone(name)),
                Some(Answer::Asked) if !left.is_zero() => {
                    let waited = self.known.answered.wait_timeout(names, left);
                    names = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                Some(Answer::Asked) => {
                    self.known.silent.store(true, Ordering::Relaxed);
                    return None;
                }
                Some(Answer::None) | None => return None,
            }
        }
    }

    fn port(&self, port: u16) -> Option<Arc<str>> {
        self.ports.get(&port).cloned()
    }

    fn answers(&self) -> u64 {
        self.known.answers.load(Ordering::Relaxed)
    }
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Answer>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, ip: IpAddr, answer: Answer) {
        let mut names = self.lock();
        if names.len() >= REMEMBERED {
            names.retain(|_, answer| matches!(answer, Answer::Asked));
        }
        names.insert(ip, answer);
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.silent.store(false, Ordering::Relaxed);
        self.answered.notify_all();
    }
}

/// Gives up all rights in this thread, starts the processes, and confines the thread.
fn start_askers() -> Result<Vec<Asker>, ResolverError> {
    confine::give_up_everything()?;
    let askers = (0..PROCESSES).map(|_| Asker::start()).collect::<io::Result<_>>()?;
    confine::confine(confine::Purpose::File, &[])?;
    Ok(askers)
}

impl Asker {
    fn start() -> io::Result<Self> {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new("sh");
        command.args(["-c", ASK]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // Ctrl-C ends the trace, whose last lines have names too. The end of the trace ends the process by its stdin.
        let Child { stdin, stdout, .. } = command.process_group(0).spawn()?;
        let (Some(questions), Some(answers)) = (stdin, stdout) else {
            return Err(io::Error::other("it has no pipes"));
        };
        Ok(Self { questions, answers: BufReader::new(answers) })
    }

    /// Asks until nobody wants to know more, or the process has ended.
    fn run(mut self, questions: &Mutex<Receiver<IpAddr>>, known: &Known) {
        let next = || questions.lock().unwrap_or_else(PoisonError::into_inner).recv();
        while let Ok(ip) = next() {
            let answer = self.ask(ip);
            let ended = answer.is_err();
            known.learn(ip, answer.ok().flatten().map_or(Answer::None, Answer::Name));
            if ended {
                break;
            }
        }
    }

    fn ask(&mut self, ip: IpAddr) -> io::Result<Option<Arc<str>>> {
        writeln!(self.questions, "{ip}")?;
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(name(&line).map(Into::into))
    }
}

/// The name in a line of `getent hosts`: the word behind the address. Whoever has the address chooses the name, so that one
/// that is very long, or looks like another address, is none.
fn name(line: &str) -> Option<&str> {
    let name = line.split_whitespace().nth(1)?;
    let is_name = name.len() <= LONGEST && name.parse::<IpAddr>().is_err();
    let is_plain =
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    (is_name && is_plain).then_some(name)
}

/// The names of TCP ports in the text of `/etc/services`: the first of each (services(5)).
fn ports(services: &str) -> HashMap<u16, Arc<str>> {
    let mut ports = HashMap::new();
    for (port, name, _) in tcp_ports(services) {
        ports.entry(port).or_insert_with(|| name.into());
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::{name, ports};

    #[test]
    fn a_name_is_the_word_behind_the_address() {
        assert_eq!(name("127.0.0.1       localhost loopback\n"), Some("localhost"));
        assert_eq!(name("::1 ip6-localhost"), Some("ip6-localhost"));
        for none in ["", "\n", "192.0.2.1", "192.0.2.1 192.0.2.2", "192.0.2.1 a\u{1b}b", "192.0.2.1 ::1"] {
            assert_eq!(name(none), None, "{none:?}");
        }
        assert_eq!(name(&format!("192.0.2.1 {}", "a".repeat(101))), None);
    }

    #[test]
    fn ports_have_the_first_of_their_names() {
        let ports = ports("# x 1/tcp\nhttp 80/tcp www\nother 80/tcp\ndomain 53/udp\nhttps\t443/tcp # web\n");
        assert_eq!(ports.get(&80).map(|name| &**name), Some("http"));
        assert_eq!(ports.get(&443).map(|name| &**name), Some("https"));
        assert_eq!(ports.len(), 2);
    }
}
