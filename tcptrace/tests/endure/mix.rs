//! Mixed traffic at a steady rate. A thread plays both ends of a connection, so that what happens first is known and not
//! hoped for; and a step that fails ends that connection and not the run, as the interfaces may be gone meanwhile.

use crate::{
    lab::{Family, Lab},
    loss::{CLIENT_PORTS, Loss},
    netns::enter_path,
    packets::Rng,
    traffic::{Flow, acknowledge_now, connect},
    way::{Plan, Way},
};
use rustix::{
    io::{Errno, ioctl_fionbio},
    net::{
        AddressFamily, SocketFlags, SocketType, bind, connect_unspec, socket_with,
        sockopt::{self, Timeout},
    },
};
use std::{
    collections::VecDeque,
    io::{self, Read as _, Write as _},
    net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    ops::RangeInclusive,
    os::fd::{AsFd, OwnedFd},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Who keeps account of what is made. Called from several threads.
pub(crate) trait Account: Sync {
    /// The first segment comes next.
    fn begins(&self, plan: Plan);
    /// The last has been sent.
    fn ends(&self, flow: Flow, fate: Fate);
    /// No more is to be begun.
    fn is_over(&self) -> bool;
}

/// Ends the traffic when dropped.
pub(crate) struct Over<'a>(pub(crate) &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How a connection went for its own ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fate {
    /// The client's handshake succeeded.
    pub(crate) connected: bool,
    /// What went otherwise than planned.
    pub(crate) error: Option<String>,
}

/// The traffic.
pub(crate) struct Mix<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) account: &'a dyn Account,
    /// Connections a second.
    pub(crate) rate: u32,
    /// How long those last that last.
    pub(crate) long: RangeInclusive<Duration>,
    /// How long a step may take.
    pub(crate) patience: Duration,
    pub(crate) seed: u64,
}

const WORKERS: u16 = 8;
/// A server has so many ports for each kind of loss: the four-tuples come round after 150,000 connections.
const VARIANTS: u16 = 8;
/// Where nobody listens, from the first port that is spared by the firewall.
const DEAF: u16 = 1000;
/// A client that gets no answer waits for so long: less than Linux waits before it tries again (1 s).
const UNANSWERED: Duration = Duration::from_millis(400);
/// More than that may not fit the buffers, so it takes a thread of its own.
const SMALL: usize = 4096;
/// Octets of a request or an answer.
const SIZES: [usize; 12] = [1, 1, 100, 100, 100, 100, 1000, 1000, 1000, 4000, 20_000, LARGE];
/// More than one GSO packet can carry (64 KiB).
const LARGE: usize = 300_000;
/// What the server still sends after the client has closed its direction.
const AFTERWARDS: usize = 5000;
/// What is said on a long connection at its end, each way.
const WORD: usize = 10;

impl Mix<'_> {
    /// Makes connections until it is over, and ends those that are still open.
    pub(crate) fn run(&self) {
        let workers: Vec<Worker> = (0..WORKERS).map(|nth| Worker::new(self, nth)).collect();
        thread::scope(|scope| {
            for worker in workers {
                scope.spawn(move || worker.run());
            }
        });
    }
}

/// The next four-tuple: client ports come round before a server's next port is taken.
fn next_ports() -> (u16, u16) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const CLIENTS: u32 = 1 + *CLIENT_PORTS.end() as u32 - *CLIENT_PORTS.start() as u32;
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let small = |n: u32| u16::try_from(n).expect("less than there are ports");
    (CLIENT_PORTS.start() + small(n % CLIENTS), small(n / CLIENTS % u32::from(VARIANTS)))
}

/// One that lasts.
struct Open {
    plan: Plan,
    client: TcpStream,
    server: TcpStream,
    until: Instant,
}

struct Worker<'a> {
    mix: &'a Mix<'a>,
    nth: u16,
    rng: Rng,
    /// By kind of loss and variant.
    listeners: Vec<(Loss, Vec<TcpListener>)>,
    long: Vec<Open>,
    unanswered: VecDeque<(Flow, OwnedFd, Instant)>,
}

impl<'a> Worker<'a> {
    fn new(mix: &'a Mix<'a>, nth: u16) -> Self {
        let listen = |loss: Loss| {
            let listen = |variant| {
                let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port(loss, nth, variant));
                mix.lab.b.ns.enter(|| TcpListener::bind(any)).expect("the port is free")
            };
            (loss, (0..VARIANTS).map(listen).collect())
        };
        Self {
            mix,
            nth,
            rng: Rng(mix.seed.wrapping_add(nth.into())),
            listeners: [Loss::Nothing, Loss::FinsUntilAnswered].map(listen).into(),
            long: Vec::new(),
            unanswered: VecDeque::new(),
        }
    }

    fn run(mut self) {
        enter_path(&self.mix.lab.a.ns.path());
        let interval = Duration::from_secs(WORKERS.into()) / self.mix.rate;
        let mut next = Instant::now() + interval * u32::from(self.nth) / u32::from(WORKERS);
        while !self.mix.account.is_over() {
            self.tend(false);
            thread::sleep(next.saturating_duration_since(Instant::now()));
            // Steps that took long are not made up for by a burst.
            next = (next + interval).max(Instant::now());
            self.one();
        }
        self.tend(true);
    }

    /// Ends what is due, or everything.
    fn tend(&mut self, all: bool) {
        let now = Instant::now();
        while self.unanswered.front().is_some_and(|(_, _, until)| all || *until <= now) {
            let Some((flow, socket, until)) = self.unanswered.pop_front() else { break };
            thread::sleep(until.saturating_duration_since(Instant::now()));
            drop(socket);
            self.mix.account.ends(flow, Fate::default());
        }
        for Open { plan, client, server, .. } in
            self.long.extract_if(.., |open| all || open.until <= now).collect::<Vec<_>>()
        {
            let result = last_words(&client, &server);
            self.conclude(plan, client, server, result);
        }
    }

    fn one(&mut self) {
        let plan = self.plan();
        self.mix.account.begins(plan);
        let client = match self.mix.socket(plan.flow.client) {
            Ok(socket) => socket,
            Err(error) => return self.mix.account.ends(plan.flow, failed("bind", &error)),
        };
        match plan.way {
            Way::Refused => {
                let fate = match connect(&client, &plan.flow.server) {
                    Err(Errno::CONNREFUSED) => Fate::default(),
                    Err(error) => failed("be refused", &error.into()),
                    Ok(()) => Fate { connected: true, error: Some("it was not refused".to_owned()) },
                };
                self.mix.account.ends(plan.flow, fate);
            }
            Way::Unanswered => {
                ioctl_fionbio(&client, true).expect("a socket");
                match connect(&client, &plan.flow.server) {
                    Err(Errno::INPROGRESS) => {
                        self.unanswered.push_back((plan.flow, client, Instant::now() + UNANSWERED));
                    }
                    other => {
                        let error = other.err().map_or_else(|| io::Error::other("answered"), io::Error::from);
                        self.mix.account.ends(plan.flow, failed("be left alone", &error));
                    }
                }
            }
            _ => self.converse(plan, client),
        }
    }

    fn converse(&mut self, plan: Plan, client: OwnedFd) {
        let (client, server) = match self.open(plan, client) {
            Ok(ends) => ends,
            Err(fate) => return self.mix.account.ends(plan.flow, fate),
        };
        let talk = || {
            exchange(&client, &server, plan.request - if plan.way == Way::Long { WORD } else { 0 })?;
            let answer = match plan.way {
                Way::HalfClose => plan.answer - AFTERWARDS,
                Way::Long => plan.answer - WORD,
                _ => plan.answer,
            };
            exchange(&server, &client, answer)
        };
        let talked = talk();
        if plan.way == Way::Long && talked.is_ok() {
            let (least, most) = (*self.mix.long.start(), *self.mix.long.end());
            let spread = usize::try_from(most.saturating_sub(least).as_millis()).expect("hours at most");
            let more = Duration::from_millis(self.rng.below(spread) as u64);
            let until = Instant::now() + least + more;
            self.long.push(Open { plan, client, server, until });
            return;
        }
        let result = talked.and_then(|()| close(plan.way, &client, &server));
        self.conclude(plan, client, server, result);
    }

    /// A connection that failed is reset at both ends, so that nothing of it comes later.
    fn conclude(&self, plan: Plan, client: TcpStream, server: TcpStream, result: io::Result<()>) {
        let error = result.err().map(|error| error.to_string());
        if error.is_some() {
            for end in [&client, &server] {
                // One that was reset by the other has nothing to linger for.
                let _ = sockopt::set_socket_linger(end, Some(Duration::ZERO));
            }
        }
        drop((client, server));
        self.mix.account.ends(plan.flow, Fate { connected: true, error });
    }

    fn plan(&mut self) -> Plan {
        let way = Way::draw(&mut self.rng);
        let family = Family::BOTH[self.rng.below(2)];
        let (client, variant) = next_ports();
        let server = match way {
            Way::Refused => Loss::Nothing.ports().start() + DEAF + self.nth * VARIANTS + variant,
            _ => port(way.loss(), self.nth, variant),
        };
        let lab = self.mix.lab;
        let flow = Flow {
            client: SocketAddr::new(lab.a.ip(family), client),
            server: SocketAddr::new(lab.b.ip(family), server),
        };
        let mut size = || SIZES[self.rng.below(SIZES.len())];
        let (request, answer) = match way {
            Way::Silent => (0, 0),
            Way::HalfClose => (100, 1000 + AFTERWARDS),
            Way::Long => (100 + WORD, 1000 + WORD),
            _ => (size(), size()),
        };
        Plan { flow, way, request, answer }
    }

    /// The two ends of an open connection.
    fn open(&self, plan: Plan, client: OwnedFd) -> Result<(TcpStream, TcpStream), Fate> {
        let Plan { flow, way, .. } = plan;
        if way == Way::BothOpen {
            return self.open_at_once(flow, client).map_err(|error| failed("open from both ends", &error));
        }
        connect(&client, &flow.server).map_err(|error| failed("connect", &error.into()))?;
        let (_, listeners) =
            self.listeners.iter().find(|(loss, _)| *loss == way.loss()).expect("each that is talked on");
        let variant = flow.server.port() - port(way.loss(), self.nth, 0);
        let accepted = self.accept(&listeners[usize::from(variant)], flow.client);
        let server = accepted
            .map_err(|error| Fate { connected: true, error: Some(format!("cannot accept: {error}")) })?;
        Ok((client.into(), server))
    }

    /// One of before, whose client gave up, may be in the queue still.
    fn accept(&self, listener: &TcpListener, from: SocketAddr) -> io::Result<TcpStream> {
        sockopt::set_socket_timeout(listener, Timeout::Recv, Some(self.mix.patience))?;
        loop {
            let (stream, peer) = listener.accept()?;
            if peer.port() == from.port() && peer.ip().to_canonical() == from.ip() {
                self.mix.limit(&stream)?;
                return Ok(stream);
            }
        }
    }

    /// The client's SYN is on its way (and lost) when the server's goes out.
    fn open_at_once(&self, flow: Flow, client: OwnedFd) -> io::Result<(TcpStream, TcpStream)> {
        let server = self.mix.lab.b.ns.enter(|| self.mix.socket(flow.server))?;
        let client = TcpStream::from(client);
        client.set_nonblocking(true)?;
        match connect(&client, &flow.server) {
            Err(Errno::INPROGRESS) => {}
            Ok(()) => return Err(io::Error::other("somebody listens")),
            Err(error) => return Err(error.into()),
        }
        connect(&server, &flow.client)?;
        client.set_nonblocking(false)?;
        Ok((client, server.into()))
    }
}

impl Mix<'_> {
    /// A socket of the calling thread's namespace, so that its port is known before the first segment.
    fn socket(&self, address: SocketAddr) -> io::Result<OwnedFd> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // Ports come round while an earlier connection on them still waits out its TIME-WAIT.
        sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &address)?;
        self.limit(&socket)?;
        Ok(socket)
    }

    fn limit(&self, socket: impl AsFd) -> io::Result<()> {
        for timeout in [Timeout::Send, Timeout::Recv] {
            sockopt::set_socket_timeout(&socket, timeout, Some(self.patience))?;
        }
        Ok(())
    }
}

fn port(loss: Loss, worker: u16, variant: u16) -> u16 {
    loss.ports().start() + worker * VARIANTS + variant
}

fn failed(what: &str, error: &io::Error) -> Fate {
    Fate { connected: false, error: Some(format!("cannot {what}: {error}")) }
}

/// `n` octets from one end to the other.
fn exchange(mut from: &TcpStream, mut to: &TcpStream, n: usize) -> io::Result<()> {
    let mut read = || to.read_exact(&mut vec![0; n]);
    if n <= SMALL {
        from.write_all(&vec![b'x'; n])?;
        return read();
    }
    thread::scope(|scope| {
        let written = scope.spawn(move || from.write_all(&vec![b'x'; n]));
        let read = read();
        written.join().expect("no writer panics").and(read)
    })
}

fn close(way: Way, client: &TcpStream, server: &TcpStream) -> io::Result<()> {
    match way {
        Way::ServerCloses => in_turn(server, client),
        Way::HalfClose => {
            client.shutdown(Shutdown::Write)?;
            end_of(server)?;
            acknowledge_now(server);
            exchange(server, client, AFTERWARDS)?;
            server.shutdown(Shutdown::Write)?;
            end_of(client)
        }
        Way::BothClose => {
            client.shutdown(Shutdown::Write)?;
            server.shutdown(Shutdown::Write)?;
            end_of(client)?;
            end_of(server)
        }
        Way::ResetByClient => reset(client, server),
        Way::ResetByServer => reset(server, client),
        _ => in_turn(client, server),
    }
}

/// Of a connection that lasted.
fn last_words(client: &TcpStream, server: &TcpStream) -> io::Result<()> {
    exchange(client, server, WORD)?;
    exchange(server, client, WORD)?;
    in_turn(client, server)
}

/// One closes, then the other.
fn in_turn(first: &TcpStream, second: &TcpStream) -> io::Result<()> {
    first.shutdown(Shutdown::Write)?;
    end_of(second)?;
    second.shutdown(Shutdown::Write)?;
    end_of(first)
}

/// The peer has closed its direction, and everything it sent was read.
fn end_of(mut stream: &TcpStream) -> io::Result<()> {
    match stream.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::Error::other("more was read than was sent")),
    }
}

/// To disconnect (`connect` to no address) is to reset: net/ipv4/tcp.c, `tcp_disconnect`.
fn reset(from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    connect_unspec(from)?;
    match to.read(&mut [0]) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
        other => Err(io::Error::other(format!("not a reset: {other:?}"))),
    }
}
