#!/bin/busybox sh
# Init of a guest that runs test suites: mounts what every Linux program expects, runs the binaries below /suites, and powers
# off.
export PATH=/usr/bin:/usr/sbin HOME=/root RUST_BACKTRACE=0

mount -t proc proc /proc
mount -t sysfs sysfs /sys
# Linux may have mounted it already.
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
hostname graft

# The modules of a kernel that has what the suites need as modules.
for module in /modules/*.ko; do
    [ ! -e "$module" ] || insmod "$module"
done

sh /run-suites /suites
poweroff -f
