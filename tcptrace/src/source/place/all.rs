//! Interfaces of every network namespace of the host.
//!
//! The programs are loaded once for the own one and once for all others, or once for all (`kernel/attach/share.rs`).
//!
//! None is kept alive by being traced: links and loaded programs hold no namespace, one socket hears of all of them
//! without being in any (see `kernel/namespaces/nsid.rs`), and each is entered for a moment when there is something to attach to.

use super::{
    Spot,
    space::{OWN, Space},
    traced,
};
use crate::{
    event::TracedInterface,
    kernel::{
        attach::{AttachMode, IngressHook, Notice, share::SharedMaps},
        calls::readiness::{changing, readable},
        interfaces::watch::{InterfaceNames, Listed},
        load::{self, LoadError, LoadOptions, Programs, Role},
        namespaces::{
            self, Found, Home, Netns, NetnsError, Survey,
            nsid::{Heard, Listener},
        },
    },
    source::live::{LiveConfig, LiveError, Selection},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs::File,
    future, io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tokio::{io::unix::AsyncFd, sync::oneshot};

/// How often to look for namespaces that nothing else told of.
const SURVEY_EVERY: Duration = Duration::from_secs(1);
/// How much longer than looking took not to look: a hundredth of one CPU goes into it at most.
const SURVEY_PAUSE: u32 = 100;
/// So soon after a sign of a new one: whoever makes one does more than that.
const SURVEY_SOON: Duration = Duration::from_millis(20);
/// No record stays in the ring for so long, so that nothing asks for a namespace that is gone after that.
const REMEMBER: Duration = Duration::from_mins(1);
/// Interfaces that are listed by name.
const LISTED: usize = 8;

/// What all namespaces have in common.
pub(super) struct Common {
    pub(super) ingress: IngressHook,
    pub(super) mode: AttachMode,
    pub(super) names: InterfaceNames,
    /// Something was attached to.
    pub(super) has_attached: bool,
    /// Their names; None is any.
    wanted: Option<Vec<String>>,
    /// Nothing is attached yet: first the namespaces are looked for, so that then all begins at once.
    pub(super) is_looking: bool,
    maps: Option<SharedMaps>,
    /// For all namespaces but the tracer's own.
    for_others: Option<Programs>,
    interfaces: u32,
}

impl Common {
    /// An interface of this name is to be traced.
    pub(super) fn wants(&self, name: &str) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.iter().any(|it| it == name))
    }

    /// A number for one more interface.
    pub(super) const fn next_interface(&mut self) -> u32 {
        self.interfaces = self.interfaces.wrapping_add(1);
        self.interfaces
    }

    /// A copy of the programs.
    pub(super) fn load(&self, role: Role) -> Result<Programs, LoadError> {
        self.maps.as_ref().ok_or(LoadError::Object("shared maps"))?.load(role)
    }

    /// The copy that all namespaces but the tracer's own have in common.
    pub(super) fn one_for_all(&mut self) -> Result<&mut Programs, LoadError> {
        let programs = match self.for_others.take() {
            Some(programs) => programs,
            None => self.load(Role::Shared)?,
        };
        Ok(self.for_others.insert(programs))
    }

    /// The namespace of this number is gone.
    pub(super) fn forget(&mut self, number: u16) {
        if let Some(programs) = &mut self.for_others {
            programs.forget_netns(number);
        }
    }
}

pub(crate) struct All {
    home: Home,
    listener: AsyncFd<Listener>,
    /// None where mounts cannot be watched; then new ones are found when it is time.
    mounts: Option<AsyncFd<File>>,
    common: Common,
    /// Those that are traced, and for some time those that were.
    spaces: BTreeMap<u16, Space>,
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

impl All {
    pub(super) fn choose(config: &LiveConfig) -> Result<Self, LiveError> {
        namespaces::may_trace_all()?;
        load::raise_open_files();
        let home = Home::open().map_err(LiveError::io("open the own network namespace"))?;
        let listener =
            readable(Listener::open(&home)?).map_err(LiveError::io("hear of network namespaces"))?;
        let now = Instant::now();
        Ok(Self {
            home,
            listener,
            mounts: namespaces::mount_changes().and_then(changing).ok(),
            common: Common {
                ingress: config.ingress,
                mode: config.attach,
                names: InterfaceNames::default(),
                has_attached: false,
                wanted: match &config.interfaces {
                    Selection::Named(names) => Some(names.clone()),
                    Selection::Any | Selection::DefaultRoute => None,
                },
                is_looking: true,
                maps: None,
                for_others: None,
                interfaces: 0,
            },
            spaces: BTreeMap::new(),
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

    pub(super) fn role(&self) -> Role {
        Role::of_first(self.common.ingress, self.common.mode)
    }

    pub(super) fn share(&mut self, programs: &Programs, options: &LoadOptions) -> Result<(), LiveError> {
        self.common.maps = Some(SharedMaps::of(programs, options)?);
        Ok(())
    }

    pub(super) fn begin(&mut self, own: &mut Programs, notices: &mut Vec<Notice>) -> Result<(), LiveError> {
        let inode = self.home.inode().map_err(LiveError::io("look at the own network namespace"))?;
        self.introduce(OWN, inode, Netns::default(), None, own, notices)?;
        self.compare(namespaces::survey(), notices);
        while let Some(found) = self.arrivals.pop_front() {
            self.take_up(&found, own, notices)?;
        }
        self.common.is_looking = false;
        self.spaces.values_mut().try_for_each(|space| space.begin(&mut self.common, own, notices))
    }

    pub(super) async fn ready(&mut self) -> Result<(), LiveError> {
        let Self { listener, mounts, arrivals, looking, surveyed, .. } = self;
        if !arrivals.is_empty() || surveyed.is_some() {
            return Ok(());
        }
        tokio::select! {
            // Readiness is cleared before reading: what arrives later sets it again.
            ready = listener.readable() => {
                ready.map_err(LiveError::io("hear of network namespaces"))?.clear_ready();
            }
            () = changed(mounts.as_ref()) => self.survey_soon(),
            survey = done(looking.as_mut()) => {
                *looking = None;
                *surveyed = Some(survey);
            }
        }
        Ok(())
    }

    pub(super) fn due(&self) -> Option<Instant> {
        if self.looking.is_some() { None } else { Some(self.next_survey) }
    }

    pub(super) fn follow(&mut self, own: &mut Programs, notices: &mut Vec<Notice>) -> Result<(), LiveError> {
        let now = Instant::now();
        self.hear(now, own, notices)?;
        if let Some(survey) = self.surveyed.take() {
            self.compare(survey, notices);
        }
        // One in a turn: the ring wants to be read, too.
        if let Some(found) = self.arrivals.pop_front() {
            self.take_up(&found, own, notices)?;
        }
        self.spaces.retain(|_, space| space.gone.is_none_or(|gone| now < gone + REMEMBER));
        if self.looking.is_none() && self.next_survey <= now {
            self.looking =
                Some(look().map_err(LiveError::io("start a thread to look for network namespaces"))?);
        }
        Ok(())
    }

    /// See `One::look`.
    pub(super) fn look(
        &mut self,
        own: &mut Programs,
        notices: &mut Vec<Notice>,
    ) -> Result<Vec<Arc<str>>, LiveError> {
        let lacking = self.live().map(|space| (space.number, space.lacking()));
        let lacking: Vec<_> = lacking.filter(|(_, lacking)| !lacking.is_empty()).collect();
        if lacking.is_empty() {
            return Ok(Vec::new());
        }
        self.hear(Instant::now(), own, notices)?;
        let mut names = Vec::new();
        for (number, lacking) in lacking {
            if let Some(space) = self.spaces.get_mut(&number) {
                names.extend(space.give_up(&lacking));
            }
        }
        Ok(names)
    }

    /// All that waits to be heard.
    fn hear(&mut self, now: Instant, own: &mut Programs, notices: &mut Vec<Notice>) -> Result<(), LiveError> {
        while let Some(heard) =
            self.listener.get_ref().hear().map_err(LiveError::io("hear of network namespaces"))?
        {
            self.heard(heard, now, own, notices)?;
        }
        Ok(())
    }

    fn heard(
        &mut self,
        heard: Heard,
        now: Instant,
        own: &mut Programs,
        notices: &mut Vec<Notice>,
    ) -> Result<(), LiveError> {
        match heard {
            Heard::Of(number, messages) => {
                let Some(space) = self.spaces.get_mut(&number).filter(|it| it.gone.is_none()) else {
                    return Ok(());
                };
                if space.apply(&messages, &mut self.common, own, notices)? {
                    // The other end of a pair may be in a namespace that is new.
                    self.survey_soon();
                }
                Ok(())
            }
            Heard::Gone(numbers) => {
                for (_, space) in self.spaces.iter_mut().filter(|(number, _)| numbers.contains(number)) {
                    space.end(now, &mut self.common);
                }
                Ok(())
            }
            Heard::Overflow => self.list_anew(now, own, notices),
        }
    }

    /// Notifications were lost: looks which namespaces are still there, and what is in them.
    fn list_anew(
        &mut self,
        now: Instant,
        own: &mut Programs,
        notices: &mut Vec<Notice>,
    ) -> Result<(), LiveError> {
        let Self { listener, spaces, common, .. } = self;
        for space in spaces.values_mut().filter(|it| it.gone.is_none()) {
            let number = space.number;
            // Whoever lives where it lived has no number yet.
            let again = space.netns.with_descriptor(|it| listener.get_ref().add(it, number));
            let is_there = matches!(again, Ok(Err(error)) if error.kind() == io::ErrorKind::AlreadyExists);
            match Listed::of(&space.netns) {
                Ok(listed) if is_there => space.list(listed, common, own, notices)?,
                _ => space.end(now, common),
            }
        }
        self.survey_soon();
        Ok(())
    }

    /// What a survey found: new ones are to be taken up, known ones may have moved.
    fn compare(&mut self, survey: Survey, notices: &mut Vec<Notice>) {
        let now = Instant::now();
        self.rested = now + survey.took * SURVEY_PAUSE;
        self.next_survey = (now + SURVEY_EVERY).max(self.rested);
        if survey.hidden > 0 && !self.said_hidden {
            self.said_hidden = true;
            notices.push(Notice::HiddenProcesses { count: survey.hidden });
        }
        self.left_out.retain(|inode| survey.found.contains_key(inode));
        let mut known: BTreeMap<u64, u16> = self.live().map(|space| (space.inode, space.number)).collect();
        self.arrivals.clear();
        for (inode, found) in survey.found {
            match known.remove(&inode) {
                Some(OWN) => {}
                Some(number) => self.found_again(number, &found),
                None if self.left_out.contains(&inode) => {}
                None => self.arrivals.push_back(found),
            }
        }
    }

    fn found_again(&mut self, number: u16, found: &Found) {
        let Some(space) = self.spaces.get(&number) else { return };
        space.netns.found_again(found);
        if space.is_named || !found.is_named() {
            return;
        }
        let name = self.unique(found);
        if let Some(space) = self.spaces.get_mut(&number) {
            space.is_named = true;
            space.rename(name, &mut self.common);
        }
    }

    fn live(&self) -> impl Iterator<Item = &Space> {
        self.spaces.values().filter(|space| space.gone.is_none())
    }

    fn unique(&self, found: &Found) -> String {
        found.name_beside(|name| {
            self.live().any(|it| it.inode != found.inode && it.name.as_deref() == Some(name))
        })
    }

    fn take_up(
        &mut self,
        found: &Found,
        own: &mut Programs,
        notices: &mut Vec<Notice>,
    ) -> Result<(), LiveError> {
        let name = self.unique(found);
        let Some(number) = self.free_number() else {
            if !self.said_full {
                self.said_full = true;
                notices.push(Notice::NamespaceLeftOut { netns: name, reason: namespaces::no_more() });
            }
            return Ok(());
        };
        self.said_full = false;
        let netns = Netns::found(found, &name, &self.home);
        match self.introduce(number, found.inode, netns, Some(name.clone()), own, notices) {
            Ok(()) => {
                if let Some(space) = self.spaces.get_mut(&number) {
                    space.is_named = found.is_named();
                }
                Ok(())
            }
            Err(LiveError::Netns(NetnsError::Gone { .. })) => Ok(()),
            Err(error @ (LiveError::Netns(_) | LiveError::Interface(_) | LiveError::Io { .. })) => {
                self.left_out.insert(found.inode);
                notices.push(Notice::NamespaceLeftOut { netns: name, reason: error.to_string() });
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Listens first and lists then, so that nothing falls between the two; and attaches.
    fn introduce(
        &mut self,
        number: u16,
        inode: u64,
        netns: Netns,
        name: Option<String>,
        own: &mut Programs,
        notices: &mut Vec<Notice>,
    ) -> Result<(), LiveError> {
        netns
            .with_descriptor(|it| self.listener.get_ref().add(it, number))?
            .map_err(LiveError::io("hear of it"))?;
        let listed = Listed::of(&netns).map_err(LiveError::from)?;
        let mut space = Space::new(number, inode, netns, name, &self.common);
        let listed = space.list(listed, &mut self.common, own, notices);
        self.spaces.insert(number, space);
        listed
    }

    /// The next number that is free, not one that was free lately: records may still have that.
    fn free_number(&mut self) -> Option<u16> {
        if self.live().count() >= namespaces::MOST {
            return None;
        }
        let number = (1..=u16::MAX)
            .map(|step| self.last_number.wrapping_add(step))
            .find(|number| *number != OWN && !self.spaces.contains_key(number))?;
        self.last_number = number;
        Some(number)
    }

    /// Something is new, perhaps a namespace.
    fn survey_soon(&mut self) {
        let soon = (Instant::now() + SURVEY_SOON).max(self.rested);
        self.next_survey = self.next_survey.min(soon);
    }

    #[inline]
    pub(super) fn spot(&self, netns: u16, index: u32) -> Option<Spot<'_>> {
        self.spaces.get(&netns)?.spot(index)
    }

    pub(super) fn names(&self) -> InterfaceNames {
        self.common.names.clone()
    }

    /// By name where they are few.
    pub(super) fn describe(&self) -> String {
        let places: Vec<_> = self.live().map(Space::attached).filter(|it| !it.is_empty()).collect();
        let interfaces: usize = places.iter().map(|it| it.len()).sum();
        match interfaces {
            0 => "no interface yet".to_owned(),
            1..=LISTED => places.iter().map(|it| it.describe()).collect::<Vec<_>>().join(", "),
            _ => format!("{interfaces} interfaces in {} network namespaces", places.len()),
        }
    }

    /// Where the programs are.
    pub(super) fn traced(&self) -> Vec<TracedInterface> {
        self.live().flat_map(|space| traced(space.attached(), space.name.as_deref())).collect()
    }

    pub(super) fn detach_all(&mut self) {
        self.spaces.values_mut().for_each(Space::detach_all);
    }

    /// The copies of the programs.
    pub(super) fn copies(&self) -> impl Iterator<Item = &Programs> {
        self.spaces.values().filter_map(Space::programs).chain(&self.common.for_others)
    }
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

/// Waits until a survey is done.
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

async fn done(survey: Option<&mut oneshot::Receiver<Survey>>) -> Survey {
    match survey {
        // One that panicked has found nothing.
        Some(survey) => survey.await.unwrap_or_default(),
        None => future::pending().await,
    }
}
