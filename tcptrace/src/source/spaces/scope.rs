//! How much a trace is of, and what may be missing from it.

use crate::kernel::{attach::AttachError, namespaces::NetnsError};

/// Which interfaces are traced, in one network namespace or in all.
#[derive(Debug)]
pub(super) enum Scope {
    /// Those of one namespace that were chosen at the beginning. None of them may be missing.
    Chosen,
    /// All of one namespace, as they come.
    Any,
    /// Those of all namespaces, as they come, that have one of these names; None is any name.
    Everywhere(Option<Vec<String>>),
}

/// What becomes of a trace where an interface cannot be attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It cannot begin, or go on.
    Ends,
    /// It goes on without the interface, and says so.
    LeavesOut,
    /// The interface was about to go.
    Forgets,
}

impl Scope {
    /// An interface of this name is traced when it comes.
    pub(super) fn wants(&self, name: &str) -> bool {
        match self {
            Self::Chosen => false,
            Self::Any | Self::Everywhere(None) => true,
            Self::Everywhere(Some(wanted)) => wanted.iter().any(|it| it == name),
        }
    }

    /// None of the interfaces may be missing.
    pub(super) const fn needs_each(&self) -> bool {
        matches!(self, Self::Chosen)
    }

    /// Several namespaces may be traced.
    pub(super) const fn is_everywhere(&self) -> bool {
        matches!(self, Self::Everywhere(_))
    }

    /// An interface cannot be attached to for this reason; others were, or not yet.
    pub(super) fn refused(&self, error: &AttachError, has_attached: bool) -> Refused {
        match (self, error) {
            (Self::Chosen, _) | (Self::Any, AttachError::Load(_) | AttachError::Netns(_)) => Refused::Ends,
            // It would fail everywhere.
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
