//! Network namespaces for tests, deleted when dropped. Needs root and `ip`; without them a test fails.

use aya::util::KernelVersion;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::{
    fs::File,
    os::fd::AsFd,
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

/// One namespace of a name of its own.
pub struct Netns {
    name: String,
}

impl Netns {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tcptrace-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run("ip", &["netns", "add", &name]);
        let ns = Self { name };
        ns.ip(&["link", "set", "lo", "up"]);
        ns
    }

    /// `ip` in here; its output.
    pub fn ip(&self, args: &[&str]) -> String {
        run("ip", &[&["-n", &self.name], args].concat())
    }

    /// `tc` in here; its output.
    pub fn tc(&self, args: &[&str]) -> String {
        run("tc", &[&["-n", &self.name], args].concat())
    }

    /// Gives a device another name. Before 6.2 the kernel refuses that while it is up (net/core/dev.c,
    /// `dev_change_name`).
    pub fn rename(&self, device: &str, name: &str) {
        let rename = |from: &str| self.ip(&["link", "set", from, "name", name]);
        if renames_while_up() {
            rename(device);
        } else {
            self.ip(&["link", "set", device, "down"]);
            rename(device);
            self.ip(&["link", "set", name, "up"]);
        }
    }

    /// Any program in here; its output.
    pub fn run(&self, program: &str, args: &[&str]) -> String {
        self.enter(|| run(program, args))
    }

    /// Runs `f` on a thread of its own that lives in this namespace. A panic in it is a panic here.
    pub fn enter<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                enter_path(&self.path());
                f()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Where it can be entered from.
    pub fn path(&self) -> String {
        format!("/run/netns/{}", self.name)
    }

    /// A pair of Ethernet devices, one end here and one there, both up, with 10.77.`net`.1/24 here and
    /// 10.77.`net`.2/24 there.
    pub fn veth(&self, here: &str, other: &Self, there: &str, net: u8) {
        self.ip(&["link", "add", here, "type", "veth", "peer", "name", there, "netns", &other.name]);
        for (ns, device, host) in [(self, here, 1), (other, there, 2)] {
            ns.ip(&["addr", "add", &format!("10.77.{net}.{host}/24"), "dev", device]);
            ns.ip(&["link", "set", device, "up"]);
        }
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // While a test panics, the namespace goes on being deleted without a second panic.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// The kernel that runs is at least this. Its features are judged by it: a kernel that is new enough for one and is found
/// without it fails the test.
pub fn kernel_is(major: u8, minor: u8) -> bool {
    KernelVersion::current().expect("the kernel has a version") >= KernelVersion::new(major, minor, 0)
}

/// TCX links are there.
pub fn has_tcx() -> bool {
    kernel_is(6, 6)
}

/// The kernel gives a device that is up another name.
pub fn renames_while_up() -> bool {
    kernel_is(6, 2)
}

/// For good: sockets and children that this thread makes from now on are in the namespace of this path.
pub fn enter_path(path: &str) {
    let file = File::open(path).expect("the namespace is there");
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may enter it");
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {} failed: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
