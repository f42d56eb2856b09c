#!/bin/sh
# Shows the demonstration, and says on the console how it ended. With DEMO_ONLY=1 on the kernel's command line, which
# reaches init and us as a variable, the machine ends with it.
export PATH=/usr/bin:/usr/sbin

mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
hostname graft

echo
demo </dev/null
echo "graft-tools: demonstration ended with $?"
[ -n "$DEMO_ONLY" ] || exit
echo "graft-tools: done"
poweroff -f
