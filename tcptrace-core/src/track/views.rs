//! Connections that are captured twice with different sequence numbers: before and behind a device that rewrites them,
//! as firewalls do to hide how a stack chooses its own. The numbers of the two *views* have nothing to do with each
//! other, so one view is followed: the one that the server's answer is seen in first. Events name the ISNs of the other
//! view, and nothing else follows from its segments.

use super::{
    conn::{Conn, extra::OtherView, times::Moment},
    side::Opening,
    state,
};
use crate::{
    event::{Role, State},
    segment::Segment,
};
use tcptrace_common::seq::SeqNum;

/// Whether `seg`, sent by `role`, is of the view that is not followed. `resembles` says that it is a SYN like the one
/// before in everything but its number, and comes too soon for another try.
pub(crate) fn is_of_the_other(conn: &mut Conn, role: Role, seg: &Segment, resembles: bool) -> bool {
    if seg.flags.syn() && !seg.flags.ack() {
        return is_the_other_syn(conn, role, seg, resembles);
    }
    let (Some(mut view), Some(own)) = (conn.extra().other_view, conn.side(Role::Client).isn()) else {
        return false;
    };
    let number = match role {
        Role::Client => Some(seg.seq),
        Role::Server => seg.flags.ack().then_some(seg.ack),
    };
    let is_other = match (number, conn.side(Role::Server).isn(), view.server_isn) {
        (Some(number), ..) => is_nearer(number, view.client_isn, own),
        (None, Some(own), Some(other)) => is_nearer(seg.seq, other, own),
        (None, ..) => false,
    };
    if role == Role::Server && number.is_some() && !view.is_decided {
        view.is_decided = true;
        conn.extra_mut().other_view = Some(view);
        if is_other {
            follow(conn, view);
        }
        return false;
    }
    if is_other && seg.flags.syn() {
        view.server_isn = Some(seg.seq);
        conn.extra_mut().other_view = Some(view);
    }
    is_other
}

fn is_nearer(number: SeqNum, other: SeqNum, own: SeqNum) -> bool {
    number.distance_from(other).unsigned_abs() < number.distance_from(own).unsigned_abs()
}

fn is_the_other_syn(conn: &mut Conn, role: Role, seg: &Segment, resembles: bool) -> bool {
    if role == Role::Server {
        return false;
    }
    if let Some(mut view) = conn.extra().other_view {
        view.last = view.last.max(seg.ts);
        let is_its = view.client_isn == seg.seq;
        if is_its {
            conn.extra_mut().other_view = Some(view);
        }
        return is_its;
    }
    let first = resembles
        && conn.side(Role::Client).state == State::SynSent
        && conn.synacks == 0
        && !conn.flags.partial
        && conn.side(Role::Client).isn().is_some_and(|isn| isn != seg.seq);
    if first {
        let (client_isn, ts) = (seg.seq, seg.ts);
        let view = OtherView { client_isn, server_isn: None, first: ts, last: ts, is_decided: false };
        conn.extra_mut().other_view = Some(view);
    }
    first
}

/// Makes `view` the view that is followed, as the server answered its SYN, and the followed one the other.
fn follow(conn: &mut Conn, view: OtherView) {
    let client = *conn.side(Role::Client);
    let Some((isn, end)) = client.isn().zip(client.syn_end()) else { return };
    let syn_end = Some(view.client_isn.plus(end.0.wrapping_sub(isn.0)));
    // The TTL that is known is that of the first view's SYN.
    let (options, ecn) = (client.options(), client.ecn_bits());
    let syn = Opening { isn: view.client_isn, syn_end, options, ttl: None, ecn };
    conn.side_mut(Role::Client).open(&syn);
    let (first, last) = (conn.start, conn.latest_syn().unwrap_or(conn.start));
    conn.extra_mut().other_view = Some(OtherView { client_isn: isn, first, last, ..view });
    conn.move_start(view.first);
    conn.set_at(Moment::LastSyn, view.last);
    for role in [Role::Client, Role::Server] {
        if !state::is_synchronized(conn.side(role).state) {
            conn.set_entered(role, view.first);
        }
    }
}
