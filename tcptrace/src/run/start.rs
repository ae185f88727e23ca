//! The `start` event, which describes the host and what the user asked for.

use super::{RunError, nanoseconds};
use crate::{
    cli::{Config, IngressHook, Input},
    event::{ClockAnchor, RunId, Settings, Start, TracedInterface},
    filter::Filter,
    random,
    source::clock::WallClock,
};
use rustix::system::uname;
use std::{fs, io, path::Path};
use tcptrace_common::wire::tunnel::{Decap, TunnelProtocol};

/// What distinguishes this run and its host from others. It is read before the process confines itself.
#[derive(Debug)]
pub(super) struct Identity {
    run: RunId,
    host: String,
    kernel: String,
    boot_id: Option<String>,
    clock: WallClock,
}

impl Identity {
    pub(super) fn read() -> Result<Self, RunError> {
        let mut bytes = [0; 16];
        let failed = RunError::system("get random bytes for the run's identifier");
        random::fill(&mut bytes).map_err(|errno| failed(io::Error::from(errno)))?;
        let names = uname();
        Ok(Self {
            run: RunId::from_random(bytes),
            host: names.nodename().to_string_lossy().into_owned(),
            kernel: names.release().to_string_lossy().into_owned(),
            boot_id: boot_id(Path::new("/proc/sys/kernel/random/boot_id")),
            clock: WallClock::new(),
        })
    }

    /// Makes the event. It is that of a live trace if `wall` is there, which converts the kernel's times to the time of
    /// day.
    pub(super) fn start(
        &self,
        config: &Config,
        filter: &Filter,
        interfaces: Vec<TracedInterface>,
        wall: Option<WallClock>,
    ) -> Start {
        let live = wall.is_some();
        let filter = filter.text().trim();
        Start {
            ts: wall.unwrap_or(self.clock).now(),
            run: self.run,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: self.host.clone(),
            boot_id: self.boot_id.clone().filter(|_| live),
            kernel: live.then(|| self.kernel.clone()),
            live,
            files: files(&config.input),
            interfaces,
            filter: (!filter.is_empty()).then(|| filter.to_owned()),
            clock: wall.map(|wall| ClockAnchor {
                monotonic_offset_ns: wall.offset_ns(),
                uncertainty_ns: wall.uncertainty_ns(),
            }),
            settings: settings(config, live),
        }
    }
}

/// The identifier of this boot, which is a UUID if the kernel wrote the file. A sandbox may show another file there, of
/// which nothing is believed.
fn boot_id(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let is_uuid = |text: &str| {
        text.len() == 36
            && text.bytes().enumerate().all(|(place, byte)| match place {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            })
    };
    Some(text.trim().to_ascii_lowercase()).filter(|text| is_uuid(text))
}

fn files(input: &Input) -> Vec<String> {
    match input {
        Input::Live(_) => Vec::new(),
        Input::Files(paths) => paths.iter().map(|path| path.to_string_lossy().into_owned()).collect(),
    }
}

fn settings(config: &Config, live: bool) -> Settings {
    let ingress = match config.ingress {
        IngressHook::Tc => "tc",
        IngressHook::Xdp => "xdp",
    };
    Settings {
        events: config.events(),
        failed: config.output.only.failed,
        slower_ns: config.output.only.slower.map(nanoseconds),
        once: config.output.once,
        count: config.count,
        duration_ns: config.duration.map(nanoseconds),
        ingress: live.then_some(ingress.into()),
        decap: tunnels(&config.decap),
        sockets: live && config.sockets,
        process: live && config.processes,
        first_byte: config.first_byte,
        server_name: config.server_name,
        sample: config.sample.rate(),
        max_connections: config.limits.max_connections as u64,
        syn_timeout_ns: nanoseconds(config.limits.syn_timeout),
        time_wait_ns: nanoseconds(config.limits.time_wait),
    }
}

/// The tunnels that are looked into, each as `--decap` accepts it.
fn tunnels(decap: &Decap) -> Vec<String> {
    let mut list = Vec::new();
    for kind in TunnelProtocol::ALL.into_iter().filter(|kind| decap.contains(*kind)) {
        let mut ports = decap.ports(kind).peekable();
        if ports.peek().is_none() {
            list.push(kind.name().to_owned());
        }
        list.extend(ports.map(|port| format!("{}:{port}", kind.name())));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::{boot_id, tunnels};
    use crate::cli::{Args, Command};
    use clap::Parser as _;
    use std::{env, fs, path::Path, process};
    use tcptrace_common::wire::tunnel::Decap;

    fn decap(argument: &str) -> Decap {
        let args = Args::try_parse_from(["tcptrace", argument]).expect("valid");
        let Ok(Command::Trace(config)) = args.command() else { panic!("a trace") };
        config.decap
    }

    #[test]
    fn tunnels_are_told_as_they_are_asked_for() {
        for (asked, told) in [
            ("--decap=ipip,gre,vxlan:4790", "ipip,gre:4754,vxlan:4790"),
            ("--decap=vxlan,vxlan:4790", "vxlan:4789,vxlan:8472,vxlan:4790"),
            ("--sample=1/2", ""),
        ] {
            assert_eq!(tunnels(&decap(asked)).join(","), told);
        }
        let all = tunnels(&Decap::all()).join(",");
        assert_eq!(decap(&format!("--decap={all}")), Decap::all(), "{all}");
    }

    #[test]
    fn a_boot_is_known_by_a_uuid_and_nothing_else() {
        let path = env::temp_dir().join(format!("tcptrace-boot-{}", process::id()));
        let read = |text: &str| {
            fs::write(&path, text).expect("a folder for all");
            boot_id(&path)
        };
        let uuid = "0b0c9a2e-6f0a-4d0c-9f57-5a1d1a3b7c11";
        assert_eq!(read(&format!("{uuid}\n")).as_deref(), Some(uuid));
        for wrong in ["", "\n", "none", &uuid[1..], &uuid.replace('-', "0"), &uuid.replace('b', "g")] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
        fs::remove_file(&path).expect("it was written");
        assert_eq!(boot_id(&path), None);
        assert_eq!(boot_id(Path::new("/")), None);
    }
}
