#!/bin/busybox sh
# Init of the guest that runs container scenarios: leaves the initramfs for a tmpfs, as every real system does (and as pivot_root
# needs it: the initramfs itself can never be moved away), with util-linux's switch_root, and hands over to busybox's init.
export PATH=/usr/bin:/usr/sbin

mkdir -p /newroot
mount -t tmpfs -o mode=755 root /newroot
for folder in *; do
    case $folder in
        dev | init | newroot | proc | sys) ;;
        *) cp -a "$folder" /newroot ;;
    esac
done
mkdir -p /newroot/proc /newroot/sys /newroot/dev
exec /usr/sbin/switch_root /newroot /bin/init
