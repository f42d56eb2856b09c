# unshare, nsenter, lsns, pivot_root and switch_root of util-linux.

scenario_unshare_mount_keeps_mounts_from_the_host() {
    mkdir a
    unshare -m sh -c 'mount -t tmpfs tmpfs /work/a && echo x > /work/a/file && test -e /work/a/file'
    equal "the host's mounts" "$(mounts /work)" ""
    [ ! -e a/file ] || fail "the file is there"
}

# unshared KIND: what / is in a namespace made with --propagation KIND, and whether a mount in it is seen outside.
unshared() {
    rm -rf a
    mkdir a
    unshare -m --propagation "$1" sh -c 'awk "\$5 == \"/\" { print (\$7 ~ /shared/) ? \"shared\" : (\$7 ~ /master/) ? \"slave\" : \"private\" }" /proc/self/mountinfo; mount -t tmpfs tmpfs /work/a'
    mounts /work | awk '{ print $1 }'
}

scenario_unshare_with_each_propagation() {
    equal "private" "$(unshared private)" private
    equal "slave" "$(unshared slave)" slave
    equal "shared" "$(unshared shared)" "shared
/work/a"
    umount a
    equal "unchanged" "$(unshared unchanged)" "shared
/work/a"
    umount a
}

scenario_unshare_user_maps_root() {
    equal "as root" "$(unshare -U -r sh -c 'id -u; cat /proc/self/uid_map' | tr -s ' ')" "0
 0 0 1"
    equal "as a user" "$(setpriv --reuid 1000 --regid 1000 --clear-groups unshare -U -r sh -c 'id -u; cat /proc/self/uid_map; cat /proc/self/setgroups' | tr -s ' ')" "0
 0 1000 1
deny"
    equal "unmapped" "$(unshare -U id -u)" 65534
}

scenario_unshare_user_may_mount_in_its_own_namespace_alone() {
    mkdir a
    chmod 777 a
    setpriv --reuid 1000 --regid 1000 --clear-groups unshare -U -r -m sh -c 'mount -t tmpfs tmpfs /work/a && echo x > /work/a/file'
    equal "the host's mounts" "$(mounts /work)" ""
    refused 'must be superuser|not permitted' setpriv --reuid 1000 --regid 1000 --clear-groups mount -t tmpfs tmpfs /work/a
    refused 'permission denied' setpriv --reuid 1000 --regid 1000 --clear-groups unshare -U -r mount -t tmpfs tmpfs /work/a
}

scenario_unshare_pid_with_its_own_proc() {
    equal "the processes" "$(unshare -p -f --mount-proc sh -c 'echo $$; echo /proc/[0-9]*')" "1
/proc/1"
    exits 6 unshare -p -f --mount-proc sh -c 'exit 6'
    mounts /proc > rows
    equal "the host's proc" "$(wc -l < rows)" 1
}

scenario_unshare_pid_takes_all_its_processes_along() {
    unshare -p -f sh -c 'sleep 601 & sleep 602 & sleep 0.3'
    eventually gone
}

gone() {
    ! pgrep -f 'sleep 60[12]'
}

scenario_unshare_uts_ipc_net_cgroup() {
    local kind
    equal "the host name" "$(unshare -u sh -c 'hostname inside; hostname')" inside
    equal "the host's" "$(hostname)" host
    for kind in uts ipc net cgroup; do
        [ "$(unshare --$kind readlink /proc/self/ns/$kind)" != "$(readlink /proc/self/ns/$kind)" ] || fail "the $kind namespace is the host's"
    done
    equal "the devices of a new network" "$(unshare -n tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ')" lo
}

# What System V calls by keys is a namespace's own, and goes with it.
scenario_unshare_ipc_has_memory_queues_and_semaphores_of_its_own() {
    local outside found
    outside=$(ipcmk -M 4096 -p 0640 | tr -dc 0-9)
    matches "what the host has" "$(ipcs -m)" " $outside +root +640 +4096 +0"
    found=$(unshare -i sh -c 'ipcs -m; ipcmk -M 8192 > /dev/null; ipcmk -Q > /dev/null; ipcmk -S 3 > /dev/null; ipcs; ipcs -l; ipcrm --all; echo left; ipcs')
    lacks "what a namespace has" "$found" ' 4096 '
    matches "what a namespace has" "$found" '^0x[0-9a-f]+ +[0-9]+ +root +644 +8192 +0'
    matches "what a namespace has" "$found" '^0x[0-9a-f]+ +[0-9]+ +root +644 +3 *$'
    matches "its limits" "$found" 'max number of segments = 4096'
    lacks "what is left" "${found#*left}" '^0x'
    ipcrm -m "$outside"
    lacks "what the host has" "$(ipcs -m)" '^0x'
}

# A mount namespace that outlives its processes, because a file is bound to it.
scenario_unshare_keeps_a_namespace_in_a_file() {
    tmpfs kept
    mount --make-private kept
    touch kept/mnt
    mkdir a
    unshare --mount=/work/kept/mnt mount -t tmpfs tmpfs /work/a
    equal "the host's mounts" "$(mounts /work/a)" ""
    equal "the type of the file's mount" "$(findmnt -n -o FSTYPE /work/kept/mnt)" nsfs
    nsenter --mount=/work/kept/mnt sh -c 'echo text > /work/a/file'
    equal "the file" "$(nsenter --mount=/work/kept/mnt cat /work/a/file)" text
    umount kept/mnt
    umount kept
}

scenario_nsenter_joins_the_namespaces_of_a_process() {
    mkdir a
    unshare -m -u -p -f --mount-proc sh -c 'mount -t tmpfs tmpfs /work/a; hostname inside; echo text > /work/a/file; echo ready > /work/ready; exec sleep 603' &
    eventually test -e ready
    local process
    process=$(pgrep -f '^sleep 603')
    equal "the file" "$(nsenter -t "$process" -m cat /work/a/file)" text
    [ ! -e a/file ] || fail "the file is seen on the host"
    equal "the host name" "$(nsenter -t "$process" -u hostname)" inside
    equal "with all of them" "$(nsenter -t "$process" -a sh -c 'hostname; cat /proc/1/cmdline | tr "\0" " "')" "inside
sleep 603 "
    kill -KILL "$process"
    eventually gone_603
}

gone_603() {
    ! pgrep -f 'sleep 603'
}

scenario_lsns_finds_a_namespace_and_its_process() {
    unshare -m -u sh -c 'echo $$ > /work/pid; exec sleep 604' &
    eventually test -s pid
    local process inode
    process=$(cat pid)
    inode=$(readlink "/proc/$process/ns/mnt" | tr -dc 0-9)
    eventually pgrep -f '^sleep 604'
    equal "the mount namespace" "$(lsns -n -r -t mnt -o NS,TYPE,NPROCS,PID "$inode" 2>/dev/null || lsns -n -r -t mnt -o NS,TYPE,NPROCS,PID | grep "^$inode")" "$inode mnt 1 $process"
    equal "the namespaces of the process" "$(lsns -n -r -p "$process" -o TYPE | sort | tr '\n' ' ')" "cgroup ipc mnt net pid time user uts "
    kill -KILL "$process"
}

# A root file system in a tmpfs: what is in it is all that is left after the change.
new_root() {
    tmpfs "$1"
    mkdir "$1"/{bin,old,proc,dev,sys,run}
    cp /bin/busybox "$1/bin"
    ln -s busybox "$1/bin/sh"
    echo new > "$1/mark"
}

scenario_pivot_root_changes_the_root() {
    cat > inside.sh <<'END'
mount --make-rprivate /
cd /work/root
pivot_root . old
cd /
/bin/busybox cat /mark
/bin/busybox umount -l /old
/bin/busybox mount -t proc proc /proc
/bin/busybox awk '{ print $5 }' /proc/self/mountinfo
/bin/busybox ls /
END
    new_root root
    equal "what is left" "$(unshare -m sh inside.sh)" "new
/
/proc
bin
dev
mark
old
proc
run
sys"
    umount root
}

scenario_pivot_root_stacks_the_old_root_on_the_new() {
    cat > inside.sh <<'END'
mount --make-rprivate /
cd /work/root
pivot_root . .
/bin/busybox umount -l .
cd /
/bin/busybox mount -t proc proc /proc
/bin/busybox awk '{ print $5 }' /proc/self/mountinfo
END
    new_root root
    equal "what is left" "$(unshare -m sh inside.sh)" "/
/proc"
    umount root
}

scenario_pivot_root_refuses_what_is_no_root() {
    new_root root
    # With / shared, as the host has it; then a folder that is no mount, and one on the root's own mount.
    refused 'Invalid argument' pivot_root /work/root /work/root/old
    refused 'Invalid argument' unshare -m --propagation private pivot_root /work/root/bin /work/root/old
    refused 'resource busy' unshare -m --propagation private pivot_root /work/root /work
    refused 'resource busy' unshare -m --propagation private pivot_root / /work/root/old
    umount root
}

# The guest itself came here by switch_root; here it is again, in a namespace whose root may be emptied.
scenario_switch_root_moves_mounts_and_empties_the_old_root() {
    cat > inside.sh <<'END'
set -e
mount --make-rprivate /
cd /work/first
mkdir -p lib/x86_64-linux-gnu lib64 usr second work
cp /sbin/switch_root bin/
cp /lib64/ld-linux-x86-64.so.2 lib64/
cp /lib/x86_64-linux-gnu/libc.so.6 lib/x86_64-linux-gnu/
mount --rbind /proc proc
pivot_root . old
cd /
/bin/busybox umount -l /old
/bin/busybox mount -t tmpfs tmpfs /second
/bin/busybox mkdir /second/bin /second/proc /second/dev /second/sys /second/run
/bin/busybox cp /bin/busybox /second/bin/
exec /bin/switch_root /second /bin/busybox awk '{ print $5, $(NF - 2) }' /proc/self/mountinfo
END
    new_root first
    local found
    found=$(unshare -m -p -f sh inside.sh 2>&1)
    matches "the mounts afterwards" "$found" '^/ tmpfs$'
    matches "the mounts afterwards" "$found" '^/proc proc$'
    lacks "the mounts afterwards" "$found" 'second|^/old'
    eventually emptied
    umount first
}

emptied() {
    [ ! -e /work/first/mark ]
}
