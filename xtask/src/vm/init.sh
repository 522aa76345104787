#!/bin/busybox sh
# The first process of the virtual machine: makes it look enough like a system, runs the test
# programs one after the other, and says on the console what came out. The lines that begin with
# `@@ ` are read by `cargo xtask vm`.
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
# Inode numbers of the first file system are reused in another way than those of a disk's.
mount -t tmpfs tmpfs /tmp
# securityfs is left out: tracer must see a lockdown without it.
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -s /proc/self/fd /dev/fd
hostname vm
ifconfig lo 127.0.0.1 up
# What this boot is about: variables, and which programs with which arguments.
. /plan/settings

echo "@@ kernel $(uname -r)"
while read -r limit name arguments; do
    echo "@@ begin $name"
    # shellcheck disable=SC2086 # the arguments are several words
    timeout -s KILL "$limit" "/t/$name" $arguments </dev/null >/tmp/said 2>&1
    status=$?
    cat /tmp/said
    echo
    echo "@@ end $name $status"
done </plan/programs
echo "@@ kernel log"
# A warning of the kernel while programs were attached is a finding too.
dmesg | grep -E 'WARNING: |BUG: |Oops|general protection|rcu.*stall' | head -n 20
echo "@@ done"
poweroff -f
