//! Answers what Wireshark asks before a capture, in the sentences of its interface for programs that capture
//! (<https://www.wireshark.org/docs/wsdg_html_chunked/ChCaptureExtcap.html>).

use super::{RunError, filter};
use crate::{
    cli::{EXTCAP_PREFIX, ExtcapQuestion},
    kernel::interfaces::{self, Interface, LinkType},
    sink::units::plain,
    source::live::LiveError,
};
use std::fmt::Write as _;

/// The link types of captures (`LINKTYPE_ETHERNET` and `LINKTYPE_RAW`, <https://www.tcpdump.org/linktypes.html>).
const ETHERNET: &str = "dlt {number=1}{name=EN10MB}{display=Ethernet}\n";
const RAW: &str = "dlt {number=101}{name=RAW}{display=Raw IP}\n";
/// The options of a capture, which are arguments of `tcptrace extcap` too.
const OPTIONS: &str = "arg {number=0}{call=--decap}{display=Look into tunnels}\
    {tooltip=Connections in VXLAN, Geneve, GRE and IP in IP are captured too}{type=boolflag}{default=false}\n";

/// The answer.
pub fn extcap(question: &ExtcapQuestion) -> Result<String, RunError> {
    Ok(match question {
        ExtcapQuestion::Interfaces => sentences(&all()?),
        ExtcapQuestion::Link(name) => link(&all()?, name).to_owned(),
        ExtcapQuestion::Options => OPTIONS.to_owned(),
        // What is wrong is the answer, and nothing if nothing is.
        ExtcapQuestion::Filter(text) => match filter::compile(text) {
            Ok(_) => String::new(),
            Err(error) => format!("{error}\n"),
        },
    })
}

fn all() -> Result<Vec<Interface>, RunError> {
    Ok(interfaces::list().map_err(LiveError::from)?)
}

/// What the program is, and a sentence for each interface that can be traced.
fn sentences(all: &[Interface]) -> String {
    let mut out = format!(
        "extcap {{version={}}}{{display=TCP lifecycles}}\n\
         interface {{value={EXTCAP_PREFIX}any}}{{display=TCP lifecycles of all interfaces}}\n",
        env!("CARGO_PKG_VERSION")
    );
    for interface in all.iter().filter(|it| it.up && it.is_of_a_traced_kind()) {
        // A name may have any octets but white space and a slash, and a brace would end the value.
        let name = plain(&interface.name);
        if !name.contains(['{', '}']) {
            // A String takes everything.
            _ = writeln!(
                out,
                "interface {{value={EXTCAP_PREFIX}{name}}}{{display=TCP lifecycles of {name}}}"
            );
        }
    }
    out
}

/// What packets of an interface begin with. Those of all interfaces say it themselves, each for itself.
fn link(all: &[Interface], name: &str) -> &'static str {
    let found = all.iter().find(|it| it.is_called(name));
    if found.is_some_and(|it| it.link == LinkType::Layer3) { RAW } else { ETHERNET }
}
