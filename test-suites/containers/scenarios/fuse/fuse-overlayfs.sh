# fuse-overlayfs: layers as one tree, as rootless containers use it.

# merged [OPTION]: two layers below an upper one, served at /work/m.
merged() {
    tmpfs layers
    mkdir -p layers/{lower,lower2,upper,work}
    mkdir -p layers/lower/both layers/lower2/both
    echo first > layers/lower/file
    echo second > layers/lower2/file
    echo deep > layers/lower2/both/two
    echo one > layers/lower/both/one
    serves /work/m fuse-overlayfs -f -o "lowerdir=/work/layers/lower:/work/layers/lower2,upperdir=/work/layers/upper,workdir=/work/layers/work${1:+,$1}" /work/m
}

unmerged() {
    umount m
    gone /work/m
    umount layers
}

scenario_fuse_overlayfs_merges() {
    merged
    equal "the names" "$(cd m && find . | sort | tr '\n' ' ')" ". ./both ./both/one ./both/two ./file "
    equal "the first wins" "$(cat m/file)" first
    unmerged
}

scenario_fuse_overlayfs_copies_up() {
    merged
    echo more >> m/file
    chmod 600 m/both/two
    equal "in the upper layer" "$(tr '\n' ' ' < layers/upper/file)" "first more "
    equal "the lower one" "$(cat layers/lower/file)" first
    equal "the mode" "$(stat -c %a layers/upper/both/two) $(stat -c %a layers/lower2/both/two)" "600 644"
    unmerged
}

scenario_fuse_overlayfs_whites_out() {
    merged
    rm m/file
    [ ! -e m/file ] || fail "still there"
    equal "the whiteout" "$(stat -c '%F %t %T' layers/upper/file 2> /dev/null || ls -A layers/upper)" "character special file 0 0"
    echo again > m/file
    equal "made again" "$(cat m/file)" again
    rm -r m/both
    mkdir m/both
    equal "opaque" "$(ls -A m/both)" ""
    unmerged
}

scenario_fuse_overlayfs_renames() {
    merged
    mv m/file m/renamed
    mv m/both m/moved
    equal "the names" "$(cd m && find . | sort | tr '\n' ' ')" ". ./moved ./moved/one ./moved/two ./renamed "
    equal "the content" "$(cat m/renamed m/moved/two | tr '\n' ' ')" "first deep "
    unmerged
}

scenario_fuse_overlayfs_links() {
    merged
    ln m/file m/hard
    ln -s file m/soft
    equal "through both" "$(cat m/hard m/soft | tr '\n' ' ')" "first first "
    equal "the count" "$(stat -c %h m/hard)" 2
    unmerged
}

scenario_fuse_overlayfs_keeps_attributes() {
    merged
    chown 12:34 m/file
    touch -d 2001-02-03 m/file
    equal "owner and time" "$(stat -c '%u %g %y' m/file | cut -c 1-16)" "12 34 2001-02-03"
    equal "in the upper layer" "$(stat -c '%u %g' layers/upper/file)" "12 34"
    unmerged
}

scenario_fuse_overlayfs_maps_memory_and_runs_programs() {
    merged
    cp /bin/busybox m/busybox
    equal "what it says" "$(m/busybox echo layered)" layered
    equal "the program" "$(sha256sum < layers/upper/busybox)" "$(sha256sum < /bin/busybox)"
    unmerged
}

scenario_fuse_overlayfs_is_the_root_of_a_container() {
    merged
    mkdir -p m/bin m/proc
    cp /bin/busybox m/bin/sh
    equal "inside" "$(bwrap --bind /work/m / --proc /proc /bin/sh -c 'echo made > /inside; read text < /file; echo $text')" first
    equal "in the upper layer" "$(cat layers/upper/inside)" made
    unmerged
}

scenario_fuse_overlayfs_rootless() {
    mkdir -p layers/{lower,upper,work} m
    echo first > layers/lower/file
    chown -R 1000:1000 layers m
    as_user unshare -Urm sh -c 'cd /work
        fuse-overlayfs -o lowerdir=layers/lower,upperdir=layers/upper,workdir=layers/work m
        echo more >> m/file
        rm m/file
        echo other > m/other
        ls m
        umount m' > found
    equal "inside" "$(cat found)" other
    equal "owned by the user" "$(stat -c %u layers/upper/other)" 1000
}

scenario_fuse_overlayfs_read_only_without_upper() {
    mkdir -p lower lower2
    echo first > lower/file
    serves /work/m fuse-overlayfs -f -o lowerdir=/work/lower:/work/lower2 /work/m
    equal "the file" "$(cat m/file)" first
    refused 'Read-only file system' touch m/new
    umount m
    gone /work/m
}
