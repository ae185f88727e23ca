//! Surveys the interfaces that a trace would attach to, in one network namespace or in all, and finds what it would
//! leave out.

use super::report::{AllNetns, LeftOut};
use crate::{
    cli::{CheckConfig, Interfaces},
    kernel::{
        attach::survey::InterfaceSurvey,
        interfaces::{self, Interface, InterfaceError},
        load,
        namespaces::{self, Home, MOST, Namespaces, Netns, NetnsError, nsid::Listener},
    },
    source::live::LiveError,
};
use std::collections::BTreeSet;

/// The surveys of all interfaces that a trace would attach to.
pub(super) struct Surveys {
    pub(super) interfaces: Vec<InterfaceSurvey>,
    /// How many of the interfaces, which come first, are for the first copy of the programs. In a trace of all
    /// namespaces these are the interfaces of the tracer's own namespace.
    pub(super) of_first: usize,
    /// What is found about namespaces, if all of them would be traced.
    pub(super) all_netns: Option<AllNetns>,
    /// Problems that are of no interface in particular.
    pub(super) problems: Vec<String>,
}

impl Surveys {
    pub(super) fn make(config: &CheckConfig) -> Result<Self, LiveError> {
        match &config.netns {
            Namespaces::Own => Self::of_one(None, config),
            Namespaces::Named(name) => Self::of_one(Some(name), config),
            Namespaces::All => Self::of_all(config),
        }
    }

    fn of_one(name: Option<&str>, config: &CheckConfig) -> Result<Self, LiveError> {
        let netns = Netns::open(name)?;
        let look = || survey(&choose(&config.interfaces, &interfaces::list()?)?, config);
        let interfaces = netns.within(look)?.map_err(|error| error.within(&netns))?;
        let none = interfaces.is_empty().then(|| InterfaceError::NoneUp.to_string());
        let of_first = interfaces.len();
        Ok(Self { interfaces, of_first, all_netns: None, problems: none.into_iter().collect() })
    }

    /// Surveys all namespaces, in the order in which a trace takes them (`source/spaces/search.rs`).
    fn of_all(config: &CheckConfig) -> Result<Self, LiveError> {
        load::raise_open_files();
        let home = Home::open().map_err(LiveError::io("open the own network namespace"))?;
        let own = home.inode().map_err(LiveError::io("look at the own network namespace"))?;
        let (listener, problem) = match Listener::open(&home) {
            Ok(listener) => (Some(listener), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let mut interfaces = survey_all(&Netns::default(), None, 0, listener.as_ref(), config)?;
        let of_first = interfaces.len();
        let namespaces::NamespaceSurvey { found, hidden, .. } = namespaces::survey();
        let mut all = AllNetns { traced: 1, hidden_processes: hidden, left_out: Vec::new() };
        let mut names = BTreeSet::new();
        for (number, found) in (1..=u16::MAX).zip(found.into_values().filter(|it| it.inode != own)) {
            let name = found.name_beside(|name| names.contains(name));
            if all.traced == MOST {
                all.left_out.push(LeftOut { netns: name, reason: namespaces::no_more() });
                break;
            }
            let netns = Netns::found(&found, &name, &home);
            match survey_all(&netns, Some(&name), number, listener.as_ref(), config) {
                Ok(more) => {
                    all.traced += 1;
                    interfaces.extend(more);
                    names.insert(name);
                }
                // The namespace ended meanwhile.
                Err(LiveError::Netns(NetnsError::Gone { .. })) => {}
                Err(error) => all.left_out.push(LeftOut { netns: name, reason: error.to_string() }),
            }
        }
        Ok(Self { interfaces, of_first, all_netns: Some(all), problems: problem.into_iter().collect() })
    }
}

/// Surveys the interfaces of one namespace that a trace of all namespaces would attach to, and names them as that trace
/// does.
fn survey_all(
    netns: &Netns,
    name: Option<&str>,
    number: u16,
    listener: Option<&Listener>,
    config: &CheckConfig,
) -> Result<Vec<InterfaceSurvey>, LiveError> {
    if let Some(listener) = listener {
        netns.with_descriptor(|it| listener.add(it, number))?.map_err(LiveError::io("hear of it"))?;
    }
    netns.within(|| {
        let mut chosen = interfaces::list()?;
        chosen.retain(|it| it.traceable() && is_wanted(&config.interfaces, &it.name));
        let shown = chosen.into_iter().map(|it| match name {
            Some(name) => it.within(name),
            None => it,
        });
        survey(&shown.collect::<Vec<_>>(), config)
    })?
}

fn is_wanted(interfaces: &Interfaces, name: &str) -> bool {
    match interfaces {
        Interfaces::Named(names) => names.iter().any(|it| it == name),
        Interfaces::Any | Interfaces::Default => true,
    }
}

/// Surveys these interfaces. The thread has to be in their namespace.
fn survey(chosen: &[Interface], config: &CheckConfig) -> Result<Vec<InterfaceSurvey>, LiveError> {
    let mut surveys = Vec::new();
    for interface in chosen {
        match InterfaceSurvey::of(interface, config.ingress.into())? {
            Some(survey) => surveys.push(survey),
            // The interface went away since it was listed.
            None if config.may_leave_out() => {}
            None => {
                let name = interface.name.to_string();
                return Err(InterfaceError::NotFound { name, near: Vec::new() }.into());
            }
        }
    }
    Ok(surveys)
}

/// The interfaces that a trace would attach to, and those that were asked for by name and that it would refuse.
fn choose(which: &Interfaces, all: &[Interface]) -> Result<Vec<Interface>, InterfaceError> {
    match which {
        Interfaces::Any => Ok(all.iter().filter(|it| it.traceable()).cloned().collect()),
        Interfaces::Default => {
            let index = interfaces::default_route()?;
            let found = all.iter().find(|it| it.index == index).ok_or(InterfaceError::NoDefaultRoute)?;
            Ok(vec![found.clone()])
        }
        Interfaces::Named(names) => names
            .iter()
            .map(|name| match all.iter().find(|it| &*it.name == name) {
                Some(found) => Ok(found.clone()),
                // `find` knows the other names that an interface may have, and which name may have been meant.
                None => interfaces::find(all, name).cloned(),
            })
            .collect(),
    }
}
