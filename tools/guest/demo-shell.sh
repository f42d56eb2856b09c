#!/bin/sh
# A shell for the person at the console; its end is the machine's.
export PATH=/usr/bin:/usr/sbin HOME=/root PS1='graft:\w\$ '

cd /root
echo
echo 'A shell on the serial console. "demo" shows the demonstration again; "exit" or "poweroff" ends the machine.'
/bin/sh
poweroff
