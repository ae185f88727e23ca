//! Looks for network namespaces, those that come later too.
//!
//! None is kept alive by being traced: links and loaded programs hold no namespace, one socket hears of all of them
//! without being in any (see `kernel/namespaces/nsid.rs`), and each is entered for a moment when there is something to attach
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
        namespaces::{self, Found, Home, Netns, NetnsError, Survey},
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

/// How often to look for namespaces that nothing else told of.
const SURVEY_EVERY: Duration = Duration::from_secs(1);
/// How much longer than looking took not to look: a hundredth of one CPU goes into it at most.
const SURVEY_PAUSE: u32 = 100;
/// So soon after a sign of a new one: whoever makes one does more than that.
const SURVEY_SOON: Duration = Duration::from_millis(20);

pub(super) struct Search {
    home: Home,
    /// None where mounts cannot be watched; then new ones are found when it is time.
    mounts: Option<AsyncFd<File>>,
    /// By inode numbers: left out, and said so.
    left_out: BTreeSet<u64>,
    arrivals: VecDeque<Found>,
    looking: Option<oneshot::Receiver<Survey>>,
    surveyed: Option<Survey>,
    next_survey: Instant,
    /// Not before, whatever tells of new ones.
    rested: Instant,
    last_number: u16,
    said_hidden: bool,
    said_full: bool,
}

impl Search {
    /// Finds out whether this process may look, and look into what it finds.
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
            looking: None,
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

    /// Hears of new namespaces by the table of mounts from now on.
    pub(super) fn watch_mounts(&mut self) {
        self.mounts = namespaces::mount_changes().and_then(changing).ok();
    }

    /// Takes up all that there are, and attaches to nothing yet, so that then all begins at once.
    pub(super) fn begin(&mut self, set: &mut Set, notices: &mut Vec<Notice>) -> Result<(), LiveError> {
        let inode = self.home.inode().map_err(LiveError::io("look at the own network namespace"))?;
        set.introduce(Space::new(OWN, Some(inode), Netns::default(), None, &set.common))?;
        self.compare(namespaces::survey(), set, notices);
        while let Some(found) = self.arrivals.pop_front() {
            self.take_up(&found, set, notices)?;
        }
        Ok(())
    }

    /// Waits until [`Self::follow`] has something to do. Cancel-safe.
    pub(super) async fn ready(&mut self) {
        let Self { mounts, arrivals, looking, surveyed, .. } = self;
        if !arrivals.is_empty() || surveyed.is_some() {
            return;
        }
        tokio::select! {
            () = changed(mounts.as_ref()) => self.survey_soon(),
            survey = done(looking.as_mut()) => {
                *looking = None;
                *surveyed = Some(survey);
            }
        }
    }

    /// When [`Self::follow`] has something to do in any case.
    pub(super) const fn due(&self) -> Option<Instant> {
        if self.looking.is_some() { None } else { Some(self.next_survey) }
    }

    /// Takes up what was found, one namespace in a turn: the ring wants to be read, too.
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
            && let Some(number) = self.take_up(&found, set, notices)?
        {
            set.begin(number, own, notices)?;
        }
        if self.looking.is_none() && self.next_survey <= now {
            let looking = look().map_err(LiveError::io("start a thread to look for network namespaces"))?;
            self.looking = Some(looking);
        }
        Ok(())
    }

    /// Something is new, perhaps a namespace.
    pub(super) fn survey_soon(&mut self) {
        let soon = (Instant::now() + SURVEY_SOON).max(self.rested);
        self.next_survey = self.next_survey.min(soon);
    }

    /// What a survey found: new ones are to be taken up, known ones may have moved.
    fn compare(&mut self, survey: Survey, set: &mut Set, notices: &mut Vec<Notice>) {
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

    /// Its number, if it is traced from now on.
    fn take_up(
        &mut self,
        found: &Found,
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

    /// The next number that is free, not one that was free lately: records may still have that.
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

fn found_again(number: u16, found: &Found, set: &mut Set) {
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

/// What to call it, as no other is called.
fn unique(found: &Found, set: &Set) -> String {
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

/// Looks on a thread of its own, as it can take long. The runtime's would panic where none can be started.
fn look() -> io::Result<oneshot::Receiver<Survey>> {
    let (tell, told) = oneshot::channel();
    let look = move || {
        // Nobody waits for it once the trace has ended.
        let _ = tell.send(namespaces::survey());
    };
    thread::Builder::new().name("survey".to_owned()).spawn(look)?;
    Ok(told)
}

/// Waits until a survey is done.
async fn done(survey: Option<&mut oneshot::Receiver<Survey>>) -> Survey {
    match survey {
        // One that panicked has found nothing.
        Some(survey) => survey.await.unwrap_or_default(),
        None => future::pending().await,
    }
}
