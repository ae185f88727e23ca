//! xdp-filter as its users have it: loaded by libxdp, in libxdp's dispatcher where the kernel takes one.

use crate::lab::Lab;
use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

/// Holds a mount namespace with the file system that libxdp keeps its programs in, and with a folder for xdp-filter's lock; and
/// takes them off when its input ends. Nothing of the machine's is touched.
const HOLD: &str = "mount -t bpf bpf /sys/fs/bpf && mount -t tmpfs run /run && xdp-filter load --mode native tt0 && \
                    echo loaded && read -r _; xdp-filter unload tt0";

/// xdp-filter on the interface of [`Lab::a`], that lets everything pass and counts it.
pub(super) struct Filter {
    holder: Child,
    /// The program that is on the interface: libxdp's dispatcher, or that of xdp-filter where the kernel refuses it.
    pub(super) name: String,
}

impl Filter {
    pub(super) fn load(lab: &Lab) -> Self {
        assert_eq!(lab.a.dev, "tt0");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", HOLD]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = lab.a.ns.enter(|| command.spawn().expect("unshare runs"));
        let output = holder.stdout.as_mut().expect("piped");
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        assert!(lines.any(|line| line == "loaded"), "xdp-filter cannot be loaded: {:?}", holder.wait());
        Self { holder, name: attached(lab) }
    }

    /// How many packets it let pass.
    pub(super) fn passed(&self, lab: &Lab) -> u64 {
        let mounts = format!("--mount=/proc/{}/ns/mnt", self.holder.id());
        let said = lab.a.ns.run("nsenter", &[&mounts, "xdp-filter", "status"]);
        let line = said.lines().find_map(|line| line.trim().strip_prefix("XDP_PASS"));
        let count = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        count.unwrap_or_else(|| panic!("the packets that passed are in {said}"))
    }

    /// Its own tool takes it off, as if nobody else had been there.
    pub(super) fn unload(mut self, lab: &Lab) {
        drop(self.holder.stdin.take());
        assert!(self.holder.wait().expect("it was started").success(), "it cannot be unloaded");
        let left = lab.a.programs();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// The name of the XDP program on the interface.
fn attached(lab: &Lab) -> String {
    let programs = lab.a.programs();
    let id = programs.iter().find_map(|it| it.split_once("driver id ")).expect("it is native").1;
    let shown = lab.a.ns.run("bpftool", &["prog", "show", "id", id.trim()]);
    let name = shown.split_once(" name ").and_then(|(_, rest)| rest.split_whitespace().next());
    name.unwrap_or_else(|| panic!("a name is in {shown}")).to_owned()
}

impl Drop for Filter {
    fn drop(&mut self) {
        // Without its input it ends.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}
