//! The events of connections as JSON, with the text of every name prepared. What is written is what the types' derives
//! say, from which the schema comes too; that both are the same is tested with random events. Each event is taken apart
//! field by field, so that a new one cannot be forgotten here.

use super::{
    ids::Ids,
    put::{Put as _, fields},
};
use crate::event::{
    Anomaly, Common, CommunityId, Connection, Established, HandshakeTimes, SCHEMA_VERSION, SegmentEvent,
    Transition,
};

/// Begins a line of the kind `$kind`.
macro_rules! begin {
    ($out:ident, $kind:literal, $common:ident, $ids:ident) => {
        $out.extend_from_slice(concat!("{\"event\":\"", $kind, "\",\"schema\":").as_bytes());
        SCHEMA_VERSION.put($out);
        put_common($common, &$ids.of($common, $kind != "connection"), $out);
    };
}

#[inline]
fn put_common(common: &Common, community_id: &CommunityId, out: &mut Vec<u8>) {
    let Common {
        ts,
        id,
        interface,
        ip_version,
        client,
        server,
        vlan,
        server_vlan,
        tunnel,
        vantage,
        complete,
        origin: _,
    } = common;
    let interface: &str = interface;
    fields!(out: ts, id, interface, ip_version, client, server, community_id);
    if !vlan.is_empty() {
        fields!(out: vlan);
    }
    if server_vlan.is_some() {
        fields!(out: server_vlan);
    }
    if !tunnel.is_empty() {
        fields!(out: tunnel);
    }
    fields!(out: vantage, complete);
}

#[inline]
fn put_times(times: &HandshakeTimes, out: &mut Vec<u8>) {
    let HandshakeTimes {
        syn_to_established_ns,
        syn_to_synack_ns,
        synack_to_ack_ns,
        syn_retry_ns,
        network_rtt_ns,
        local_stack_ns,
    } = times;
    fields!(out: syn_to_established_ns, syn_to_synack_ns, synack_to_ack_ns, syn_retry_ns, network_rtt_ns, local_stack_ns);
}

pub(super) fn established(event: &Established, ids: &mut Ids, out: &mut Vec<u8>) {
    let Established {
        common,
        path,
        times,
        syn_retransmits,
        synack_retransmits,
        client_isn,
        server_isn,
        client_options,
        server_options,
        ecn,
    } = event;
    begin!(out, "established", common, ids);
    if !path.is_empty() {
        fields!(out: path);
    }
    put_times(times, out);
    fields!(out: syn_retransmits, synack_retransmits, client_isn, server_isn, client_options, server_options, ecn);
    out.push(b'}');
}

#[rustfmt::skip]
pub(super) fn connection(event: &Connection, ids: &mut Ids, out: &mut Vec<u8>) {
    let Connection {
        common, path, partial, direction_inferred, outcome, failed, closed_by, reset_by, reset_phase, no_such_connection,
        half_closed, simultaneous_open, start, times, first_fin_to_ack_ns, close_wait_ns, second_fin_to_ack_ns,
        teardown_ns, lifetime_ns, client_bytes, server_bytes, bytes_mod_4gib, syn_retransmits, synack_retransmits, syn_intervals_ns,
        syn_backoff, synacks_after_ack, synack_again, challenge_ack, wrong_answers, earlier_closed_ns, answered_elsewhere, ecn, client_ttl,
        server_ttl, reset_ttl, reset_seq, probe, copies, other_view, client_fins, server_fins, client_rsts, server_rsts,
        resets_ignored, reset_by_another, self_connection, client_isn, server_isn, client_state, server_state,
        client_state_ns, server_state_ns, client_states_untimed, server_states_untimed, icmp_error, zeek_conn_state,
    } = event;
    begin!(out, "connection", common, ids);
    if !path.is_empty() {
        fields!(out: path);
    }
    fields!(out: partial, direction_inferred, outcome, failed, closed_by, reset_by, reset_phase);
    fields!(out: no_such_connection, half_closed, simultaneous_open, start);
    put_times(times, out);
    fields!(out: first_fin_to_ack_ns, close_wait_ns, second_fin_to_ack_ns, teardown_ns, lifetime_ns);
    fields!(out: client_bytes, server_bytes, bytes_mod_4gib, syn_retransmits, synack_retransmits, syn_intervals_ns);
    fields!(out: syn_backoff, synacks_after_ack, synack_again, challenge_ack, wrong_answers, earlier_closed_ns);
    if answered_elsewhere.is_some() {
        fields!(out: answered_elsewhere);
    }
    fields!(out: ecn, client_ttl, server_ttl, reset_ttl, reset_seq, probe, copies, other_view);
    fields!(out: client_fins, server_fins, client_rsts, server_rsts);
    if !resets_ignored.is_empty() {
        fields!(out: resets_ignored);
    }
    if reset_by_another.is_some() {
        fields!(out: reset_by_another);
    }
    if *self_connection {
        fields!(out: self_connection);
    }
    fields!(out: client_isn, server_isn, client_state, server_state, client_state_ns, server_state_ns);
    if !client_states_untimed.is_empty() {
        fields!(out: client_states_untimed);
    }
    if !server_states_untimed.is_empty() {
        fields!(out: server_states_untimed);
    }
    fields!(out: icmp_error, zeek_conn_state);
    out.push(b'}');
}

pub(super) fn transition(event: &Transition, ids: &mut Ids, out: &mut Vec<u8>) {
    let Transition { common, endpoint, from, to, inferred, since_previous_ns } = event;
    begin!(out, "transition", common, ids);
    fields!(out: endpoint, from, to, inferred, since_previous_ns);
    out.push(b'}');
}

pub(super) fn segment(event: &SegmentEvent, ids: &mut Ids, out: &mut Vec<u8>) {
    let SegmentEvent {
        common,
        sender,
        direction,
        flags,
        seq,
        ack,
        relative_seq,
        relative_ack,
        window,
        payload_bytes,
        ttl,
        copy,
        options,
    } = event;
    begin!(out, "segment", common, ids);
    fields!(out: sender, direction, flags, seq, ack, relative_seq, relative_ack, window, payload_bytes, ttl, copy, options);
    out.push(b'}');
}

pub(super) fn anomaly(event: &Anomaly, ids: &mut Ids, out: &mut Vec<u8>) {
    let Anomaly { common, reason, sender, flags, seq, ack, expected, payload_bytes } = event;
    begin!(out, "anomaly", common, ids);
    fields!(out: reason, sender, flags, seq, ack, expected, payload_bytes);
    out.push(b'}');
}
