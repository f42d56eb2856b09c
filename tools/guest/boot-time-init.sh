#!/bin/busybox sh
# Init that says how long the machine had been up when it began.
/bin/busybox mount -t proc proc /proc
read -r seconds idle < /proc/uptime
echo
echo "boot time: $seconds seconds"
echo "graft-tools: done"
/bin/busybox poweroff -f
