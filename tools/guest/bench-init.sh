#!/bin/sh
# The benchmark's init: runs it up to the size, and for the rows, that the command line names.
mount -t proc proc /proc
# For /dev/fuse. A kernel may have mounted it already.
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mount -t tmpfs tmpfs /tmp
mount-bench "${BENCH_LARGEST:-1000}" ${BENCH_ROWS:+"$BENCH_ROWS"}
echo "graft-tools: done"
poweroff -f
