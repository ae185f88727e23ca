#!/usr/bin/env bash
# Makes connections between two network namespaces, the "hosts" web1 and db1, through a third that loses segments one way,
# and traces them on both hosts: two_hosts.sh TCPTRACE FOLDER [FILTER] leaves web1.jsonl and
# db1.jsonl there. It needs root and nft.
set -euo pipefail

tcptrace=$1
folder=$2
filter=${3:-}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$folder"

cleanup() { for host in web1 way db1; do ip netns del "fleet-$host" 2>/dev/null || true; done; }
trap cleanup EXIT
cleanup
for host in web1 way db1; do
  ip netns add "fleet-$host"
  ip -n "fleet-$host" link set lo up
done
link() { # HOST, ITS ADDRESSES, THE WAY'S ADDRESSES
  ip link add eth0 netns "fleet-$1" type veth peer name "$1" netns fleet-way
  ip -n "fleet-$1" addr add "$2/24" dev eth0
  ip -n "fleet-$1" addr add "$4/64" dev eth0 nodad
  ip -n fleet-way addr add "$3/24" dev "$1"
  ip -n fleet-way addr add "$5/64" dev "$1" nodad
  ip -n "fleet-$1" link set eth0 up
  ip -n fleet-way link set "$1" up
  ip -n "fleet-$1" route add default via "$3"
  ip -n "fleet-$1" route add default via "$5"
}
link web1 198.51.100.7 198.51.100.1 2001:db8:1::7 2001:db8:1::1
link db1 203.0.113.80 203.0.113.1 2001:db8:2::80 2001:db8:2::1
ip netns exec fleet-way sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
# One segment in twelve is lost on the way to db1 and none on the way back; ports 9081 and 9082 are closed by the way itself.
ip netns exec fleet-way nft -f - <<'EOF'
table inet way {
  chain forward {
    type filter hook forward priority 0
    tcp dport 9081 reject with icmpx admin-prohibited
    tcp dport 9082 drop
    iifname "web1" tcp dport != { 9081, 9082 } numgen random mod 12 == 0 jump lost
  }
  chain lost {
    tcp flags & (syn | fin | rst) != 0 counter drop comment "SYN, FIN or RST"
    counter drop comment "others"
  }
}
EOF

tracers=()
for host in web1 db1; do
  # The host's name is that of a UTS namespace of its own.
  unshare --uts sh -c \
    "hostname $host; exec '$tcptrace' --netns fleet-$host -i eth0 --json --first-byte --process --syn-timeout 8s --stats-interval 10s $filter" \
    >"$folder/$host.jsonl" 2>"$folder/$host.log" &
  tracers+=($!)
done
for host in web1 db1; do
  until grep -qs '"event":"start"' "$folder/$host.jsonl"; do sleep 0.1; done
done
ip netns exec fleet-db1 python3 "$here/traffic.py" serve &
server=$!
ip netns exec fleet-web1 python3 "$here/traffic.py" connect 203.0.113.80 2001:db8:2::80
sleep 12 # longer than --syn-timeout and the retransmissions of the last FIN
kill "$server"
kill -INT "${tracers[@]}"
wait "${tracers[@]}"
ip netns exec fleet-way nft list chain inet way lost | grep counter
