//! The textbook connection as a capture file of its own making, and what the command prints of it.

use std::{
    env, fs,
    process::{self, Command},
};

/// 2020-06-10T06:59:50.264655Z, when the SYN passed.
const START_US: u64 = 1_591_772_390_264_655;
const CLIENT: ([u8; 4], u16, u32) = ([192, 168, 64, 128], 60592, 4_130_871_516);
const SERVER: ([u8; 4], u16, u32) = ([180, 101, 49, 11], 80, 528_643_112);
const FIN: u8 = 1;
const SYN: u8 = 2;
const PSH: u8 = 8;
const ACK: u8 = 16;

/// One packet of the exchange; sequence numbers are relative.
struct Packet {
    us: u64,
    from_client: bool,
    flags: u8,
    seq: u32,
    ack: u32,
    window: u16,
    options: &'static [u8],
    payload: u16,
}

/// MSS 1460, SACK permitted, timestamps, window scale 6.
const SYN_OPTIONS: &[u8] = &[2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 6];
/// MSS 1460.
const SYNACK_OPTIONS: &[u8] = &[2, 4, 5, 0xb4];

const fn packet(us: u64, from_client: bool, flags: u8, seq: u32, ack: u32, payload: u16) -> Packet {
    Packet { us, from_client, flags, seq, ack, window: 64240, options: &[], payload }
}

fn exchange() -> Vec<Packet> {
    vec![
        Packet { window: 14600, options: SYN_OPTIONS, ..packet(0, true, SYN, 0, 0, 0) },
        Packet { options: SYNACK_OPTIONS, ..packet(28_789, false, SYN | ACK, 0, 1, 0) },
        packet(28_820, true, ACK, 1, 1, 0),
        packet(28_900, true, PSH | ACK, 1, 1, 172),
        packet(29_100, false, ACK, 1, 173, 0),
        packet(46_900, false, ACK, 1, 173, 1412),
        packet(47_000, false, PSH | ACK, 1413, 173, 1369),
        packet(47_100, true, ACK, 173, 2782, 0),
        packet(47_243, true, FIN | ACK, 173, 2782, 0),
        packet(47_445, false, ACK, 2782, 174, 0),
        packet(66_319, false, FIN | PSH | ACK, 2782, 174, 0),
        packet(66_336, true, ACK, 174, 2783, 0),
    ]
}

fn frame(packet: &Packet) -> Vec<u8> {
    let (src, dst) = if packet.from_client { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
    let header = u16::try_from(20 + packet.options.len()).expect("a header");
    let mut frame = vec![0; 12];
    frame.extend([8, 0, 0x45, 0]);
    frame.extend((20 + header + packet.payload).to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
    frame.extend(src.0);
    frame.extend(dst.0);
    frame.extend(src.1.to_be_bytes());
    frame.extend(dst.1.to_be_bytes());
    frame.extend(src.2.wrapping_add(packet.seq).to_be_bytes());
    let ack = if packet.flags & ACK == 0 { 0 } else { dst.2.wrapping_add(packet.ack) };
    frame.extend(ack.to_be_bytes());
    frame.extend([u8::try_from(header / 4).expect("a nibble") << 4, packet.flags]);
    frame.extend(packet.window.to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(packet.options);
    frame.resize(frame.len() + usize::from(packet.payload), b'x');
    frame
}

/// A classic pcap with microseconds.
pub(crate) fn capture() -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 1] {
        file.extend(word.to_le_bytes());
    }
    for packet in exchange() {
        let (frame, us) = (frame(&packet), START_US + packet.us);
        let len = u64::try_from(frame.len()).expect("short");
        for word in [us / 1_000_000, us % 1_000_000, len, len] {
            file.extend(u32::try_from(word).expect("32 bits").to_le_bytes());
        }
        file.extend(frame);
    }
    file
}

fn read(args: &[&str]) -> String {
    let file = env::temp_dir().join(format!("tcptrace-textbook-{}-{}.pcap", process::id(), args.len()));
    fs::write(&file, capture()).expect("a folder for temporary files");
    let output = Command::new(env!("CARGO_BIN_EXE_tcptrace"))
        .arg("-r")
        .arg(&file)
        .args(args)
        .env("TZ", "UTC")
        .output()
        .expect("it starts");
    fs::remove_file(&file).expect("it is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn a_file_of_it_gives_the_published_numbers_as_json() {
    let json = read(&["--json", "--events", "established,connection", "-q"]);
    insta::assert_snapshot!(json, @r##"
    {"event":"established","schema":2,"ts":"2020-06-10T06:59:50.293475000Z","id":1,"interface":"#0","ip_version":4,"client":{"ip":"192.168.64.128","port":60592},"server":{"ip":"180.101.49.11","port":80},"community_id":"1:rX7PVeVfKhpa3/0NXsVz6EasO9c=","vantage":"middle","complete":true,"syn_to_established_ns":28820000,"syn_to_synack_ns":28789000,"synack_to_ack_ns":31000,"syn_retry_ns":0,"network_rtt_ns":null,"local_stack_ns":null,"syn_retransmits":0,"synack_retransmits":0,"client_isn":4130871516,"server_isn":528643112,"client_options":{"mss":1460,"window_scale":6,"sack_permitted":true,"timestamps":true,"fast_open":false,"mptcp":false},"server_options":{"mss":1460,"window_scale":null,"sack_permitted":false,"timestamps":false,"fast_open":false,"mptcp":false},"ecn":{"offered":"none","negotiated":"none","unanswered_syns":0},"client_process":null,"server_process":null,"client_cgroup":null,"server_cgroup":null}
    {"event":"connection","schema":2,"ts":"2020-06-10T06:59:50.330991000Z","id":1,"interface":"#0","ip_version":4,"client":{"ip":"192.168.64.128","port":60592},"server":{"ip":"180.101.49.11","port":80},"community_id":"1:rX7PVeVfKhpa3/0NXsVz6EasO9c=","vantage":"middle","complete":true,"partial":false,"direction_inferred":false,"outcome":"closed","failed":false,"closed_by":"client","reset_by":null,"reset_phase":null,"no_such_connection":false,"half_closed":false,"simultaneous_open":false,"start":"2020-06-10T06:59:50.264655000Z","syn_to_established_ns":28820000,"syn_to_synack_ns":28789000,"synack_to_ack_ns":31000,"syn_retry_ns":0,"network_rtt_ns":null,"local_stack_ns":null,"client_first_data_ns":null,"server_first_data_ns":null,"first_response_ns":null,"first_response_server_ns":null,"server_spoke_first":null,"server_name":null,"alpn":null,"http_host":null,"first_fin_to_ack_ns":202000,"close_wait_ns":18874000,"second_fin_to_ack_ns":17000,"teardown_ns":19093000,"lifetime_ns":66336000,"client_bytes":172,"server_bytes":2781,"bytes_mod_4gib":false,"syn_retransmits":0,"synack_retransmits":0,"syn_intervals_ns":[],"syn_backoff":null,"synacks_after_ack":0,"synack_again":null,"accept_queue":null,"challenge_ack":false,"wrong_answers":null,"earlier_closed_ns":null,"ecn":{"offered":"none","negotiated":"none","unanswered_syns":0},"client_ttl":64,"server_ttl":64,"reset_ttl":null,"reset_seq":null,"probe":false,"copies":0,"other_view":null,"client_fins":1,"server_fins":1,"client_rsts":0,"server_rsts":0,"client_isn":4130871516,"server_isn":528643112,"client_state":"TIME_WAIT","server_state":"CLOSED","client_state_ns":{"SYN_SENT":28820000,"SYN_RECEIVED":null,"ESTABLISHED":18423000,"FIN_WAIT_1":202000,"FIN_WAIT_2":18891000,"CLOSE_WAIT":null,"CLOSING":null,"LAST_ACK":null,"TIME_WAIT":null},"server_state_ns":{"SYN_SENT":null,"SYN_RECEIVED":31000,"ESTABLISHED":18625000,"FIN_WAIT_1":null,"FIN_WAIT_2":null,"CLOSE_WAIT":18874000,"CLOSING":null,"LAST_ACK":17000,"TIME_WAIT":null},"client_process":null,"server_process":null,"client_cgroup":null,"server_cgroup":null,"client_closed_by_process":null,"server_closed_by_process":null,"client_socket":null,"server_socket":null,"icmp_error":null,"zeek_conn_state":"SF"}
    "##);
}

#[test]
fn a_file_of_it_gives_the_published_numbers_as_text() {
    insta::assert_snapshot!(read(&["-q"]), @"
    06:59:50.293475  ESTABLISHED  192.168.64.128:60592 > 180.101.49.11:80   28.820 ms  = syn 28.789 + ack 0.031
    06:59:50.330991  CLOSED       192.168.64.128:60592 > 180.101.49.11:80   66.336 ms  by client, 172 B sent, 2781 B received, close_wait 18.874 ms
    ");
}
