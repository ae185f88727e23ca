//! What the help says besides the options. `-h` is for a glance and fits two screens, `--help` has everything.
//!
//! The man pages are made of the long texts, by their form. A heading has a blank line before it and ends in a colon. A
//! line that is indented by two is a term, and lines indented by ten continue it. Lines indented by six explain it. The
//! lines are wrapped at 80 columns by hand, because clap does not indent what it wraps.

/// What tcptrace is, in a line.
pub(super) const ABOUT: &str =
    "Trace TCP connections: how each opens, fails or closes, and how long it takes";

/// What tcptrace is, in more lines.
pub(super) const LONG_ABOUT: &str = "\
Trace TCP connections on network interfaces, or those of capture files: how each one opens, fails or closes, and how long every \
step takes.

A line is printed when a connection is established, and one when it is over or its handshake has failed. Without a subcommand and \
without options, tcptrace traces on the interface of the default route until Ctrl-C. A trace needs root, or the capabilities \
CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON; reading a capture file needs neither.";

/// Below the options of `tcptrace -h`.
pub(super) const TRACE_SHORT: &str = "\
Examples:
  sudo tcptrace -i eth0                          each connection, as text
  sudo tcptrace -i any --once --json             on all interfaces, as JSON
  tcptrace -r trace.pcapng --failed 'port 443'   what failed in a capture file

All options, what lines say, and more: --help, or man tcptrace if installed.";

/// Below the options of `tcptrace --help`.
pub(super) const TRACE_LONG: &str = "\
Examples:
  sudo tcptrace -i eth0
      Connections of eth0 as they open, fail and close.
  sudo tcptrace -i any --netns blue
      On every interface of the network namespace blue, also those to come.
  sudo tcptrace -i any --once
      Each connection once, however many interfaces it passes, with their path.
  sudo tcptrace --all-netns
      On every interface of every network namespace: of all containers, say.
  sudo tcptrace -i any -v
      On every interface, with each change of state of both ends.
  sudo tcptrace -i eth0 'port 443 and not net 10.0.0.0/8'
      Those alone, chosen in the kernel.
  sudo tcptrace -i eth0 -c 10
      The next ten, then the summary.
  tcptrace -r trace.pcapng
      The same of a capture file.
  tcptrace $(printf -- '-r %s ' trace.pcap*)
      Of files that a capture was rotated through, as one trace.
  sudo tcptrace -i eth0 --decap=vxlan
      Also the connections inside of VXLAN.
  sudo tcptrace -i eth0 -w life.pcapng
      Keep the segments of openings and closings, for Wireshark.
  sudo tcptrace -i eth0 --json | jq 'select(.outcome == \"refused\")'
      Those that were refused, as JSON.
  sudo tcptrace -i eth0 -q --output events.jsonl --rotate-every 1h --keep 168
      Leave it running, with a file for each hour of a week.
  sudo tcptrace check -i eth0
      What is there, what a trace would attach, what stands in its way.

What the lines say:
  ESTABLISHED  28.820 ms  = syn 28.789 + ack 0.031
      The handshake took 28.820 ms: 28.789 from the (last) SYN to the SYN-ACK,
      which on the client's host is the network and the server, and 0.031 from
      there to the ACK, which is this host. On the server's host it is the
      other way round. Time lost in retries is named apart.
  CLOSED  66.336 ms  by client, 172 B sent, 2781 B received,
          close_wait 18.874 ms
      From the first SYN to the last ACK; who sent the first FIN; octets by
      sequence numbers, as the client sees it; and how long the other end's
      application kept its side open after that FIN.
  (incomplete)
      Records of this connection may have been lost.

Streams:
  stdout
      Events alone, and none with -q where --output has them. Times of day are
      local (TZ), those in JSON are UTC.
  stderr
      Notices, the summary and errors.

Signals:
  SIGINT (Ctrl-C), SIGTERM, SIGALRM, SIGUSR2, SIGHUP
      The trace ends with its summary. A SIGHUP that is ignored when it begins,
      as under nohup(1), stays ignored. With --output, or with -w and rotation,
      SIGHUP has the files opened again instead, as logrotate needs it, unless
      the terminal has gone away.
  SIGUSR1
      The summary so far is printed on stderr, and the trace goes on.

Environment:
  NO_COLOR
      Text has no colour if this is set and not empty, unless --color=always.
  TZ
      The time zone of the times in text.

Exit status:
  0
      The trace is done.
  1
      It failed; one line on stderr says why.
  2
      Wrong usage, such as a filter that makes no sense.";

/// Below the options of `tcptrace check --help`.
pub(super) const CHECK_LONG: &str = "\
Examples:
  sudo tcptrace check -i eth0
      What is on eth0, what a trace would attach where, what stands in its way.
  sudo tcptrace check --ingress xdp --json
      The same of XDP on the interface of the default route, for a program.

Exit status:
  0
      A trace can begin.
  1
      It would fail (the lines with `problem` say why), or this could not be
      found out (one line on stderr says why).
  2
      Wrong usage.";

/// Below the options of `tcptrace top`.
pub(super) const TOP: &str = "\
Examples:
  sudo tcptrace top -i eth0
      The services that connections of eth0 are with.
  sudo tcptrace top -i any --once --process
      Those of all interfaces, each connection once, with processes and units.
  sudo tcptrace top -i eth0 --server-name 'port 443'
      Of these alone, with the names that clients ask for and first answers.
  tcptrace top -r trace.pcapng
      A capture, by its own clock.
  tcptrace top -r events.jsonl
      What a trace has written with --json --events all.

Keys:
  arrows, Enter, Esc
      Choose a row, look into it, and go back: from a service to its
      connections, with the states of both ends, and to the ladder of one.
  s, r, g, /
      Sort by the next column, the other way round; group by what comes next;
      only rows with a text.
  p, ?, q
      Hold what is shown; all keys and columns; quit.";

/// Below the options of `tcptrace show`.
pub(super) const SHOW: &str = "\
Examples:
  tcptrace show trace.pcapng 3
      The third connection, as lines of a trace with --json number it.
  tcptrace show trace.pcapng 'host 192.0.2.7 and port 443'
      All connections of that client or server at that port.
  tcptrace show trace.pcapng 3 --svg > ladder.svg
      The same as a picture.
  sudo tcptrace -i eth0 --json --events all > events.jsonl
  tcptrace show events.jsonl
      Of a live trace.";

/// Below the options of `tcptrace merge`.
pub(super) const MERGE: &str = "\
Examples:
  tcptrace merge client.pcapng server.pcapng
      What was lost between the two, and who reset what.
  tcptrace merge office=a.jsonl vpn=b.jsonl dc=c.jsonl --filter 'port 443'
      Of three traces, each by --json --events all and with its own clock.
  tcptrace merge a.pcapng b.pcapng --json | jq -c '.torn_down_between // empty'
      Between which vantages connections were torn down.";

/// Below the options of `tcptrace report`.
pub(super) const REPORT: &str = "\
Examples:
  tcptrace report trace.pcapng -o report.html
      What happened in a capture, to be opened in a browser.
  tcptrace report trace.pcap* --filter 'port 443' -o report.html
      Of connections to that port, in files that a capture was rotated through.
  sudo tcptrace -i eth0 --json --events all > events.jsonl
  tcptrace report events.jsonl -o report.html
      Of a live trace.";

/// Below the options of `tcptrace extcap`.
pub(super) const EXTCAP: &str = "\
Examples:
  sudo tshark -i tcptrace-eth0
      With the script in place, show the segments that open, fail or end a
      connection on eth0. `tshark -G folders` names the folder for the script.
  tcptrace extcap --extcap-interfaces
      What Wireshark asks first.";

/// Below the options of `tcptrace config`.
pub(super) const CONFIG: &str = "\
Examples:
  tcptrace config > tcptrace.toml
      Begin a file of settings, in which every line is a comment.
  tcptrace config -i eth0 --json
      What these options are in a file.
  tcptrace config --config /etc/tcptrace.toml
      What is in force with that file and this environment, and whence.

Exit status:
  0
      The settings make sense.
  2
      They do not; one line on stderr says which, where it is and why.";

/// Below the options of `tcptrace check -h`.
pub(super) const CHECK_SHORT: &str = "\
Exit status: 0 a trace can begin, 1 it would fail (the lines with `problem` say
why), or this could not be found out (one line on stderr says why), 2 wrong
usage.";
