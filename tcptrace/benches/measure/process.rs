//! A program that is measured: in a namespace, with its output in files, and what the kernel says of it.

use crate::world::Netns;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::BTreeMap,
    error::Error,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long a program may take to begin and to end.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);

/// When a program has begun.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ready {
    /// It has said this on standard error.
    Says(&'static str),
    /// It has printed this.
    Prints(&'static str),
    /// It does not say.
    After(Duration),
}

/// Where standard output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stdout {
    File,
    Null,
    /// To [`Running::output`], which must be read.
    Pipe,
}

/// Killed when dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) stdout: PathBuf,
    pub(crate) stderr: PathBuf,
    ended: bool,
}

impl Running {
    /// Starts a program in a namespace and waits until it is ready.
    pub(crate) fn start(
        namespace: &Netns,
        words: &[String],
        stdout: Stdout,
        ready: Ready,
    ) -> Result<Self, Box<dyn Error>> {
        Self::start_as(namespace, "tool", words, stdout, ready)
    }

    /// The same where several run at once: the files of its output are called so.
    pub(crate) fn start_as(
        namespace: &Netns,
        name: &str,
        words: &[String],
        stdout: Stdout,
        ready: Ready,
    ) -> Result<Self, Box<dyn Error>> {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench");
        fs::create_dir_all(&directory)?;
        let (out, err) =
            (directory.join(name).with_extension("out"), directory.join(name).with_extension("err"));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stderr(File::create(&err)?);
        let file = File::create(&out)?;
        command.stdout(match stdout {
            Stdout::File => file.into(),
            Stdout::Null => Stdio::null(),
            Stdout::Pipe => Stdio::piped(),
        });
        let child = namespace.enter(|| command.spawn()).map_err(|error| format!("{}: {error}", words[0]))?;
        let mut running = Self { child, stdout: out, stderr: err, ended: false };
        running.wait_until(ready)?;
        Ok(running)
    }

    fn wait_until(&mut self, ready: Ready) -> Result<(), Box<dyn Error>> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.ended = true;
                return Err(format!("it ended at once, {status}: {}", self.last_words()?).into());
            }
            let begun = match ready {
                Ready::Says(words) => fs::read_to_string(&self.stderr)?.contains(words),
                Ready::Prints(words) => fs::read_to_string(&self.stdout)?.contains(words),
                Ready::After(time) => start.elapsed() >= time,
            };
            if begun {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("it did not begin: {}", self.last_words()?).into());
            }
            thread::sleep(POLL);
        }
    }

    /// The last thing it said that is not empty.
    fn last_words(&self) -> io::Result<String> {
        let said = fs::read(&self.stderr)?;
        let said = String::from_utf8_lossy(&said);
        let line = said.lines().rev().map(str::trim).find(|line| !line.is_empty());
        Ok(line.unwrap_or("it said nothing").to_owned())
    }

    /// Once, of one that was started with [`Stdout::Pipe`].
    pub(crate) fn output(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU seconds of it and its children so far, by the scheduler's own account.
    pub(crate) fn cpu(&self) -> f64 {
        let nanoseconds: u64 =
            family(self.id()).into_iter().flat_map(threads).filter_map(|thread| run_time(&thread)).sum();
        #[expect(clippy::cast_precision_loss, reason = "seconds")]
        let seconds = nanoseconds as f64 / 1e9;
        seconds
    }

    /// Waits until it has worked off what it has: `delay` is over, after which it looks at the last of it, and it took
    /// less than a hundredth of a processor for a while.
    pub(crate) fn settle(&self, delay: Duration) {
        const LOOK: Duration = Duration::from_millis(150);
        let start = Instant::now();
        let mut before = self.cpu();
        while start.elapsed() < PATIENCE {
            thread::sleep(LOOK);
            let now = self.cpu();
            if start.elapsed() > delay && now - before < 0.01 * LOOK.as_secs_f64() {
                return;
            }
            before = now;
        }
    }

    /// The most that was ever resident of it and its children, MiB. Pages they share count for each.
    pub(crate) fn peak_mib(&self) -> f64 {
        self.memory("VmHWM:")
    }

    /// A line of `/proc/PID/status` that counts kB, summed up, as MiB.
    pub(crate) fn memory(&self, field: &str) -> f64 {
        let kib = |id: u32| -> Option<f64> {
            let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix(field))?;
            line.split_whitespace().next()?.parse().ok()
        };
        family(self.id()).into_iter().filter_map(kib).sum::<f64>() / 1024.0
    }

    /// MiB that are resident of what is mapped from a file of this name, by `/proc/PID/smaps`.
    pub(crate) fn resident(&self, file: &str) -> f64 {
        let kib = |id: u32| -> f64 {
            let maps = fs::read_to_string(format!("/proc/{id}/smaps")).unwrap_or_default();
            let (mut inside, mut sum) = (false, 0.0);
            for line in maps.lines() {
                if let Some(rss) = line.strip_prefix("Rss:").filter(|_| inside) {
                    let number = rss.split_whitespace().next().and_then(|number| number.parse::<f64>().ok());
                    sum += number.unwrap_or(0.0);
                } else if !line.split_whitespace().next().is_some_and(|word| word.ends_with(':')) {
                    inside = line.ends_with(file);
                }
            }
            sum
        };
        family(self.id()).into_iter().map(kib).sum::<f64>() / 1024.0
    }

    /// What its descriptors say: of each BPF program or map that it holds, once, the fields by name.
    pub(crate) fn bpf_objects(&self, id_field: &str) -> Vec<BTreeMap<String, String>> {
        let mut found = BTreeMap::new();
        for id in family(self.id()) {
            let Ok(entries) = fs::read_dir(format!("/proc/{id}/fdinfo")) else { continue };
            for text in entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok()) {
                let fields: BTreeMap<String, String> = text
                    .lines()
                    .filter_map(|line| line.split_once(':'))
                    .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
                    .collect();
                // A link's descriptor names its program too.
                if let Some(id) = fields.get(id_field).filter(|_| !fields.contains_key("link_id")) {
                    found.insert(id.clone(), fields);
                }
            }
        }
        found.into_values().collect()
    }

    /// Ends it as Ctrl-C does and waits for it.
    pub(crate) fn stop(mut self) -> Result<Ended, Box<dyn Error>> {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw).ok_or("no such process")?;
        if self.child.try_wait()?.is_none() {
            kill_process(pid, Signal::INT)?;
        }
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if start.elapsed() > PATIENCE {
                return Err("it did not end when asked to".into());
            }
            thread::sleep(POLL);
        };
        self.ended = true;
        Ok(Ended { status, stdout: self.stdout.clone(), stderr: fs::read(&self.stderr)? })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            // Nothing more can be done about one that is gone already.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What a program left behind.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: PathBuf,
    stderr: Vec<u8>,
}

impl Ended {
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// A process and its children, and theirs.
fn family(id: u32) -> Vec<u32> {
    let mut found = vec![id];
    let mut next = 0;
    while let Some(&id) = found.get(next) {
        next += 1;
        for thread in threads(id) {
            let children = fs::read_to_string(thread.join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    found
}

fn threads(id: u32) -> Vec<PathBuf> {
    let entries = fs::read_dir(format!("/proc/{id}/task"));
    entries.map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

/// Nanoseconds on a processor (`Documentation/scheduler/sched-stats.rst`, `/proc/PID/schedstat`).
fn run_time(thread: &Path) -> Option<u64> {
    fs::read_to_string(thread.join("schedstat")).ok()?.split_whitespace().next()?.parse().ok()
}
