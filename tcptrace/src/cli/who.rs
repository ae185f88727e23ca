//! Arguments that choose connections by who uses their sockets.

use super::parse;
use crate::event::{Cgroup, Event, Process};

/// Arguments that choose connections by who uses a socket of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Connections")]
pub struct Who {
    /// Only connections of processes of this name.
    ///
    /// NAME is that of `ps -o comm`; of a longer one the first 15 characters count. It implies --process, and may be given several
    /// times.
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    comm: Vec<String>,

    /// Only connections of this process; implies --process
    #[arg(long, value_name = "PID", hide_short_help = true)]
    pid: Vec<u32>,

    /// Only connections of this systemd unit.
    ///
    /// UNIT is as `systemctl` shows it; `.service` may be left out.
    #[arg(long, value_name = "UNIT", hide_short_help = true)]
    unit: Vec<String>,

    /// Only connections of this container.
    ///
    /// ID is the container's identifier, or at least four digits of its beginning.
    #[arg(long, value_name = "ID", value_parser = parse::container, hide_short_help = true)]
    container: Vec<String>,
}

impl Who {
    /// Whether a process has to be known.
    pub(super) fn wants_processes(&self) -> bool {
        !self.comm.is_empty() || !self.pid.is_empty()
    }

    /// Whether nothing was asked for, so that every connection is taken.
    #[must_use]
    pub fn is_anybody(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an event is to be reported: an end of its connection is used by who was asked for. One that is about no single
    /// connection always is.
    #[must_use]
    pub fn takes(&self, event: &Event) -> bool {
        if self.is_anybody() {
            return true;
        }
        match event {
            Event::Established(it) => {
                self.is(it.client_process.as_ref(), it.client_cgroup.as_ref())
                    || self.is(it.server_process.as_ref(), it.server_cgroup.as_ref())
            }
            Event::Connection(it) => {
                self.is(it.client_process.as_ref(), it.client_cgroup.as_ref())
                    || self.is(it.server_process.as_ref(), it.server_cgroup.as_ref())
            }
            _ => event.common().is_none(),
        }
    }

    /// Whether an end is used by who was asked for: by one of each list that was given.
    fn is(&self, process: Option<&Process>, cgroup: Option<&Cgroup>) -> bool {
        /// The most characters that the kernel keeps of a name (`TASK_COMM_LEN`).
        const MOST: usize = 15;
        let comm = process.and_then(|it| it.comm.as_deref());
        let pid = process.and_then(|it| it.pid);
        let unit = cgroup.and_then(|it| it.unit.as_deref());
        let container = cgroup.and_then(|it| it.container.as_deref());
        let whole = |text: &str| text.get(..MOST).unwrap_or(text).to_owned();
        fits(&self.comm, |name| comm == Some(&*whole(name)))
            && fits(&self.pid, |wanted| pid == Some(*wanted))
            && fits(&self.unit, |name| {
                unit.is_some_and(|it| it == name || it.strip_suffix(".service") == Some(name))
            })
            && fits(&self.container, |id| container.is_some_and(|it| it.starts_with(id.as_str())))
    }
}

/// Whether one of the wanted fits, or nothing is wanted.
fn fits<T>(wanted: &[T], fits: impl Fn(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(fits)
}
