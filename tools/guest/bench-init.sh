#!/bin/sh
# The benchmark's init: runs it up to the size, and for the rows, that the command line names.
mount -t proc proc /proc
mount -t tmpfs tmpfs /tmp
mount-bench "${BENCH_LARGEST:-1000}" ${BENCH_ROWS:+"$BENCH_ROWS"}
echo "graft-tools: done"
poweroff -f
