#!/bin/bash
# Init of the initramfs with GNU's programs: mounts what they expect, runs the script of commands, powers off.
export PATH=/usr/bin:/usr/sbin:/bin:/sbin LC_ALL=C TZ=UTC HOME=/root

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mount -t tmpfs tmpfs /tmp
ln -sf /proc/self/fd /dev/fd

echo
echo 'foreign: begin gnu'
cd /tmp && bash /commands.sh </dev/null 2>&1
echo "foreign: end gnu $?"
echo 'graft-tools: done'
busybox poweroff -f
