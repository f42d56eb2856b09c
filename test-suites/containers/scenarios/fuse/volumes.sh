# fuse-volumes, our own: passthrough and overlay with binds, from the command line.

# host: a root to show and something to bind.
host() {
    mkdir -p root/etc data
    echo root > root/etc/name
    echo 'nameserver 10.0.0.1' > resolv.conf
    echo one > data/one
    before=$(mounts /)
}

# ended POINT: the server ended, and nothing is left.
ended() {
    gone "$1"
    equal "the mounts" "$(mounts /)" "$before"
}

scenario_passthrough_with_binds_ends_at_each_signal() {
    host
    local by
    for by in INT TERM; do
        serves /work/m passthrough --privileged --rootdir /work/root --mountpoint /work/m --bind dev:/dev:rec --bind dev/pts:/dev/pts \
            --bind etc/resolv.conf:/work/resolv.conf:ro --bind data:/work/data
        equal "the files" "$(cat m/etc/name m/etc/resolv.conf m/data/one | tr '\n' ' ')" "root nameserver 10.0.0.1 one "
        echo x > m/dev/null
        [ -e m/dev/pts/ptmx ] || fail "no dev/pts"
        refused 'Read-only file system' sh -c 'echo x > m/etc/resolv.conf'
        kill -$by $server
        ended /work/m
        equal "the root" "$(cd root && find . | sort | tr '\n' ' ')" ". ./etc ./etc/name "
    done
}

scenario_passthrough_undoes_after_a_kill() {
    host
    serves /work/m passthrough --privileged --rootdir /work/root --mountpoint /work/m --bind data:/work/data
    kill -KILL $server
    wait $server || true
    refused 'Transport endpoint is not connected' ls m
    passthrough --privileged --rootdir /work/root --mountpoint /work/m > server-output 2>&1 &
    server=$!
    eventually cat m/etc/name
    [ ! -e m/data ] || fail "the old bind is still there"
    kill $server
    ended /work/m
}

scenario_passthrough_refuses_bad_binds() {
    host
    ln -s /work root/out
    mkdir m
    refused 'No such file' passthrough --privileged --rootdir /work/root --mountpoint /work/m --bind data:/work/data --bind x:/work/missing
    refused 'leaves the root' passthrough --privileged --rootdir /work/root --mountpoint /work/m --bind out/x:/work/data
    refused 'leaves the root' passthrough --privileged --rootdir /work/root --mountpoint /work/m --bind ../x:/work/data
    refused 'relative' passthrough --privileged --rootdir /work/root --mountpoint /work/m --bind x:data
    refused 'given twice' passthrough --privileged --rootdir /work/root --mountpoint /work/m --bind x:/work/data --bind ./x:/work
    refused 'TARGET:SOURCE' passthrough --privileged --rootdir /work/root --mountpoint /work/m --bind x
    equal "the mounts" "$(mounts /)" "$before"
    equal "the root" "$(ls root | tr '\n' ' ')" "etc out "
}

scenario_passthrough_as_a_user() {
    host
    mkdir m
    chown -R 1000:1000 /work/root /work/m /work/data
    user_serves /work/m passthrough --rootdir /work/root --mountpoint /work/m --bind data:/work/data:ro
    equal "inside" "$(as_user nsenter -t $server -U -m --preserve-credentials cat /work/m/data/one)" one
    unmounted /work/m || fail "seen outside"
    kill $server
    ended /work/m
    user_serves /work/m passthrough --bind-mode user --rootdir /work/root --mountpoint /work/m --bind data:/work/data:ro
    equal "the file" "$(as_user cat m/data/one)" one
    refused 'Read-only file system' as_user touch m/data/new
    equal "one mount" "$(mounts /work/m | wc -l)" 1
    kill $server
    ended /work/m
}

scenario_overlay_with_binds() {
    host
    mkdir -p upper
    serves /work/m overlayfs_example --privileged --upperdir /work/upper --lowerdir /work/root --mountpoint /work/m \
        --bind data:/work/data --bind etc/resolv.conf:/work/resolv.conf:ro
    echo new > m/etc/name
    echo two > m/data/two
    equal "the layers" "$(cat root/etc/name upper/etc/name data/two | tr '\n' ' ')" "root new two "
    refused 'Read-only file system' sh -c 'echo x > m/etc/resolv.conf'
    kill $server
    ended /work/m
    equal "the upper layer" "$(cd upper && find . | sort | tr '\n' ' ')" ". ./etc ./etc/name "
}

scenario_passthrough_is_the_root_of_a_container() {
    mkdir -p root/bin root/proc data
    cp /bin/busybox root/bin/busybox
    ln -s busybox root/bin/sh
    before=$(mounts /)
    echo volume > data/file
    serves /work/m passthrough --privileged --rootdir /work/root --mountpoint /work/m --bind data:/work/data:ro
    equal "inside" "$(bwrap --bind /work/m / --proc /proc /bin/sh -c 'read text < /data/file; echo $text')" volume
    kill $server
    ended /work/m
}
