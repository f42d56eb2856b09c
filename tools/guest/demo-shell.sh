#!/bin/sh
# A shell for the person at the console, in a folder from which runc can run a container; its end is the machine's.
export PATH=/usr/bin:/usr/sbin HOME=/root PS1='graft:\w\$ '

host-mounts
mkdir -p /bundle
cd /bundle || exit
# A root file system of busybox alone, and the configuration that runc proposes.
for folder in bin dev etc proc root sys tmp; do
    mkdir -p "rootfs/$folder"
done
cp /bin/busybox rootfs/bin/
chroot rootfs /bin/busybox --install -s /bin
[ -e config.json ] || runc spec

echo
echo 'A shell on the serial console. "demo" shows the demonstration again; "runc run demo" starts a container from the bundle in this'
echo 'folder, "exit" ends it. Then "exit" or "poweroff" ends the machine.'
/bin/sh
poweroff
