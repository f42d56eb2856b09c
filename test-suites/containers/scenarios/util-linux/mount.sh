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

# Each kind as an option of a bind, whose source is a shared tree.
scenario_mount_bind_with_each_propagation_option() {
    tmpfs a
    mount --make-shared a
    tmpfs a/sub
    mkdir b
    local kind found=
    for kind in shared rshared slave rslave private rprivate unbindable runbindable; do
        mount -o "rbind,$kind" a b
        found="$found$kind: $(mounts /work/b | awk '{ print $3 }' | tr '\n' ' ')
"
        # Unmounting is propagated, too.
        mount --make-rprivate b
        umount -R b
    done
    # Those without an r are for the topmost mount alone.
    equal "the propagation of the copy and of the mount in it" "$found" "shared: shared shared 
rshared: shared shared 
slave: master shared 
rslave: master master 
private: private shared 
rprivate: private private 
unbindable: unbindable shared 
runbindable: unbindable unbindable 
"
    equal "the mounts of the source" "$(mounts /work/a | awk '{ print $1, $3 }')" "/work/a shared
/work/a/sub shared"
    umount -R a
}

# Every combination of the four options that take rights away: on a new mount, and put on and off again on a bind of it.
scenario_mount_with_all_combinations_of_restrictions() {
    mkdir a b
    local number options found
    for number in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
        options=rw
        [ $((number & 1)) = 0 ] || options=ro
        [ $((number & 2)) = 0 ] || options=$options,nosuid
        [ $((number & 4)) = 0 ] || options=$options,nodev
        [ $((number & 8)) = 0 ] || options=$options,noexec
        mount -t tmpfs -o "$options" tmpfs a
        mount --bind a b
        equal "a mount with $options, and its bind" "$(mounts /work | awk '{ print $2 }')" "$options,relatime
$options,relatime"
        mount -o remount,bind,rw,suid,dev,exec b
        equal "the bind with all given back" "$(mounts /work/b | awk '{ print $2 }')" rw,relatime
        mount -o "remount,bind,$options" b
        equal "the bind with $options" "$(mounts /work/b | awk '{ print $2 }')" "$options,relatime"
        umount b a
    done
}

scenario_mount_with_access_time_and_other_options() {
    mkdir a
    local given shown
    while read -r given shown; do
        mount -t tmpfs -o "$given" tmpfs a
        equal "the options of a mount with $given" "$(mounts /work/a | awk '{ print $2 }')" "$shown"
        umount a
    done <<'END'
defaults rw,relatime
relatime rw,relatime
noatime rw,noatime
strictatime rw
nodiratime rw,nodiratime,relatime
noatime,nodiratime rw,noatime,nodiratime
strictatime,nodiratime rw,nodiratime
nosymfollow rw,relatime,nosymfollow
noauto,user rw,nosuid,nodev,noexec,relatime
owner rw,nosuid,nodev,relatime
users,exec rw,nosuid,nodev,relatime
END
    mount -t tmpfs -o sync,dirsync tmpfs a
    matches "the row of a synchronous one" "$(grep ' /work/a ' /proc/self/mounts)" ' rw,sync,dirsync,relatime'
    umount a
    mount -t tmpfs -o lazytime,size=64k,nr_inodes=9,mode=711,uid=5,gid=6 tmpfs a
    matches "the row of one with options of tmpfs" "$(grep ' /work/a ' /proc/self/mountinfo)" ' - tmpfs tmpfs rw,lazytime,size=64k,nr_inodes=9,mode=711,uid=5,gid=6'
    equal "the folder" "$(stat -c '%a %u %g' a)" "711 5 6"
    umount a
    mount -t tmpfs -o nosymfollow tmpfs a
    ln -s /work a/link
    refused 'Too many levels' ls a/link/
    umount a
}

scenario_mount_takes_what_fstab_says() {
    cat > fstab <<'END'
# What a system might have.
tmpfs       /work/a         tmpfs   size=1m,nosuid              0 0
/work/a     /work/b         none    bind,x-mount.mkdir          0 0
tmpfs       /work/deep/down tmpfs   x-mount.mkdir=750,ro        0 0
tmpfs       /work/later     tmpfs   noauto,nodev                0 0
tmpfs       /work/missing   nosuch  nofail                      0 0
END
    mkdir a later missing
    mount --all --fstab fstab > words 2>&1 || true
    equal "the mounts" "$(mounts /work | awk '{ print $1, $2 }')" "/work/a rw,nosuid,relatime
/work/b rw,nosuid,relatime
/work/deep/down ro,relatime"
    mount --fstab fstab /work/later
    equal "the one that was left out" "$(mounts /work/later)" "/work/later rw,nodev,relatime shared tmpfs"
    mount --all --fstab fstab > words 2>&1 || true
    equal "the number of mounts after the second time" "$(mounts /work | wc -l)" 4
    umount later deep/down b a
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

scenario_umount_lazy_takes_the_tree() {
    tmpfs a
    tmpfs a/b
    tmpfs a/b/c
    (cd a/b/c && umount -l /work/a && echo text > file && cat file) > found
    equal "what a process that is still in it writes" "$(cat found)" text
    equal "the mounts" "$(mounts /work)" ""
    tmpfs a
    tmpfs a/b
    exec 5> a/b/file
    umount -l -R a
    equal "the mounts" "$(mounts /work)" ""
    exec 5>&-
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
    # Waiting for one thing at one place, and for a time.
    findmnt --poll=umount --first-only --noheadings --raw -o ACTION,TARGET /work/a > first &
    poller=$!
    # It sees an umount only if it looked while the mount was there.
    while kill -0 $poller 2> /dev/null; do
        mount -t tmpfs tmpfs a
        sleep 0.3
        umount a
        sleep 0.3
    done
    wait $poller
    equal "what the poller waited for" "$(cat first)" "umount /work/a"
    equal "what a poller sees when its time is over" "$(findmnt --poll --timeout 200 --noheadings /work/a)" ""
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

# What every other scenario takes for granted: the guest is mounted as systemd leaves a host.
scenario_host_looks_like_one() {
    local found expected
    found=$(findmnt -n -r -o TARGET,FSTYPE,PROPAGATION)
    for expected in "/ tmpfs shared" "/proc proc shared" "/sys sysfs shared" "/dev devtmpfs shared" "/dev/pts devpts shared" "/dev/shm tmpfs shared" \
        "/dev/mqueue mqueue shared" "/run tmpfs shared" "/sys/fs/cgroup cgroup2 shared"; do
        matches "the host's mounts" "$found" "^$expected\$"
    done
    # / was reached by switch_root: below it lies the initramfs, which nobody sees.
    lacks "the types" "$(awk '{ print $1 }' /proc/self/mounts)" '^rootfs$'
    equal "the controllers" "$(tr ' ' '\n' < /sys/fs/cgroup/cgroup.subtree_control | grep -cxE 'cpu|memory|pids')" 3
}
