#!/bin/busybox sh
# Init of the initramfs that holds nothing but busybox: installs its applets as it offers to, mounts what they expect,
# runs the script of applets, powers off.
export PATH=/usr/bin:/usr/sbin TZ=UTC HOME=/root

/bin/busybox mkdir -p /proc /sys /dev /tmp /run
/bin/busybox mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mount -t tmpfs tmpfs /tmp

echo
echo 'foreign: begin busybox'
cd /tmp && sh /commands.sh </dev/null 2>&1
echo "foreign: end busybox $?"
echo 'graft-tools: done'
poweroff -f
