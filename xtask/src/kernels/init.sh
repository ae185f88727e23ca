#!/bin/busybox sh
# The first and only process of a kernel under test: runs the suites, each with one verdict, and turns the machine off.

mount -t devtmpfs dev /dev
# The serial line that the kernel's command line names.
exec </dev/null >"/dev/$results" 2>&1
stty -F "/dev/$results" raw -echo

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tracefs trace /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup /sys/fs/cgroup
# Not where the checkout is under it, which would be hidden.
if [ -z "$(ls -A /tmp)" ]; then
    mount -t tmpfs -o mode=1777 tmp /tmp
else
    chmod 1777 /tmp
fi
mount -t tmpfs run /run
ip link set lo up
# Modules come when they are asked for; but one that is asked for twice at once is missed the second time, and tun is asked
# for by opening its file.
modprobe -a tun veth bridge sch_ingress cls_bpf cls_u32 nf_tables nft_reject_inet nft_numgen

export HOME=/ TCPTRACE_TEST_SKIPS=/run/skips
: >"$TCPTRACE_TEST_SKIPS"

# NAME SECONDS PROGRAM ARGUMENTS...
suite() {
    name=$1
    seconds=$2
    shift 2
    echo
    echo "@@@ begin $name"
    timeout -s KILL "$seconds" "$@"
    status=$?
    echo
    sed 's/^/@@@ skip /' "$TCPTRACE_TEST_SKIPS"
    : >"$TCPTRACE_TEST_SKIPS"
    echo "@@@ end $name $status"
}

. /suites
echo "@@@ done"
# The serial line is to be read to its end.
sleep 1
poweroff -f
