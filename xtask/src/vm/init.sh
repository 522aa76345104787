#!/bin/busybox sh
# The first process of the virtual machine: mounts file systems, runs the test programs one after the other, and
# prints their output on the console. `cargo xtask vm` parses the lines that begin with `@@ `.
/bin/busybox mkdir -p /usr/bin
/bin/busybox --install -s /bin
export PATH=/bin:/t HOME=/root RUST_BACKTRACE=0 TRACER_BIN=/t/tracer
mkdir -p /proc /sys /dev /tmp /root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
# The initramfs reuses inode numbers differently from a disk's file system.
mount -t tmpfs tmpfs /tmp
# securityfs is not mounted: tracer must detect a lockdown without it.
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -s /proc/self/fd /dev/fd
hostname vm
ifconfig lo 127.0.0.1 up
# Environment variables of this boot's plan.
. /plan/settings

echo "@@ kernel $(uname -r)"
while read -r limit name arguments; do
    echo "@@ begin $name"
    # shellcheck disable=SC2086 # the arguments are several words
    timeout -s KILL "$limit" "/t/$name" $arguments </dev/null >/tmp/output 2>&1
    status=$?
    cat /tmp/output
    echo
    echo "@@ end $name $status"
done </plan/programs
echo "@@ kernel log"
# A kernel warning while programs were attached is a failure.
dmesg | grep -E 'WARNING: |BUG: |Oops|general protection|rcu.*stall' | head -n 20
echo "@@ done"
poweroff -f
