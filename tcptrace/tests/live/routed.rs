//! With a router between client and server.

use crate::{
    lab::{Family, Routed},
    trace::{Trace, flow_of, of_kind},
    traffic::{Kind, drive},
};

#[test]
fn a_connection_through_a_router_is_seen_by_it_and_by_both_ends() {
    let lab = Routed::new();
    let hosts = [(&lab.client, "client"), (&lab.router, "middle"), (&lab.server, "server")];
    let traces = hosts.map(|(host, vantage)| (Trace::all_events(host, &[]), vantage));
    let flows = Family::BOTH.map(|family| drive(Kind::ClientCloses, &lab.client, &lab.server, family));
    for (trace, vantage) in traces {
        trace.wait_for_connections(flows.len());
        let events = trace.stop().events();
        for flow in flows {
            let mine: Vec<_> =
                of_kind(&events, "connection").filter(|event| flow_of(event) == flow).collect();
            assert_eq!(mine.len(), 1, "{flow}: {mine:#?}");
            assert_eq!(mine[0]["outcome"], "closed", "{flow}: {:#}", mine[0]);
            assert_eq!(mine[0]["vantage"], vantage, "{flow}: {:#}", mine[0]);
        }
    }
}
