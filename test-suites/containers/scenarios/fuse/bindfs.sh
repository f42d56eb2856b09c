# bindfs (libfuse 2): a folder shown elsewhere, with other owners and rights.

# source_tree: a folder with something of each kind.
source_tree() {
    mkdir -p source/sub/deep
    echo one > source/one
    echo two > source/sub/two
    ln -s one source/link
    mkfifo source/pipe
    chmod 640 source/one
}

scenario_bindfs_shows_a_folder() {
    source_tree
    serves /work/m bindfs -f /work/source /work/m
    equal "the names" "$(cd m && find . | sort)" "$(cd source && find . | sort)"
    equal "the content" "$(cat m/sub/two)" two
    equal "the link" "$(readlink m/link)" one
    equal "the mode" "$(stat -c %a m/one)" 640
    umount m
    gone /work/m
}

scenario_bindfs_writes_through() {
    source_tree
    serves /work/m bindfs -f /work/source /work/m
    echo new > m/new
    echo more >> m/one
    mkdir m/folder
    mv m/sub m/folder/moved
    ln m/new m/second
    ln -s new m/symbolic
    chmod 600 m/new
    truncate -s 2 m/folder/moved/two
    rm m/pipe
    equal "the names" "$(cd source && find . | sort | tr '\n' ' ')" ". ./folder ./folder/moved ./folder/moved/deep ./folder/moved/two ./link ./new ./one ./second ./symbolic "
    equal "appended" "$(tr '\n' ' ' < source/one)" "one more "
    equal "cut off" "$(cat source/folder/moved/two)" tw
    equal "links and mode" "$(stat -c '%h %a' source/new)" "2 600"
    umount m
    gone /work/m
}

scenario_bindfs_read_only() {
    source_tree
    serves /work/m bindfs -f -o ro /work/source /work/m
    refused 'Read-only file system' touch m/new
    refused 'Read-only file system' rm m/one
    equal "the content" "$(cat m/one)" one
    umount m
    gone /work/m
}

scenario_bindfs_forces_owners_and_rights() {
    source_tree
    serves /work/m bindfs -f --force-user=nobody --force-group=nogroup --perms=a=rX /work/source /work/m
    equal "owner and mode" "$(stat -c '%U %G %a' m/one)" "nobody nogroup 444"
    equal "below" "$(stat -c '%U %G %a' source/one)" "root root 640"
    umount m
    gone /work/m
}

scenario_bindfs_for_other_users() {
    source_tree
    chmod 644 source/one
    serves /work/m bindfs -f -o allow_other /work/source /work/m
    equal "as another user" "$(as_user cat m/one)" one
    refused 'Permission denied' as_user sh -c 'echo x > m/one'
    umount m
    gone /work/m
}

scenario_bindfs_runs_programs() {
    mkdir source
    cp /bin/busybox source/busybox
    serves /work/m bindfs -f /work/source /work/m
    equal "what the program says" "$(m/busybox echo from the mount)" "from the mount"
    refused 'Text file busy|busy' sh -c 'm/busybox sleep 1 & sleep 0.3; echo x > m/busybox'
    eventually umount m
    gone /work/m
}

scenario_bindfs_big_files_are_right() {
    mkdir source
    serves /work/m bindfs -f /work/source /work/m
    dd if=/dev/urandom of=m/big bs=64k count=128 status=none
    equal "written" "$(sha256sum < source/big)" "$(sha256sum < m/big)"
    dd if=m/big of=m/copy bs=4096 skip=1000 count=100 status=none
    equal "a part" "$(dd if=source/big bs=4096 skip=1000 count=100 status=none | sha256sum)" "$(sha256sum < source/copy)"
    umount m
    gone /work/m
}

scenario_bindfs_lists_a_thousand_files() {
    mkdir source
    (cd source && seq 1 1000 | xargs touch)
    serves /work/m bindfs -f /work/source /work/m
    equal "how many" "$(ls m | wc -l)" 1000
    rm -r m/[1-9][0-9]*
    equal "how many are left" "$(ls source | wc -l)" 9
    umount m
    gone /work/m
}

scenario_bindfs_dies_and_is_cleaned_up() {
    source_tree
    serves /work/m bindfs -f /work/source /work/m
    kill -KILL $server
    wait $server || true
    refused 'Transport endpoint is not connected' ls m
    umount m
    ls m
}

scenario_bindfs_busy_and_lazy() {
    source_tree
    serves /work/m bindfs -f /work/source /work/m
    exec 7< m/one
    refused 'target is busy' umount m
    umount -l m
    unmounted /work/m || fail "still a mount"
    equal "the open file" "$(cat <&7)" one
    exec 7<&-
    gone /work/m
}

scenario_bindfs_as_a_user_by_fusermount3() {
    mkdir source m
    echo text > source/file
    chown -R 1000:1000 source m
    user_serves /work/m bindfs -f --no-allow-other /work/source /work/m
    equal "the file" "$(as_user cat m/file)" text
    refused 'Permission denied' ls m
    matches "the options" "$(findmnt -n -o OPTIONS /work/m)" 'nosuid,nodev.*user_id=1000,group_id=1000'
    as_user fusermount3 -u /work/m
    gone /work/m
}

scenario_bindfs_in_a_user_namespace() {
    mkdir source m
    echo text > source/file
    chown -R 1000:1000 source m
    as_user unshare -Urm sh -c 'bindfs /work/source /work/m && cat /work/m/file && umount /work/m' > found
    equal "the file" "$(cat found)" text
    unmounted /work/m || fail "seen outside"
}

scenario_bindfs_carries_binds() {
    source_tree
    mkdir other
    echo other > other/file
    serves /work/m bindfs -f /work/source /work/m
    mount --bind other m/sub
    equal "the bind" "$(cat m/sub/file)" other
    refused 'target is busy' umount m
    mkdir copy
    mount --rbind m copy
    equal "the copy of the bind" "$(cat copy/sub/file)" other
    umount -R copy
    umount -R m
    gone /work/m
}
