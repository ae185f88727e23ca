//! Arguments that say which interfaces are meant, in which network namespaces.

use super::{parse, unique};
use crate::kernel::namespaces::Namespaces;

/// Arguments that name interfaces and the namespaces that they are in.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Interfaces")]
pub(super) struct InterfaceArgs {
    /// Interface: its name, or `any` for all.
    ///
    /// It may be given several times. `any` takes up those that come later too. [default: the interface of the default route]
    #[arg(short, long = "interface", value_name = "IFACE", value_parser = parse::interface)]
    interfaces: Vec<String>,

    /// Network namespace: a name, a path or a process.
    ///
    /// The interfaces are those in there. A name is one as of ip netns, a path has a slash in it, and a process is given by its
    /// number.
    #[arg(long, value_name = "NETNS", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    netns: Option<String>,

    /// All network namespaces, also those to come.
    ///
    /// All interfaces in them are meant, or those of the names that -i gives.
    #[arg(long, conflicts_with = "netns", hide_short_help = true)]
    all_netns: bool,
}

impl InterfaceArgs {
    pub(super) fn config(self) -> Result<(Interfaces, Namespaces), clap::Error> {
        let interfaces = match Interfaces::named(self.interfaces)? {
            // Many namespaces have no default route, and where there is one, other interfaces matter as much.
            Interfaces::Default if self.all_netns => Interfaces::Any,
            interfaces => interfaces,
        };
        let namespaces = match self.netns {
            Some(name) => Namespaces::Named(name),
            None if self.all_netns => Namespaces::All,
            None => Namespaces::Own,
        };
        Ok((interfaces, namespaces))
    }
}

/// Which interfaces the user asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interfaces {
    /// The interface of the default route.
    Default,
    /// All interfaces, and those that come later.
    Any,
    /// The interfaces with these names: at least one, and each name once.
    Named(Vec<String>),
}

impl Interfaces {
    fn named(names: Vec<String>) -> Result<Self, clap::Error> {
        let unique = unique(names);
        let any = unique.iter().any(|name| name == "any");
        match unique.len() {
            0 => Ok(Self::Default),
            1 if any => Ok(Self::Any),
            _ if any => Err(clap::Error::raw(
                clap::error::ErrorKind::ArgumentConflict,
                "'-i any' means all interfaces and cannot be combined with others\n",
            )),
            _ => Ok(Self::Named(unique)),
        }
    }

    /// Whether more than one interface can occur, so that the output has to say which.
    #[must_use]
    pub fn are_many(&self) -> bool {
        match self {
            Self::Default => false,
            Self::Any => true,
            Self::Named(names) => names.len() > 1,
        }
    }
}
