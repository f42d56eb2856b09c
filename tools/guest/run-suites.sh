#!/bin/sh
# Runs each test binary in the folder $1 with the arguments beside it, and says where each begins and ends: in a guest from init,
# and on the host.
for arguments in "$1"/*.arguments; do
    binary=${arguments%.arguments}
    echo "graft-tools: begin ${binary##*/}"
    cd /tmp || exit
    xargs "$binary" < "$arguments"
    echo "graft-tools: end ${binary##*/} $?"
done
echo "graft-tools: done"
