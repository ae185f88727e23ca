//! What happens to one tracer, drawn at random and written out so that it can be read.

use crate::packets::Rng;
use std::{fmt, time::Duration};

/// Something that goes wrong and passes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    /// Nothing for a while.
    Calm(Duration),
    /// SIGSTOP, and later SIGCONT.
    Stopped(Duration),
    /// Whoever reads the output does not for a while.
    SlowReader(Duration),
    /// The interface is down, then up.
    Down(Duration),
    /// The interface is deleted and made again: for a tracer that was given its name, this is the end.
    Remade,
}

/// How it ends, unless it ends before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Ctrl-C.
    Interrupted,
    /// SIGKILL.
    Killed,
    /// Whoever reads the output goes away.
    ReaderGone,
    /// The disk that the output goes to is full.
    DiskFull,
    /// Ctrl-C, after the disk that the capture (`-w`) goes to is full.
    CaptureFull,
}

impl End {
    const ALL: [Self; 5] =
        [Self::Interrupted, Self::Killed, Self::ReaderGone, Self::DiskFull, Self::CaptureFull];

    /// The disk is filled.
    pub(super) fn fills(self) -> bool {
        matches!(self, Self::DiskFull | Self::CaptureFull)
    }
}

/// One tracer's life.
pub(super) struct Script {
    pub(super) args: Vec<&'static str>,
    pub(super) troubles: Vec<Trouble>,
    pub(super) end: End,
}

/// Of the interface that [`crate::lab::Lab`] makes.
const NAMED: [&str; 2] = ["-i", "tt0"];
const ANY: [&str; 2] = ["-i", "any"];

impl Script {
    /// Of a run, the one that comes as the `nth`. The first have each end, one trouble and the smallest ring, so that a
    /// short run has some of everything.
    pub(super) fn draw(rng: &mut Rng, nth: usize) -> Self {
        let short = nth < Self::SHORT;
        let interface = if rng.below(2) == 0 { NAMED } else { ANY };
        let ring = ["64K", "64K", "256K", "8M"][if short { 0 } else { rng.below(4) }];
        let mut args = [&interface[..], &["--ring-size", ring]].concat();
        for (one_in, more) in [(4, &["--once"][..]), (4, &["--ingress", "xdp"]), (4, &["--latency", "0ms"])] {
            if rng.below(one_in) == 0 {
                args.extend(more);
            }
        }
        let end = End::ALL[if short { nth } else { rng.below(End::ALL.len()) }];
        let troubles = if short { 1 } else { 1 + rng.below(4) };
        Self { args, troubles: (0..troubles).map(|_| Trouble::draw(rng)).collect(), end }
    }

    /// So many are short.
    pub(super) const SHORT: usize = End::ALL.len();

    pub(super) fn is_any(&self) -> bool {
        self.args.starts_with(&ANY)
    }
}

impl Trouble {
    fn draw(rng: &mut Rng) -> Self {
        let mut time = |from: u64, to: u64| {
            let steps = usize::try_from(to - from).expect("a small number");
            Duration::from_millis(from + rng.below(steps) as u64)
        };
        let (calm, stopped, slow, down) = (time(500, 2500), time(100, 5000), time(100, 3000), time(10, 1000));
        match rng.below(10) {
            0..=1 => Self::Calm(calm),
            2..=5 => Self::Stopped(stopped),
            6 => Self::SlowReader(slow),
            7..=8 => Self::Down(down),
            _ => Self::Remade,
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.args.join(" "))?;
        for trouble in &self.troubles {
            match trouble {
                Trouble::Calm(time) => write!(f, "calm {time:?}, "),
                Trouble::Stopped(time) => write!(f, "stopped {time:?}, "),
                Trouble::SlowReader(time) => write!(f, "slow reader {time:?}, "),
                Trouble::Down(time) => write!(f, "down {time:?}, "),
                Trouble::Remade => write!(f, "remade, "),
            }?;
        }
        write!(f, "{:?}", self.end)
    }
}
