//! Looks for network namespaces, also those that come later.
//!
//! Being traced keeps no namespace alive. Links and loaded programs hold none, one socket hears of all of them without
//! being in any (`kernel/namespaces/nsid.rs`), and each is entered only for a moment, when there is something to attach
//! to.

use super::{
    set::Set,
    space::{OWN, Space},
};
use crate::{
    kernel::{
        attach::Notice,
        calls::readiness::changing,
        load::{self, Programs},
        namespaces::{self, FoundNamespace, Home, NamespaceSurvey, Netns, NetnsError},
    },
    source::error::LiveError,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs::File,
    future, io, mem, thread,
    time::{Duration, Instant},
};
use tokio::{io::unix::AsyncFd, sync::oneshot};

/// How often namespaces are looked for without a sign of a new one.
const SURVEY_EVERY: Duration = Duration::from_secs(1);
/// The least time between two surveys, in multiples of the time that a survey takes: so they take a hundredth of one
/// CPU at most.
const SURVEY_PAUSE: u32 = 100;
/// How long after a sign of a new namespace the survey begins. Whoever makes a namespace goes on to make things in it.
const SURVEY_SOON: Duration = Duration::from_millis(20);

/// The search for network namespaces.
pub(super) struct Search {
    home: Home,
    /// The table of mounts, whose changes are signs of new namespaces. None where it cannot be watched.
    mounts: Option<AsyncFd<File>>,
    /// The inode numbers of namespaces that cannot be traced, of which the user was told.
    left_out: BTreeSet<u64>,
    /// New namespaces that are to be traced from now on.
    arrivals: VecDeque<FoundNamespace>,
    /// The survey that is running on another thread.
    running: Option<oneshot::Receiver<NamespaceSurvey>>,
    /// The survey that is done and not looked at yet.
    surveyed: Option<NamespaceSurvey>,
    next_survey: Instant,
    /// When the next survey may begin at the earliest, whatever signs there are.
    rested: Instant,
    /// The number that the last new namespace got.
    last_number: u16,
    /// Whether the user was told of processes that may not be looked at.
    said_hidden: bool,
    /// Whether the user was told that as many namespaces are traced as can be.
    said_full: bool,
}

impl Search {
    /// Begins the search. It is an error if this process may not enter other namespaces or hear of them.
    pub(super) fn new() -> Result<Self, LiveError> {
        namespaces::may_trace_all()?;
        load::raise_open_files();
        let home = Home::open().map_err(LiveError::io("open the own network namespace"))?;
        let now = Instant::now();
        Ok(Self {
            home,
            mounts: None,
            left_out: BTreeSet::new(),
            arrivals: VecDeque::new(),
            running: None,
            surveyed: None,
            next_survey: now,
            rested: now,
            last_number: OWN,
            said_hidden: false,
            said_full: false,
        })
    }

    /// The tracer's own namespace.
    pub(super) const fn home(&self) -> &Home {
        &self.home
    }

    /// Watches the table of mounts from now on, as new namespaces show in it.
    pub(super) fn watch_mounts(&mut self) {
        self.mounts = namespaces::mount_changes().and_then(changing).ok();
    }

    /// Adds all namespaces that there are to the set. Nothing is attached to yet, so that the trace then begins
    /// everywhere at once.
    pub(super) fn begin(&mut self, set: &mut Set, notices: &mut Vec<Notice>) -> Result<(), LiveError> {
        let inode = self.home.inode().map_err(LiveError::io("look at the own network namespace"))?;
        set.introduce(Space::new(OWN, Some(inode), Netns::default(), None, &set.common))?;
        self.compare(namespaces::survey(), set, notices);
        while let Some(found) = self.arrivals.pop_front() {
            self.add(&found, set, notices)?;
        }
        Ok(())
    }

    /// Waits until [`Self::follow`] has something to do. Cancel-safe.
    pub(super) async fn ready(&mut self) {
        let Self { mounts, arrivals, running, surveyed, .. } = self;
        if !arrivals.is_empty() || surveyed.is_some() {
            return;
        }
        tokio::select! {
            () = changed(mounts.as_ref()) => self.survey_soon(),
            survey = done(running.as_mut()) => {
                *running = None;
                *surveyed = Some(survey);
            }
        }
    }

    /// When [`Self::follow`] has something to do even if [`Self::ready`] does not return.
    pub(super) const fn due(&self) -> Option<Instant> {
        if self.running.is_some() { None } else { Some(self.next_survey) }
    }

    /// Begins to trace a namespace that was found, at most one in a call, so that the ring is read in time. Begins a
    /// survey if one is due.
    pub(super) fn follow(
        &mut self,
        now: Instant,
        set: &mut Set,
        own: &mut Programs,
        notices: &mut Vec<Notice>,
    ) -> Result<(), LiveError> {
        if let Some(survey) = self.surveyed.take() {
            self.compare(survey, set, notices);
        }
        if let Some(found) = self.arrivals.pop_front()
            && let Some(number) = self.add(&found, set, notices)?
        {
            set.begin(number, own, notices)?;
        }
        if self.running.is_none() && self.next_survey <= now {
            let running =
                start_survey().map_err(LiveError::io("start a thread to look for network namespaces"))?;
            self.running = Some(running);
        }
        Ok(())
    }

    /// Has a survey begin soon, as there is a sign of a new namespace.
    pub(super) fn survey_soon(&mut self) {
        let soon = (Instant::now() + SURVEY_SOON).max(self.rested);
        self.next_survey = self.next_survey.min(soon);
    }

    /// Compares a survey with the set: new namespaces are to be added, and known ones may be mounted elsewhere now.
    fn compare(&mut self, survey: NamespaceSurvey, set: &mut Set, notices: &mut Vec<Notice>) {
        let now = Instant::now();
        self.rested = now + survey.took * SURVEY_PAUSE;
        self.next_survey = (now + SURVEY_EVERY).max(self.rested);
        if survey.hidden > 0 && !mem::replace(&mut self.said_hidden, true) {
            notices.push(Notice::HiddenProcesses { count: survey.hidden });
        }
        self.left_out.retain(|inode| survey.found.contains_key(inode));
        let known = set.live().filter_map(|space| Some((space.inode?, space.number)));
        let mut known: BTreeMap<u64, u16> = known.collect();
        self.arrivals.clear();
        for (inode, found) in survey.found {
            match known.remove(&inode) {
                Some(OWN) => {}
                Some(number) => found_again(number, &found, set),
                None if self.left_out.contains(&inode) => {}
                None => self.arrivals.push_back(found),
            }
        }
    }

    /// Adds a namespace to the set, without attaching to anything in it. Returns its number, or None, perhaps with a
    /// notice, if it cannot be traced.
    fn add(
        &mut self,
        found: &FoundNamespace,
        set: &mut Set,
        notices: &mut Vec<Notice>,
    ) -> Result<Option<u16>, LiveError> {
        let name = unique(found, set);
        let Some(number) = self.free_number(set) else {
            if !mem::replace(&mut self.said_full, true) {
                notices.push(Notice::NamespaceLeftOut { netns: name, reason: namespaces::no_more() });
            }
            return Ok(None);
        };
        self.said_full = false;
        let netns = Netns::found(found, &name, &self.home);
        let mut space = Space::new(number, Some(found.inode), netns, Some(name.clone()), &set.common);
        space.is_named = found.is_named();
        match set.introduce(space) {
            Ok(_) => Ok(Some(number)),
            Err(LiveError::Netns(NetnsError::Gone { .. })) => Ok(None),
            Err(error @ (LiveError::Netns(_) | LiveError::Interface(_) | LiveError::Io { .. })) => {
                self.left_out.insert(found.inode);
                notices.push(Notice::NamespaceLeftOut { netns: name, reason: error.to_string() });
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The number after the last one that is free. A number that was given back lately comes last, as records may still
    /// have it.
    fn free_number(&mut self, set: &Set) -> Option<u16> {
        if set.live().count() >= namespaces::MOST {
            return None;
        }
        let number = (1..=u16::MAX)
            .map(|step| self.last_number.wrapping_add(step))
            .find(|number| *number != OWN && !set.spaces.contains_key(number))?;
        self.last_number = number;
        Some(number)
    }
}

/// Takes over where a known namespace is now, and its name if it had none.
fn found_again(number: u16, found: &FoundNamespace, set: &mut Set) {
    let Some(space) = set.spaces.get(&number) else { return };
    space.netns.found_again(found);
    if space.is_named || !found.is_named() {
        return;
    }
    let name = unique(found, set);
    if let Some(space) = set.spaces.get_mut(&number) {
        space.is_named = true;
        space.rename(name, &mut set.common);
    }
}

/// A name for a namespace that no other namespace of the set has.
fn unique(found: &FoundNamespace, set: &Set) -> String {
    found.name_beside(|name| {
        set.live().any(|it| it.inode != Some(found.inode) && it.name.as_deref() == Some(name))
    })
}

/// Waits until the table of mounts changes.
async fn changed(mounts: Option<&AsyncFd<File>>) {
    let Some(mounts) = mounts else { return future::pending().await };
    match mounts.ready(tokio::io::Interest::PRIORITY).await {
        Ok(mut guard) => guard.clear_ready(),
        // The runtime is shutting down; the other branches say so.
        Err(_) => future::pending().await,
    }
}

/// Starts a survey on a thread of its own, as it can take long. The runtime's blocking threads are not used for it: the
/// runtime panics where it cannot start one.
fn start_survey() -> io::Result<oneshot::Receiver<NamespaceSurvey>> {
    let (sender, receiver) = oneshot::channel();
    let survey = move || {
        // Nobody receives it once the trace has ended.
        let _ = sender.send(namespaces::survey());
    };
    thread::Builder::new().name("survey".to_owned()).spawn(survey)?;
    Ok(receiver)
}

/// Waits until the running survey is done, or for ever if none is running.
async fn done(survey: Option<&mut oneshot::Receiver<NamespaceSurvey>>) -> NamespaceSurvey {
    match survey {
        // A survey that panicked has found nothing.
        Some(survey) => survey.await.unwrap_or_default(),
        None => future::pending().await,
    }
}
