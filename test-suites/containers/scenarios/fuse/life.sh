# Life and death of FUSE mounts, as a system's owner sees them.

scenario_fusectl_aborts_a_connection() {
    serves /work/m hellofs /work/m
    mount -t fusectl fusectl /sys/fs/fuse/connections
    local number
    number=$(stat -c %d m)
    equal "waiting" "$(cat /sys/fs/fuse/connections/$number/waiting)" 0
    echo 1 > /sys/fs/fuse/connections/$number/abort
    refused 'Transport endpoint is not connected' cat m/hello
    umount m
    wait $server || true
    umount /sys/fs/fuse/connections
}

scenario_forced_unmount_frees_a_stuck_caller() {
    serves /work/m hellofs /work/m
    kill -STOP $server
    cat m/hello > /dev/null 2> complaint &
    local reader=$!
    # Cached for a minute: what is not cached asks the server.
    ls m/unknown > /dev/null 2>> complaint &
    local second=$!
    sleep 0.5
    umount -f m || true
    wait $second || true
    wait $reader || true
    matches "the caller's complaint" "$(cat complaint)" 'Software caused connection abort|Transport endpoint is not connected'
    kill -CONT $server
    umount m 2> /dev/null || true
    wait $server || true
}

scenario_a_mount_ends_with_its_namespace() {
    mkdir m
    unshare -m --propagation private bash -c 'hellofs /work/m > /dev/null 2>&1 & echo $! > /work/number; until [ -e /work/m/hello ]; do sleep 0.1; done; umount -l /work/m'
    eventually sh -c '! kill -0 $(cat /work/number) 2> /dev/null'
}

scenario_two_mounts_do_not_disturb_each_other() {
    serves /work/a hellofs /work/a
    local first=$server
    serves /work/b hellofs /work/b
    kill -KILL $first
    wait $first || true
    refused 'Transport endpoint is not connected' ls a
    equal "the other" "$(cat b/hello)" hello
    hellofs --umount a
    kill $server
    gone /work/b
}

scenario_mount_options_are_told() {
    mkdir m
    refused 'EINVAL|wrong fs type|Invalid argument' mount -i -t fuse.x none m -o fd=0,rootmode=40000,user_id=0,group_id=0
    refused 'wrong fs type|Invalid argument' mount -i -t fuse none m
    equal "the mounts" "$(mounts /work/m)" ""
}
