//! One copy of the kernel programs: it creates or shares the maps, sets the seeds, and loads each program when it is
//! first needed.

use super::{
    btf::Offsets,
    cgroup::{CgroupLinks, TracepointLinks},
    entry::{ALIVE, Entry},
    error::LoadError,
    explain::{explain_load, explain_map, explain_program},
    gates::Gates,
    object::{self, OBJECT},
    options::LoadOptions,
    pending::PendingWords,
    runs::Runs,
    version::kernel_before,
};
use crate::{
    kernel::calls::errors::{may_open_one, with_sources},
    random,
};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, Map, MapData, PerCpuArray, RingBuf},
    programs::{ProgramFd, SchedClassifier, Xdp},
    util::nr_cpus,
};
use aya_log::EbpfLogger;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
    path::PathBuf,
};
use tcptrace_common::{
    abi::{Counters, SEED_WORDS, Slot},
    admission::Admission,
    filter::Program,
};

/// A copy of the programs. Its maps are in the kernel from the beginning; each program is loaded when it is first
/// needed.
pub struct Programs {
    held: Held,
    role: Role,
    /// The gates by which other namespaces enter this copy through TCX links, once there is one.
    gates: Option<Gates>,
}

/// Which network namespaces a copy of the programs is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The copy is for the namespace of this number.
    Only(u16),
    /// The copy is for any namespace: each hook leaves the number beside the packet (`gates.rs`). XDP has no such
    /// place.
    Shared,
}

/// What this process keeps of a copy.
enum Held {
    /// The parsed object, which takes some MiB. Programs of it may still have to be loaded.
    Object(Ebpf),
    /// Only descriptors, as nothing more will be loaded.
    Descriptors { programs: Vec<ProgramFd>, maps: Vec<(String, Map)> },
}

/// The error of asking for a part of an object that was let go of.
const GONE: LoadError = LoadError::Object("what was let go of");

impl Programs {
    /// Makes a copy for one network namespace, whose number is 0, and creates its maps. On kernels before 5.11 it
    /// raises the limit of locked memory, if it may.
    pub fn load(options: &LoadOptions) -> Result<Self, LoadError> {
        Self::load_as(options, Role::Only(0))
    }

    /// Makes a copy for the namespaces that `role` says, and creates its maps.
    pub(crate) fn load_as(options: &LoadOptions, role: Role) -> Result<Self, LoadError> {
        Self::load_with(options, role, &[])
    }

    /// Makes a copy for the namespaces that `role` says. It uses the maps that are given, each by its name and where it
    /// is pinned, and creates the others.
    pub(crate) fn load_with(
        options: &LoadOptions,
        role: Role,
        maps: &[(&str, PathBuf)],
    ) -> Result<Self, LoadError> {
        options.check()?;
        nr_cpus().map_err(|(file, source)| LoadError::Processors { file, source })?;
        if kernel_before(5, 11) {
            // Without CAP_SYS_RESOURCE this fails; then the limit may still be high enough.
            let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
        }
        let seeds = random_seeds()?;
        let mask = options.pending_buckets - 1;
        let kernel_log = u8::from(options.kernel_log);
        let sockets = u8::from(options.sockets);
        let processes = u8::from(options.processes && options.sockets);
        // Where the kernel does not describe its types, the programs that need it are not loaded.
        let offsets = if processes == 0 { None } else { Offsets::of_kernel().ok() };
        let (interp, tgid) = offsets.map_or((0, 0), |it| (it.binprm_interp, it.task_tgid));
        let acts = if processes == 0 { 1 } else { Slot::COUNT };
        let first_byte = u8::from(options.first_byte || options.server_name);
        let server_name = u8::from(options.server_name);
        let wake_bytes = LoadOptions::wake_bytes(options.ring_bytes.into());
        let (netns, shared) = match role {
            Role::Only(netns) => (netns, 0_u8),
            Role::Shared => (0, 1),
        };
        let mut loader = EbpfLoader::new();
        for (name, path) in maps {
            loader.map_pin_path(name, path.as_path());
        }
        let ebpf = loader
            .map_max_entries("EVENTS", options.ring_bytes)
            .map_max_entries("PENDING", options.pending_buckets)
            .map_max_entries("MARKS", options.pending_buckets.div_ceil(4))
            .override_global("SEEDS", &seeds, true)
            .override_global("PENDING_MASK", &mask, true)
            .override_global("NETNS", &netns, true)
            .override_global("SHARED", &shared, true)
            .override_global("KERNEL_LOG", &kernel_log, false)
            .override_global("SOCKETS", &sockets, true)
            .override_global("PROCESSES", &processes, true)
            .override_global("BINPRM_INTERP", &interp, true)
            .override_global("TASK_TGID", &tgid, true)
            .map_max_entries("ACTS", acts)
            .override_global("FIRST_BYTE", &first_byte, true)
            .override_global("SERVER_NAME", &server_name, true)
            .override_global("WAKE_BYTES", &wake_bytes, true)
            .override_global("DECAP", &options.decap.words()[..], true)
            .load(OBJECT)
            .map_err(|e| explain_load(e, options))?;
        Ok(Self { held: Held::Object(ebpf), role, gates: None })
    }

    /// Has the programs follow only the connections that `admission` admits, from now on.
    pub fn set_admission(&mut self, admission: Admission) -> Result<(), LoadError> {
        let map = self.map("ADMISSION").ok_or(LoadError::Object("the map ADMISSION"))?;
        Array::<_, u32>::try_from(map)
            .and_then(|mut map| map.set(0, admission.to_map(), 0))
            .map_err(|e| explain_map(e, "ADMISSION"))
    }

    /// Has the programs make records only of what `filter` admits, from now on. No program is loaded anew for that.
    pub fn set_filter(&mut self, filter: &Program) -> Result<(), LoadError> {
        let map = self.map("FILTER").ok_or(LoadError::Object("the map FILTER"))?;
        let words: [u64; FILTER_WORDS] = zerocopy::transmute!(*filter);
        Array::<_, [u64; FILTER_WORDS]>::try_from(map)
            .and_then(|mut map| map.set(0, words, 0))
            .map_err(|e| explain_map(e, "FILTER"))
    }

    /// The maps that another copy of the programs can share with this one: all but those of constants.
    pub(crate) fn shareable_maps(&self) -> impl Iterator<Item = (&str, &Map)> {
        let object = match &self.held {
            Held::Object(ebpf) => Some(ebpf.maps()),
            Held::Descriptors { .. } => None,
        };
        object.into_iter().flatten().filter(|(name, _)| !name.starts_with('.'))
    }

    /// Lets go of the object, and keeps descriptors only. Nothing more can be loaded afterwards.
    pub fn let_go_of_object(&mut self) -> Result<(), LoadError> {
        let Held::Object(ebpf) = &mut self.held else { return Ok(()) };
        let loaded = |entry: Entry| ebpf.program(entry.name())?.fd().ok();
        let cloned: io::Result<Vec<_>> =
            Entry::ALL.into_iter().filter_map(loaded).map(ProgramFd::try_clone).collect();
        let programs = cloned.map_err(|error| LoadError::Other {
            what: "descriptors of the programs once more".into(),
            reason: with_sources(&error),
        })?;
        let names: Vec<_> = ebpf.maps().map(|(name, _)| name.to_owned()).collect();
        let maps = names.into_iter().filter_map(|name| ebpf.take_map(&name).map(|map| (name, map))).collect();
        self.held = Held::Descriptors { programs, maps };
        object::give_back();
        Ok(())
    }

    fn map(&mut self, wanted: &str) -> Option<&mut Map> {
        match &mut self.held {
            Held::Object(ebpf) => ebpf.map_mut(wanted),
            Held::Descriptors { maps, .. } => {
                maps.iter_mut().find(|(name, _)| name == wanted).map(|(_, map)| map)
            }
        }
    }

    /// The object, or an error if it was let go of.
    fn object(&mut self) -> Result<&mut Ebpf, LoadError> {
        match &mut self.held {
            Held::Object(ebpf) => Ok(ebpf),
            Held::Descriptors { .. } => Err(GONE),
        }
    }

    /// The TC program of this entry point, loaded.
    pub(crate) fn classifier(&mut self, entry: Entry) -> Result<&mut SchedClassifier, LoadError> {
        self.classifier_called(entry.name())
    }

    fn classifier_called(&mut self, name: &'static str) -> Result<&mut SchedClassifier, LoadError> {
        let program: &mut SchedClassifier =
            self.program(name)?.try_into().map_err(|_| LoadError::Object(name))?;
        if program.fd().is_err() {
            has_room_for(name)?;
            program.load().map_err(|e| explain_program(e, name))?;
        }
        Ok(program)
    }

    /// The program that a TCX link in the namespace of this number is to hold: the TC program of this entry, or a gate
    /// to it.
    pub(crate) fn for_link(&mut self, entry: Entry, netns: u16) -> Result<BorrowedFd<'_>, LoadError> {
        self.classifier(entry)?;
        let failed = |error: io::Error| LoadError::Other {
            what: format!("the way to {} from another namespace", entry.name()),
            reason: with_sources(&error),
        };
        let Self { held: Held::Object(ebpf), role, gates } = self else { return Err(GONE) };
        let (program, _) = loaded(ebpf, entry)?;
        if *role != Role::Shared {
            return Ok(program);
        }
        let gates = match gates {
            Some(gates) => gates,
            none => none.insert(Gates::new().map_err(failed)?),
        };
        gates.gate(netns, entry, program).map_err(failed)
    }

    /// Lets go of the gates of a namespace that is gone.
    pub(crate) fn forget_netns(&mut self, netns: u16) {
        if let Some(gates) = &mut self.gates {
            gates.remove(netns);
        }
    }

    /// Which namespaces this copy is for.
    pub(crate) const fn role(&self) -> Role {
        self.role
    }

    /// The descriptor of a TC program that is loaded, and the kernel's number for it.
    pub(crate) fn loaded(&self, entry: Entry) -> Result<(BorrowedFd<'_>, u32), LoadError> {
        let Held::Object(ebpf) = &self.held else { return Err(GONE) };
        loaded(ebpf, entry)
    }

    /// The kernel's number for a program that is loaded exactly as long as this copy is. Filters on clsact name it, so
    /// that others can tell whether their maker is still running.
    pub(crate) fn alive(&mut self) -> Result<u32, LoadError> {
        let program = self.classifier_called(ALIVE)?;
        program.info().map(|info| info.id()).map_err(|e| explain_program(e, ALIVE))
    }

    /// The XDP program, loaded.
    pub(crate) fn xdp(&mut self) -> Result<&mut Xdp, LoadError> {
        let program: &mut Xdp =
            self.program(Entry::Xdp.name())?.try_into().map_err(|_| LoadError::Object(Entry::Xdp.name()))?;
        if program.fd().is_err() {
            has_room_for(Entry::Xdp.name())?;
            program.load().map_err(|e| explain_program(e, Entry::Xdp.name()))?;
        }
        Ok(program)
    }

    fn program(&mut self, name: &'static str) -> Result<&mut aya::programs::Program, LoadError> {
        self.object()?.program_mut(name).ok_or(LoadError::Object(name))
    }

    /// How often the loaded programs ran, and how long, while the kernel kept statistics.
    #[must_use]
    pub fn runs(&self) -> Runs {
        let loaded: Vec<&ProgramFd> = match &self.held {
            Held::Object(ebpf) => {
                Entry::ALL.into_iter().filter_map(|entry| ebpf.program(entry.name())?.fd().ok()).collect()
            }
            Held::Descriptors { programs, .. } => programs.iter().collect(),
        };
        // A run that begins at a gate counts as the gate's, with the program that it goes on with.
        let gates = self.gates.iter().flat_map(Gates::all);
        loaded.into_iter().map(|fd| fd.as_fd()).chain(gates).fold(Runs::default(), |sum, fd| {
            // A program whose statistics cannot be read counts as one without runs.
            let said = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()));
            sum.and(Runs::of(&said.unwrap_or_default()))
        })
    }

    /// Maps the pending-ACK table, which all copies of the programs share, into memory.
    pub(crate) fn pending(&mut self, options: &LoadOptions) -> Result<PendingWords, LoadError> {
        let Some(Map::Array(map)) = self.map("PENDING") else {
            return Err(LoadError::Object("the map PENDING"));
        };
        PendingWords::map(map.fd().as_fd(), options.pending_buckets).map_err(|error| LoadError::Other {
            what: "the map PENDING into memory".into(),
            reason: error.to_string(),
        })
    }

    /// Takes the ring of records, which can be done once.
    pub fn take_ring(&mut self) -> Result<RingBuf<MapData>, LoadError> {
        let map = self.object()?.take_map("EVENTS").ok_or(LoadError::Object("the map EVENTS"))?;
        RingBuf::try_from(map).map_err(|e| explain_map(e, "EVENTS"))
    }

    /// Takes the counters, which can be done once.
    pub fn take_counters(&mut self) -> Result<CounterMap, LoadError> {
        let map = self.object()?.take_map("COUNTERS").ok_or(LoadError::Object("the map COUNTERS"))?;
        PerCpuArray::try_from(map).map(CounterMap).map_err(|e| explain_map(e, "COUNTERS"))
    }

    /// Loads the programs that see what processes do with sockets, and attaches them to a cgroup, for the processes in it and
    /// below. They stay there as long as what is returned.
    pub(crate) fn watch_processes(&mut self, cgroup: BorrowedFd<'_>) -> Result<CgroupLinks, LoadError> {
        CgroupLinks::attach(self.object()?, cgroup)
    }

    /// Loads and attaches the programs that see which program a process runs. They stay as long as what is returned.
    pub(crate) fn watch_programs(&mut self) -> Result<TracepointLinks, LoadError> {
        Offsets::of_kernel()
            .map_err(|reason| LoadError::Other { what: "the programs at tracepoints".into(), reason })?;
        TracepointLinks::attach(self.object()?)
    }

    /// Has the kernel verify the programs that see what processes do with sockets.
    pub(crate) fn verify_watch(&mut self) -> Result<(), LoadError> {
        CgroupLinks::verify(self.object()?)
    }

    /// Takes the programs' log, which goes on to the `log` crate; None if the object has none.
    pub fn take_log(&mut self) -> Option<EbpfLogger<&'static dyn log::Log>> {
        EbpfLogger::init(self.object().ok()?).ok()
    }
}

/// The descriptor of a TC program that is loaded, and the kernel's number for it.
fn loaded(ebpf: &Ebpf, entry: Entry) -> Result<(BorrowedFd<'_>, u32), LoadError> {
    let name = entry.name();
    let program = ebpf.program(name).ok_or(LoadError::Object(name))?;
    let program: &SchedClassifier = program.try_into().map_err(|_| LoadError::Object(name))?;
    let id = program.info().map_err(|e| explain_program(e, name))?.id();
    Ok((program.fd().map_err(|e| explain_program(e, name))?.as_fd(), id))
}

const FILTER_WORDS: usize = size_of::<Program>() / size_of::<u64>();
const COUNTER_WORDS: usize = size_of::<Counters>() / size_of::<u64>();

/// The counters of every CPU, as the programs keep them.
pub struct CounterMap(PerCpuArray<MapData, [u64; COUNTER_WORDS]>);

impl CounterMap {
    /// Reads the counters of each possible CPU. The programs write meanwhile, so that no two fields need agree.
    pub fn read(&self) -> Result<Vec<Counters>, LoadError> {
        let values = self.0.get(&0, 0).map_err(|e| explain_map(e, "COUNTERS"))?;
        Ok(values.iter().map(|words| zerocopy::transmute!(*words)).collect())
    }
}

fn random_seeds() -> Result<[u64; SEED_WORDS], LoadError> {
    let mut bytes = [0_u8; SEED_WORDS * 8];
    random::fill(&mut bytes)
        .map_err(|e| LoadError::Other { what: "random seeds".into(), reason: e.to_string() })?;
    Ok(zerocopy::transmute!(bytes))
}

/// Raises the limit of open files as far as this process may. Each network namespace takes two descriptors, or about
/// ten with a copy of the programs, and each interface takes two.
pub(crate) fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // If this fails and too few files may be open, loading says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// An error if no more files may be open. The kernel would find that out only after it has verified the program, and
/// aya would load it again for the verifier's log: that takes some seconds.
fn has_room_for(program: &str) -> Result<(), LoadError> {
    may_open_one()
        .map_err(|error| LoadError::Other { what: program.to_owned(), reason: with_sources(&error) })
}
