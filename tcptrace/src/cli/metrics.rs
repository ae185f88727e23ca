//! Arguments that say where metrics are served, and of how many label sets.

use std::{fmt, path::PathBuf};

/// Arguments about metrics, as typed.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Metrics")]
pub(super) struct MetricsArgs {
    /// Serve metrics for Prometheus at HOST:PORT or unix:PATH.
    ///
    /// They are at http://HOST:PORT/metrics, such as 127.0.0.1:9464, for whoever can connect there: there is no password and no
    /// encryption. A socket at PATH is for its owner alone.
    #[arg(long, value_name = "ADDR", value_parser = MetricsAddress::parse, hide_short_help = true)]
    pub(super) metrics: Option<MetricsAddress>,

    /// With --metrics, series of their own for so many label sets.
    ///
    /// A label set is an interface, a role of this host, a server's port and a systemd unit. The busiest have series of their own,
    /// and the others are `other`.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000), requires = "metrics", hide_short_help = true)]
    metrics_top: u16,
}

impl MetricsArgs {
    pub(super) fn config(self) -> Option<MetricsConfig> {
        let top = self.metrics_top.into();
        self.metrics.map(|address| MetricsConfig { address, top })
    }
}

/// Where metrics are served, and of how many label sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Where clients connect.
    pub address: MetricsAddress,
    /// How many label sets have series of their own.
    pub top: usize,
}

/// Where metrics are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricsAddress {
    /// The host, which is a name or an address, and the port, as they were given.
    Tcp(String),
    /// The path of a socket.
    Unix(PathBuf),
}

impl MetricsAddress {
    /// Parses the value of `--metrics`.
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            // The path and the zero after it are within sockaddr_un (unix(7)).
            return if (1..=107).contains(&path.len()) {
                Ok(Self::Unix(path.into()))
            } else {
                Err("the path of a socket has 1 to 107 octets, as in unix:/run/tcptrace.sock".to_owned())
            };
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                let is_bare = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
                if is_bare {
                    return Err(format!("an IPv6 address is in brackets, as in [::1]:{port}"));
                }
                Ok(Self::Tcp(text.to_owned()))
            }
            _ => Err("a host and a port are needed, such as 127.0.0.1:9464, or unix:PATH".to_owned()),
        }
    }
}

impl fmt::Display for MetricsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
