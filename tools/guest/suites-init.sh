#!/bin/busybox sh
# Init of a guest that runs test suites: mounts what every Linux program expects, runs each binary below /suites with the
# arguments beside it, says on the console where each begins and ends, and powers off.
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

for arguments in /suites/*.arguments; do
    binary=${arguments%.arguments}
    echo "graft-tools: begin ${binary##*/}"
    cd /tmp
    xargs "$binary" < "$arguments"
    echo "graft-tools: end ${binary##*/} $?"
done
echo "graft-tools: done"
poweroff -f
