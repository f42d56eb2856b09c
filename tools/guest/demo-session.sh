#!/bin/sh
# Init of the guest of `make run`, second half, on the tmpfs root: shows the demonstration, then leaves a shell on the
# console. DEMO_ONLY=1 on the kernel's command line, which reaches us as a variable, leaves the shell out.
export PATH=/usr/bin:/usr/sbin HOME=/root TERM=${TERM:-vt100} PS1='graft:\w\$ '

# What `poweroff`, `halt` and `reboot` ask of init.
trap 'poweroff -f' USR2
trap 'halt -f' USR1
trap 'reboot -f' TERM

mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
hostname graft
cd /root

demo </dev/null
echo "graft-tools: demonstration ended with $?"

if [ -z "$DEMO_ONLY" ]; then
    echo
    echo 'A shell on the serial console. `demo` shows the demonstration again; `exit` or `poweroff` ends the machine.'
    # In the background, since a shell runs its traps only between its own commands and while it waits.
    setsid -c sh </dev/console >/dev/console 2>&1 &
    wait $!
fi
echo "graft-tools: done"
poweroff -f
