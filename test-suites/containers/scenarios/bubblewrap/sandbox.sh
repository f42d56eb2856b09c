# bubblewrap: sandboxes made by root and by a user in a user namespace.

# A system for sandboxes: busybox and nothing else, read-only.
system=(--setenv PATH /bin --ro-bind /bin/busybox /bin/busybox --symlink busybox /bin/sh)

scenario_bind_reaches_the_host() {
    mkdir shared
    bwrap "${system[@]}" --bind /work/shared /data sh -c 'echo text > /data/file'
    equal "the file" "$(cat shared/file)" text
}

scenario_ro_bind_refuses_writing() {
    mkdir shared
    refused 'Read-only file system' bwrap "${system[@]}" --ro-bind /work/shared /data sh -c 'echo text > /data/file'
    [ ! -e shared/file ] || fail "the file is there"
}

# Everything below a read-only bind is read-only too: bubblewrap remounts each mount.
scenario_ro_bind_covers_submounts() {
    tmpfs shared
    tmpfs shared/sub
    local found
    found=$(bwrap "${system[@]}" --proc /proc --ro-bind /work/shared /data sh -c 'echo x > /data/sub/file; busybox cat /proc/self/mountinfo' 2>&1)
    matches "what the shell says" "$found" 'Read-only file system'
    matches "the mount's row" "$found" ' /data/sub ro,nosuid,nodev'
    umount -R shared
}

scenario_only_what_was_bound_is_there() {
    equal "the root folder" "$(bwrap "${system[@]}" --tmpfs /tmp --dir /empty busybox ls / | tr '\n' ' ')" "bin empty tmp "
    local found
    found=$(bwrap "${system[@]}" --ro-bind /proc /proc busybox cat /proc/self/mountinfo)
    lacks "the types" "$found" ' - cgroup2 '
    equal "the places" "$(cut -d" " -f5 <<<"$found")" "/
/bin/busybox
/proc"
}

scenario_tmpfs_is_fresh_each_time() {
    bwrap "${system[@]}" --tmpfs /tmp sh -c 'echo x > /tmp/file && test -s /tmp/file'
    exits 1 bwrap "${system[@]}" --tmpfs /tmp sh -c 'test -e /tmp/file'
}

scenario_proc_of_a_pid_namespace() {
    equal "the processes" "$(bwrap "${system[@]}" --unshare-pid --proc /proc sh -c 'cd /proc; echo [0-9]*')" "1 2"
    equal "the command" "$(bwrap "${system[@]}" --unshare-pid --as-pid-1 --proc /proc sh -c 'echo $$')" 1
}

scenario_dev_has_its_devices() {
    local found
    found=$(bwrap "${system[@]}" --dev /dev sh -c 'cd /dev; busybox ls; echo x > null; busybox head -c 3 zero | busybox wc -c; busybox stat -c "%t %T" null')
    local name
    for name in null zero full random urandom tty pts ptmx shm stdin stdout stderr fd; do
        matches "the devices" "$found" "^$name\$"
    done
    lacks "the devices" "$found" '^(kmsg|mem|ttyS0)$'
    matches "the bytes of zero" "$found" '^3$'
    matches "the numbers of null" "$found" '^1 3$'
}

scenario_unshare_all() {
    local found kind
    found=$(bwrap "${system[@]}" --unshare-all --proc /proc sh -c 'for kind in mnt pid uts ipc net cgroup user; do echo "$kind $(busybox readlink /proc/self/ns/$kind)"; done')
    for kind in mnt pid uts ipc net cgroup; do
        lacks "the sandbox's namespaces" "$found" "$(readlink /proc/self/ns/$kind | sed 's/[][]/./g')"
    done
}

scenario_unshare_net_has_a_loopback() {
    local found
    found=$(bwrap "${system[@]}" --unshare-net --proc /proc sh -c 'busybox tail -n +3 /proc/net/dev | busybox cut -d: -f1; busybox ifconfig lo')
    equal "the devices" "$(grep -x ' *[a-z0-9]*' <<<"$found" | tr -d ' ')" lo
    matches "the loopback" "$found" 'inet addr:127.0.0.1'
    matches "the loopback" "$found" 'UP LOOPBACK'
}

scenario_status_folder_and_variables() {
    exits 9 bwrap "${system[@]}" sh -c 'exit 9'
    equal "the folder" "$(bwrap "${system[@]}" --dir /a/b --chdir /a/b sh -c pwd)" /a/b
    equal "the variable" "$(bwrap "${system[@]}" --setenv COLOUR red sh -c 'echo $COLOUR')" red
    equal "without variables" "$(COLOUR=red bwrap "${system[@]}" --clearenv sh -c 'echo "<$COLOUR>"')" "<>"
    equal "the host name" "$(bwrap "${system[@]}" --unshare-uts --hostname inside busybox hostname)" inside
}

scenario_missing_source_is_told() {
    refused "Can't find source path /no/such" bwrap "${system[@]}" --bind /no/such /data sh -c true
}

scenario_no_new_privileges_and_dropped_capabilities() {
    local found
    found=$(bwrap "${system[@]}" --proc /proc --cap-drop ALL busybox cat /proc/self/status)
    matches "the status" "$found" '^NoNewPrivs:.1$'
    matches "the status" "$found" '^CapEff:.0000000000000000$'
}

scenario_sandbox_s_mount_does_not_reach_the_host() {
    tmpfs shared
    mkfifo go
    bwrap "${system[@]}" --bind /work/shared /data --bind /work /work --proc /proc \
        sh -c 'busybox cat /work/go; busybox mount -t tmpfs t /data/inner 2>&1; busybox cat /proc/self/mountinfo' > found 2>&1 &
    mkdir shared/inner
    echo > go
    wait $!
    matches "the sandbox's mounts" "$(cat found)" ' /data/inner .* - tmpfs '
    equal "the host's mounts" "$(mounts /work/shared | awk '{ print $1 }')" /work/shared
    umount shared
}

# as_user COMMAND…
as_user() {
    setpriv --reuid 1000 --regid 1000 --clear-groups "$@"
}

scenario_user_has_a_sandbox_too() {
    mkdir -m 777 shared
    equal "the users" "$(as_user bwrap "${system[@]}" --unshare-user --bind /work/shared /data --proc /proc sh -c 'busybox id -u; echo x > /data/file; busybox cat /proc/self/uid_map' | tr -s ' ')" "1000
 1000 1000 1"
    equal "the file's owner" "$(stat -c %u shared/file)" 1000
}

scenario_user_becomes_root_inside() {
    equal "the users" "$(as_user bwrap "${system[@]}" --unshare-user --uid 0 --gid 0 --proc /proc sh -c 'busybox id -u; busybox id -g; busybox cat /proc/self/uid_map' | tr -s ' ')" "0
0
 0 1000 1"
}

scenario_user_with_everything_unshared() {
    local found
    found=$(as_user bwrap "${system[@]}" --unshare-all --proc /proc --dev /dev --tmpfs /tmp sh -c 'echo /proc/[0-9]*; echo x > /tmp/file && echo written; busybox mount -t tmpfs t /tmp 2>&1 || true')
    matches "the processes" "$found" '^/proc/1 /proc/2'
    matches "the tmpfs" "$found" '^written$'
    matches "what mount says" "$found" 'not permitted|denied|must be superuser'
}

scenario_user_may_not_read_what_is_root_s() {
    echo secret > file
    chmod 600 file
    refused 'Permission denied' as_user bwrap "${system[@]}" --unshare-user --uid 0 --gid 0 --ro-bind /work /data busybox cat /data/file
}

scenario_sandbox_dies_with_its_parent() {
    bash -c 'bwrap --bind / / --die-with-parent sleep 777 & echo $! > /work/pid; sleep 778' &
    local shell=$!
    # The program itself: bubblewrap, which has the same words in its arguments, may not have asked for the signal yet.
    eventually pgrep -f '^sleep 777'
    kill -KILL $shell
    pkill -KILL -f 'sleep 778' || true
    eventually gone
}

gone() {
    ! pgrep -f 'sleep 77[78]'
}
