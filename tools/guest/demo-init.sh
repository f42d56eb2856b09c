#!/bin/busybox sh
# Init of the guest of `make run`: moves from the initramfs to a tmpfs root, as every real system leaves its initramfs
# (and as pivot_root needs it: the initramfs itself can never be moved away), and hands over to busybox's own init.
export PATH=/usr/bin:/usr/sbin

mkdir -p /newroot
mount -t tmpfs -o mode=755 root /newroot
cp -a /bin /demo /etc /lib /lib64 /root /sbin /usr /var /newroot
mkdir -p /newroot/proc /newroot/sys /newroot/dev /newroot/run
mkdir -m 1777 /newroot/tmp
mount -t proc proc /newroot/proc
mount -t sysfs sysfs /newroot/sys
mount -t devtmpfs devtmpfs /newroot/dev
exec switch_root /newroot /bin/init
