#!/bin/busybox sh
# Init that tells what the kernel gave it, then ends as $CHECK on the command line says.
/bin/busybox mount -t proc proc /proc
echo
echo "boot check: $0 got: $*"
echo "boot check: variable: $CHECK $COLOUR"
echo "boot check: $(/bin/busybox grep MemTotal /proc/meminfo)"
echo "boot check: files: $(/bin/busybox readlink /proc/self/fd/0) $(/bin/busybox readlink /proc/1/fd/1) $(/bin/busybox readlink /proc/1/fd/2)"
while read -r id parent device root path rest; do
    [ "$path" != / ] || [ "$id" != "$parent" ] || echo "boot check: the root is its own parent"
done < /proc/self/mountinfo
echo "graft-tools: done"
case $CHECK in
    exit) exit 3 ;;
    *) /bin/busybox "$CHECK" -f ;;
esac
