# hellofs, our own: a FUSE file system by mount(2) alone.

scenario_hellofs_serves_its_file() {
    serves /work/m hellofs /work/m
    equal "the content" "$(cat m/hello)" hello
    equal "size, mode, times" "$(stat -c '%s %A %X %Y %Z' m/hello)" "5 -rw-r--r-- 0 0 0"
    matches "the mount's row" "$(findmnt -n -o FSTYPE,SOURCE,OPTIONS /work/m)" '^fuse.hellofs +hello +rw,nosuid,nodev,relatime,user_id=0,group_id=0$'
    kill -TERM $server
    gone /work/m
}

scenario_hellofs_says_who_holds_it() {
    serves /work/m hellofs /work/m
    (cd m && exec sleep 100) &
    local sleeper=$!
    eventually sh -c "[ \"\$(readlink /proc/$sleeper/cwd)\" = /work/m ]"
    kill -INT $server
    eventually grep -q "process $sleeper (sleep) works in /work/m" server-output
    equal "it goes on" "$(cat m/hello)" hello
    kill $sleeper
    wait $sleeper || true
    kill -INT $server
    gone /work/m
}

scenario_hellofs_cleans_up_behind_a_dead_server() {
    serves /work/m hellofs /work/m
    kill -KILL $server
    wait $server || true
    refused 'Transport endpoint is not connected' ls m
    hellofs --umount /work/m
    unmounted /work/m || fail "still a mount"
}

scenario_hellofs_travels_like_any_mount() {
    mkdir -p shared other
    tmpfs shared
    mount --make-shared shared
    mount --bind shared other
    mkdir shared/m
    serves /work/shared/m hellofs --allow-other /work/shared/m
    equal "through the peer" "$(cat other/m/hello)" hello
    unshare -m --propagation slave cat shared/m/hello | grep -qx hello
    mkdir moved
    mount --make-private shared
    mount --bind shared/m moved
    umount shared/m
    equal "the bind keeps it alive" "$(cat moved/hello)" hello
    umount moved other/m
    gone /work/shared/m
    umount shared other
}

scenario_hellofs_lets_in_whom_it_should() {
    serves /work/m hellofs /work/m
    refused 'Permission denied' as_user cat m/hello
    kill $server
    gone /work/m
    serves /work/m hellofs --allow-other /work/m
    equal "as another user" "$(as_user cat m/hello)" hello
    kill $server
    gone /work/m
}
