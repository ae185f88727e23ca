//! Looking ahead in a batch changes no event.

use super::script;
use proptest::{collection::vec, prelude::*};
use tcptrace_common::{seq::SeqNum, tcp::TcpFlags};
use tcptrace_core::{
    event::Event,
    segment::{Flow, Input, Segment, Timestamp},
    track::{Ahead, Tracker},
};

/// What a segment is like, so that many fit: whether the client sent it, which flags it has, its numbers from the ISNs on, which of
/// a few connections it is of, and how much later than the one before it comes.
type Like = (bool, usize, u32, u32, u16, u64);

const FLAGS: [u16; 6] = [0x02, 0x12, 0x10, 0x11, 0x04, 0x14];

fn input(now: &mut Timestamp, (client, flags, seq, ack, connection, later): Like, tagged: bool) -> Input {
    *now = now.plus(later);
    let (own, other) = if client { (1000, 5000) } else { (5000, 1000) };
    let mut flow = script::flow(client);
    if client {
        flow.src_port += connection;
    } else {
        flow.dst_port += connection;
        // The two directions of a connection have different tags, and are found to be its halves.
        flow.vlan = if tagged { [7, Flow::NO_VLAN] } else { flow.vlan };
    }
    Input::Segment(Segment {
        ts: *now,
        flow,
        flags: TcpFlags(FLAGS[flags]),
        seq: SeqNum(own + seq),
        ack: SeqNum(other + ack),
        ..script::segment("0 C . 0 0")
    })
}

proptest! {
    #[test]
    fn looking_ahead_changes_nothing(
        likes in vec((any::<bool>(), 0..FLAGS.len(), 0..3_u32, 0..3_u32, 0..4_u16, 0..50_000_000_u64), 0..80),
        tagged: bool,
    ) {
        let mut now = Timestamp(1_000_000_000);
        let inputs: Vec<Input> = likes.into_iter().map(|like| input(&mut now, like, tagged)).collect();
        let mut trackers = [(); 2].map(|()| Tracker::new(script::config()));
        let mut told: [Vec<Event>; 2] = Default::default();
        for one in &inputs {
            trackers[0].input(one, &mut |event| told[0].push(event));
        }
        for some in inputs.chunks(Ahead::MOST) {
            for next in trackers[1].look_ahead(some).iter() {
                trackers[1].take(&next, &mut |event| told[1].push(event));
            }
        }
        for (tracker, told) in trackers.iter_mut().zip(&mut told) {
            tracker.finish(now, &mut |event| told.push(event));
        }
        let [one_by_one, ahead] = told;
        prop_assert_eq!(one_by_one, ahead);
    }
}
