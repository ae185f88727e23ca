//! The body of the fuzz target of filters, which people write, or scripts put together from words of others.

use std::net::IpAddr;
use tcptrace_common::{
    abi::{BIT_EGRESS, BIT_IPV6, Record},
    filter::{MAX_STEPS, NUMBERS, numbers},
};
use tcptrace_core::{
    filter::{Filter, Names},
    segment::{Direction, Flow, mapped},
};

/// A system that knows one host and one service.
struct FewNames;

impl Names for FewNames {
    fn host(&self, name: &str) -> Vec<IpAddr> {
        if name == "two" {
            vec![IpAddr::from([192, 0, 2, 2]), IpAddr::from([0x2001, 0, 0, 0, 0, 0, 0, 2])]
        } else {
            Vec::new()
        }
    }

    fn port(&self, name: &str) -> Option<u16> {
        (name == "http").then_some(80)
    }
}

/// Compiles the text as a filter. An error must say what failed. A filter must give the same verdict over a capture
/// and, if it is not too long, in the kernel programs. These must let through at least what the tracker takes, and both
/// directions alike unless the tracker applies the filter again.
pub fn filter(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let filter = match Filter::compile(&text, &FewNames) {
        Err(error) => {
            assert!(error.to_string().starts_with("cannot use the filter: "));
            return;
        }
        Ok(filter) => filter,
    };
    let steps = filter.steps();
    let program = filter.program();
    assert_eq!(program.is_ok(), steps.list.len() <= MAX_STEPS, "{text:?}");
    for (flow, egress) in flows(bytes) {
        let (record, mut scratch) = (record(&flow, egress), [0; NUMBERS]);
        let admitted = steps.admits(&record, &mut scratch);
        if let Ok(program) = &program {
            assert_eq!(
                program.admits(&record, &mut scratch),
                admitted,
                "{text:?} is not the same to the kernel"
            );
        }
        let taken = filter.takes(&flow, if egress { Direction::Egress } else { Direction::Ingress });
        assert!(admitted || !taken, "{text:?} takes and does not admit {flow:?}");
        if !filter.tells_ends_apart() {
            numbers(&record, true, &mut scratch);
            assert_eq!(steps.takes(&scratch), admitted, "{text:?} tells the ends of {flow:?} apart");
        }
    }
}

/// Some flows, among them such that the filter may be about.
fn flows(bytes: &[u8]) -> impl Iterator<Item = (Flow, bool)> {
    let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
    let v4 = |last: u8| IpAddr::from([192, 0, 2, last]);
    let v6 = |last: u8| IpAddr::from([0x2001, 0, 0, 0, 0, 0, 0, u16::from(last)]);
    [(v4(2), v4(byte(0))), (v4(byte(1)), v4(2)), (v6(2), v6(byte(2))), (v6(byte(3)), v6(2))]
        .into_iter()
        .zip([[80, 443], [u16::from(byte(4)), 80], [22, 22], [40000, u16::from(byte(5))]])
        .flat_map(|((src, dst), [src_port, dst_port])| {
            [false, true].map(|out| (flow(src, dst, src_port, dst_port), out))
        })
}

fn flow(src: IpAddr, dst: IpAddr, src_port: u16, dst_port: u16) -> Flow {
    let vlan = [if src_port.is_multiple_of(2) { Flow::NO_VLAN } else { 5 }, Flow::NO_VLAN];
    let (ipv6, src, dst) = (src.is_ipv6(), mapped(src), mapped(dst));
    Flow { src, dst, src_port, dst_port, interface: 1, vlan, ipv6, tunnel: 0 }
}

fn record(flow: &Flow, egress: bool) -> Record {
    let Flow { src, dst, src_port, dst_port, vlan, .. } = *flow;
    let bits = if flow.ipv6 { BIT_IPV6 } else { 0 } | if egress { BIT_EGRESS } else { 0 };
    Record { src, dst, src_port, dst_port, vlan, bits, ..Record::EMPTY }
}
