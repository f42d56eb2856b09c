#!/bin/sh
# Mounts what a host of containers has, where and as systemd mounts it: all of it shared, cgroup v2 with every controller handed
# on to the groups below the root.
export PATH=/usr/bin:/usr/sbin

# mounts TYPE FOLDER OPTIONS: unless something is mounted there already, by an init before us or by the kernel.
mounts() {
    mkdir -p "$2"
    grep -qs " $2 " /proc/mounts || mount -t "$1" -o "$3" "$1" "$2"
}

mounts proc /proc nosuid,nodev,noexec
mounts sysfs /sys nosuid,nodev,noexec
mounts devtmpfs /dev nosuid,mode=755
mounts devpts /dev/pts nosuid,noexec,gid=5,mode=620,ptmxmode=000
mounts tmpfs /dev/shm nosuid,nodev,mode=1777
mounts mqueue /dev/mqueue nosuid,nodev,noexec
mounts tmpfs /run nosuid,nodev,mode=755
mounts cgroup2 /sys/fs/cgroup nosuid,nodev,noexec
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" > /sys/fs/cgroup/cgroup.subtree_control
done
for link in fd:/proc/self/fd stdin:fd/0 stdout:fd/1 stderr:fd/2; do
    [ -e "/dev/${link%%:*}" ] || ln -s "${link#*:}" "/dev/${link%%:*}"
done
mount --make-rshared /
