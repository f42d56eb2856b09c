# mount, umount, findmnt and mountpoint of util-linux.

scenario_mount_makes_each_propagation() {
    tmpfs a
    mount --make-private a
    equal "private" "$(propagation /work/a)" private
    mount --make-shared a
    equal "shared" "$(propagation /work/a)" shared
    tmpfs b
    mount --make-shared b
    mkdir copy
    mount --bind b copy
    mount --make-slave copy
    equal "slave" "$(propagation /work/copy)" master
    mount --make-shared copy
    equal "slave and shared" "$(propagation /work/copy)" shared,master
    mount --make-private copy
    mount --make-unbindable copy
    equal "unbindable" "$(propagation /work/copy)" unbindable
    mkdir other
    refused 'wrong fs type|Invalid argument' mount --bind copy other
    umount copy a b
}

scenario_mount_makes_trees_propagate() {
    tmpfs a
    tmpfs a/b
    tmpfs a/b/c
    local kind
    mount --make-rprivate a
    equal "rprivate" "$(mounts /work/a | awk '{ print $3 }' | sort -u)" private
    mount --make-rshared a
    equal "rshared" "$(mounts /work/a | awk '{ print $3 }' | sort -u)" shared
    mkdir copy
    mount --rbind a copy
    mount --make-rslave copy
    equal "rslave" "$(mounts /work/copy)" "/work/copy rw,relatime master tmpfs
/work/copy/b rw,relatime master tmpfs
/work/copy/b/c rw,relatime master tmpfs"
    umount -R copy
    mount --make-runbindable a
    equal "runbindable" "$(mounts /work/a | awk '{ print $3 }' | sort -u)" unbindable
    umount -R a
}

scenario_mount_with_propagation_as_an_option() {
    mkdir a
    mount -t tmpfs -o size=1m,slave tmpfs a
    equal "a slave of nobody" "$(propagation /work/a)" private
    umount a
    mount -t tmpfs -o shared,nosuid tmpfs a
    equal "the mount" "$(mounts /work/a)" "/work/a rw,nosuid,relatime shared tmpfs"
    umount a
    mount -t tmpfs --make-unbindable tmpfs a
    equal "the mount" "$(propagation /work/a)" unbindable
    umount a
}

scenario_mount_bind_and_rbind() {
    tmpfs a
    tmpfs a/b
    echo deep > a/b/file
    mkdir one tree
    mount --bind a one
    mount --rbind a tree
    [ ! -e one/b/file ] || fail "bind took the submount along"
    equal "the file below rbind" "$(cat tree/b/file)" deep
    equal "the mounts" "$(mounts /work/tree | awk '{ print $1 }')" "/work/tree
/work/tree/b"
    umount one
    umount -R tree a
}

scenario_mount_bind_read_only_at_once() {
    mkdir a b
    mount -o bind,ro a b
    equal "the options" "$(mounts /work/b | awk '{ print $2 }')" ro,relatime
    refused 'Read-only file system' touch b/file
    touch a/file
    mount -o remount,bind,rw b
    touch b/other
    umount b
}

scenario_mount_remounts_the_mount_or_the_file_system() {
    tmpfs a -o size=1m
    mkdir b
    mount --bind a b
    mount -o remount,bind,ro,nosuid,noexec b
    equal "one mount" "$(mounts /work/b | awk '{ print $2 }')" ro,nosuid,noexec,relatime
    equal "the other" "$(mounts /work/a | awk '{ print $2 }')" rw,relatime
    mount -o remount,size=2m a
    matches "the file system" "$(grep ' /work/a ' /proc/self/mountinfo)" 'size=2048k'
    mount -o remount,ro a
    refused 'Read-only file system' touch a/file
    umount b a
}

scenario_mount_move() {
    # The target's parent must not be shared, or the move is refused.
    tmpfs top
    mount --make-private top
    mkdir top/from top/to
    mount -t tmpfs tmpfs top/from
    mkdir top/from/sub
    mount -t tmpfs tmpfs top/from/sub
    echo text > top/from/sub/file
    mount --move top/from top/to
    equal "the file" "$(cat top/to/sub/file)" text
    equal "the mounts" "$(mounts /work/top | awk '{ print $1 }')" "/work/top
/work/top/to
/work/top/to/sub"
    mount --make-shared top
    mkdir top/again
    refused 'moving a mount residing under a shared mount' mount --move top/to top/again
    umount -R top
}

scenario_mount_lists_and_names_what_is_wrong() {
    tmpfs a -o nodev,noatime
    matches "the list" "$(mount -t tmpfs)" '^tmpfs on /work/a type tmpfs \(rw,nodev,noatime'
    refused 'unknown filesystem type' mount -t wrongfs /dev/null a
    refused 'mount point does not exist' mount -t tmpfs none no/such/folder
    refused 'special device no/such does not exist' mount --bind no/such a
    umount a
}

scenario_umount_busy_lazy_and_recursive() {
    tmpfs a
    tmpfs a/b
    refused 'target is busy' umount a
    umount -R a
    equal "the mounts" "$(mounts /work)" ""
    tmpfs a
    exec 5> a/file
    refused 'target is busy' umount a
    umount -l a
    equal "the mounts" "$(mounts /work)" ""
    echo "still written" >&5
    exec 5>&-
    refused 'not mounted' umount a
}

scenario_umount_takes_propagated_copies_along() {
    tmpfs a
    mount --make-shared a
    mkdir b
    mount --bind a b
    mkdir a/sub
    mount -t tmpfs tmpfs a/sub
    equal "the mounts" "$(mounts /work | awk '{ print $1 }')" "/work/a
/work/a/sub
/work/b
/work/b/sub"
    umount b/sub
    equal "the mounts" "$(mounts /work | awk '{ print $1 }')" "/work/a
/work/b"
    umount a b
}

scenario_findmnt_shows_the_tree() {
    tmpfs a
    tmpfs a/b
    tmpfs a/b/c
    equal "the tree" "$(findmnt -R --ascii -n -o TARGET /work/a)" '/work/a
`-/work/a/b
  `-/work/a/b/c'
    umount -R a
}

scenario_findmnt_shows_propagation_and_optional_fields() {
    tmpfs a
    mount --make-shared a
    mkdir b
    mount --bind a b
    mount --make-slave b
    touch a/file
    local group
    group=$(awk '$5 == "/work/a" { print $7 }' /proc/self/mountinfo)
    equal "the shared one" "$(findmnt -n -r -o TARGET,PROPAGATION,OPT-FIELDS /work/a)" "/work/a shared $group"
    equal "its slave" "$(findmnt -n -r -o TARGET,PROPAGATION,OPT-FIELDS /work/b)" "/work/b private,slave ${group/shared/master}"
    equal "the type" "$(findmnt -n -o FSTYPE --target /work/b/file)" tmpfs
    exits 1 findmnt /work/nothing
    umount a b
}

scenario_findmnt_polls() {
    mkdir a
    findmnt --poll --noheadings --raw -o ACTION,TARGET > actions &
    local poller=$!
    sleep 1
    mount -t tmpfs tmpfs a
    eventually grep -q '^mount /work/a$' actions
    mount -o remount,ro a
    eventually grep -q '^remount /work/a$' actions
    umount a
    eventually grep -q '^umount /work/a$' actions
    kill $poller
}

scenario_mountpoint_tells() {
    tmpfs a
    mkdir b a/c
    exits 0 mountpoint -q /work/a
    exits 32 mountpoint -q /work/b
    exits 32 mountpoint -q /work/a/c
    equal "the device" "$(mountpoint -d /work/a)" "$(awk '$5 == "/work/a" { print $3 }' /proc/self/mountinfo)"
    umount a
}
