# libfuse-fs 0.3.0 as it is published: its examples `passthrough` and `overlayfs_example`. There a bind is SOURCE:TARGET, is made
# through the mount while the server serves it, and goes at a signal.

published=/usr/lib/libfuse-fs
export RUST_LOG=error

# host: a root to show and something to bind.
host() {
    mkdir -p root/etc data/sub
    echo root > root/etc/name
    echo 'nameserver 10.0.0.1' > resolv.conf
    echo one > data/one
    before=$(mounts /)
}

# shows OPTION…: the published passthrough at /work/m, and waits for its last bind to be there.
shows() {
    serves /work/m $published/passthrough --privileged --rootdir /work/root --mountpoint /work/m "$@"
}

# merges OPTION…: the published overlay of /work/upper over /work/root at /work/m.
merges() {
    mkdir -p upper
    serves /work/m $published/overlayfs_example --privileged --upperdir /work/upper --lowerdir /work/root --mountpoint /work/m "$@"
}

# ended: the server ended, and no mount is left.
ended() {
    gone /work/m
    equal "the mounts" "$(mounts /)" "$before"
}

scenario_published_passthrough_reads_and_writes() {
    host
    shows
    equal "the file" "$(cat m/etc/name)" root
    mkdir m/folder
    echo new > m/folder/new
    echo more >> m/etc/name
    ln -s new m/folder/link
    ln m/folder/new m/hard
    mv m/folder m/moved
    chmod 640 m/hard
    truncate -s 2 m/hard
    equal "the names" "$(cd root && find . | sort | tr '\n' ' ')" ". ./etc ./etc/name ./hard ./moved ./moved/link ./moved/new "
    equal "the content" "$(cat root/moved/new) $(tr '\n' ' ' < root/etc/name)" "ne root more "
    equal "links and mode" "$(stat -c '%h %a' root/hard)" "2 640"
    rm -r m/moved m/hard
    kill $server
    ended
}

scenario_published_passthrough_runs_programs() {
    host
    mkdir root/bin
    cp /bin/busybox root/bin/busybox
    shows
    equal "what it says" "$(m/bin/busybox echo from the mount)" "from the mount"
    equal "all of it" "$(sha256sum < m/bin/busybox)" "$(sha256sum < /bin/busybox)"
    kill $server
    ended
}

scenario_published_passthrough_binds_devices_and_a_file() {
    host
    shows --bind dev:/dev --bind dev/pts:/dev/pts --bind work/resolv.conf:/etc/resolv.conf
    eventually mountpoint -q m/etc/resolv.conf
    echo x > m/dev/null
    [ -c m/dev/pts/ptmx ] || fail "no dev/pts"
    equal "the file" "$(cat m/etc/resolv.conf)" "nameserver 10.0.0.1"
    equal "dev/pts is there twice" "$(mounts /work/m/dev/pts | wc -l)" 2
    lacks "the propagation of the binds" "$(mounts /work/m/dev)" ' shared'
    kill -INT $server
    ended
    equal "the targets stay" "$(cd root && find . | sort | tr '\n' ' ')" ". ./dev ./etc ./etc/name ./etc/resolv.conf "
}

scenario_published_passthrough_binds_inside_binds() {
    host
    mkdir inner
    echo inner > inner/file
    shows --bind /work/data:/data --bind /work/inner:/data/sub
    eventually mountpoint -q m/data/sub
    echo two > m/data/two
    echo changed > m/data/sub/file
    equal "through both" "$(cat data/two inner/file | tr '\n' ' ')" "two changed "
    equal "the source has no mount" "$(ls data/sub)" ""
    kill $server
    ended
}

scenario_published_passthrough_keeps_a_source_read_only() {
    host
    mkdir sealed
    mount --bind data sealed
    mount -o remount,bind,ro sealed
    shows --bind /work/sealed:/data
    eventually mountpoint -q m/data
    equal "the file" "$(cat m/data/one)" one
    refused 'Read-only file system' sh -c 'echo x > m/data/one'
    kill $server
    gone /work/m
    umount sealed
    equal "the mounts" "$(mounts /)" "$before"
}

scenario_published_passthrough_ends_when_others_unmount_it() {
    host
    shows --bind /work/data:/data
    eventually mountpoint -q m/data
    umount -R m
    ended
}

scenario_published_passthrough_is_killed() {
    host
    shows --bind /work/data:/data
    eventually mountpoint -q m/data
    kill -KILL $server
    wait $server || true
    refused 'Transport endpoint is not connected' ls m
    refused 'target is busy' umount m
    umount m/data
    umount m
    equal "the mounts" "$(mounts /)" "$before"
}

scenario_published_passthrough_misses_a_source() {
    host
    mkdir m
    refused 'No such file' $published/passthrough --privileged --rootdir /work/root --mountpoint /work/m --bind /work/missing:/data
    equal "the mounts" "$(mounts /)" "$before"
}

scenario_published_passthrough_ends_while_it_is_busy() {
    host
    shows --bind /work/data:/data
    eventually mountpoint -q m/data
    exec 7< m/etc/name
    kill $server
    eventually sh -c '! mountpoint -q /work/m/data'
    exec 7<&-
    ls m/unknown > /dev/null 2>&1 || true
    umount -l m
    wait $server || true
    equal "the mounts" "$(mounts /)" "$before"
}

scenario_published_passthrough_by_fusermount3() {
    host
    mkdir m
    chown -R 1000:1000 root m
    user_serves /work/m $published/passthrough --rootdir /work/root --mountpoint /work/m
    eventually as_user cat m/etc/name
    as_user sh -c 'echo more >> m/etc/name'
    equal "appended" "$(tr '\n' ' ' < root/etc/name)" "root more "
    refused 'Permission denied' ls m
    kill $server
    ended
}

scenario_published_overlay_merges_and_copies_up() {
    host
    merges
    echo more >> m/etc/name
    echo new > m/new
    equal "the layers" "$(cat root/etc/name) $(tr '\n' ' ' < upper/etc/name)$(cat upper/new)" "root root more new"
    rm m/etc/name
    [ ! -e m/etc/name ] || fail "still there"
    equal "the lower layer" "$(cat root/etc/name)" root
    kill -INT $server
    ended
}

scenario_published_overlay_with_binds() {
    host
    merges --bind /work/data:/data --bind /work/resolv.conf:/etc/resolv.conf --bind dev:/dev
    eventually mountpoint -q m/dev
    echo two > m/data/two
    echo x > m/dev/null
    equal "through the binds" "$(cat data/two m/etc/resolv.conf | tr '\n' ' ')" "two nameserver 10.0.0.1 "
    equal "the layer is still right" "$(cat m/etc/name)" root
    kill $server
    ended
    equal "what was bound is not in the upper layer" "$(ls upper/data)" ""
}

scenario_published_overlay_is_the_root_of_a_container() {
    host
    mkdir root/bin root/proc
    cp /bin/busybox root/bin/sh
    merges --bind /work/data:/data
    eventually mountpoint -q m/data
    equal "inside" "$(bwrap --bind /work/m / --proc /proc /bin/sh -c 'echo made > /inside; read text < /data/one; echo $text')" one
    equal "in the upper layer" "$(cat upper/inside)" made
    kill $server
    ended
}
