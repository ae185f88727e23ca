//! Which interfaces a trace is about, and which of them may be missing.

use crate::kernel::{attach::AttachError, namespaces::NetnsError};

/// Which interfaces are traced, in one network namespace or in all.
#[derive(Debug)]
pub(super) enum Scope {
    /// The interfaces of one namespace that were chosen at the beginning. None of them may be missing.
    Chosen,
    /// All interfaces of one namespace, also those that come.
    Any,
    /// The interfaces of all namespaces that have one of these names, also those that come; None stands for any name.
    Everywhere(Option<Vec<String>>),
}

/// What becomes of a trace where an interface cannot be attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The trace cannot begin, or go on.
    Ends,
    /// The trace goes on without the interface, and says so.
    LeavesOut,
    /// The trace goes on without a word, as the interface was about to go.
    Forgets,
}

impl Scope {
    /// Whether an interface of this name is traced when it comes.
    pub(super) fn wants(&self, name: &str) -> bool {
        match self {
            Self::Chosen => false,
            Self::Any | Self::Everywhere(None) => true,
            Self::Everywhere(Some(wanted)) => wanted.iter().any(|it| it == name),
        }
    }

    /// Whether none of the interfaces may be missing.
    pub(super) const fn needs_each(&self) -> bool {
        matches!(self, Self::Chosen)
    }

    /// Whether all namespaces are traced.
    pub(super) const fn is_everywhere(&self) -> bool {
        matches!(self, Self::Everywhere(_))
    }

    /// What becomes of the trace if `error` keeps it from attaching to an interface. `has_attached` says whether it has
    /// attached to any other.
    pub(super) fn refused(&self, error: &AttachError, has_attached: bool) -> Refused {
        match (self, error) {
            (Self::Chosen, _) | (Self::Any, AttachError::Load(_) | AttachError::Netns(_)) => Refused::Ends,
            // A program that cannot be loaded for the first interface cannot be for any other.
            (Self::Everywhere(_), AttachError::Load(_)) if !has_attached => Refused::Ends,
            (_, AttachError::Gone { .. } | AttachError::Netns(NetnsError::Gone { .. })) => Refused::Forgets,
            _ => Refused::LeavesOut,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::load::LoadError;

    #[test]
    fn what_was_chosen_may_not_be_missing_and_the_rest_may() {
        use Refused::{Ends, Forgets, LeavesOut};
        let gone = AttachError::Gone { interface: "eth0".into() };
        let load = AttachError::Load(LoadError::NoBpf);
        let left = AttachError::Netns(NetnsError::Gone { name: "blue".into() });
        let there = AttachError::XdpThere { interface: "eth0".into() };
        let all = [&gone, &load, &left, &there];
        for (scope, has_attached, expected) in [
            (Scope::Chosen, true, [Ends, Ends, Ends, Ends]),
            (Scope::Any, true, [Forgets, Ends, Ends, LeavesOut]),
            (Scope::Everywhere(None), false, [Forgets, Ends, Forgets, LeavesOut]),
            (Scope::Everywhere(None), true, [Forgets, LeavesOut, Forgets, LeavesOut]),
        ] {
            assert_eq!(all.map(|error| scope.refused(error, has_attached)), expected, "{scope:?}");
        }
    }

    #[test]
    fn interfaces_that_come_are_wanted_by_name() {
        let named = Scope::Everywhere(Some(vec!["eth0".to_owned()]));
        for (scope, eth0, lo) in [
            (Scope::Chosen, false, false),
            (Scope::Any, true, true),
            (Scope::Everywhere(None), true, true),
            (named, true, false),
        ] {
            assert_eq!((scope.wants("eth0"), scope.wants("lo")), (eth0, lo), "{scope:?}");
        }
    }
}
