# What is mounted in a container: its root by pivot_root, volumes, their options, and what lies on the host's side of them.

scenario_root_is_pivoted_and_the_host_is_gone() {
    bundle
    echo secret > /work/secret
    runs_shell 'cat /proc/self/mountinfo; echo; ls -d /../* /work /srv 2>&1 || true'
    local found
    found=$($runtime run c1)
    # Nothing of the host's own table is left: not its root, not what is below it.
    lacks "the container's mounts and folders" "$found" 'cgroup2 /sys/fs/cgroup rw|/work/secret|^/\.\./srv'
    equal "the number of roots" "$(awk '$5 == "/"' <<<"$found" | wc -l)" 1
    equal "what the root is on the host" "$(awk '$5 == "/" { print $4 }' <<<"$found")" /work/bundle/rootfs
}

scenario_mounts_of_the_plain_configuration() {
    bundle
    runs_shell 'cat /proc/self/mountinfo'
    local found
    found=$($runtime run c1 | awk '{ for (f = 7; $f != "-"; f++); print $5, $(f + 1) }')
    local expected
    for expected in "/proc proc" "/dev tmpfs" "/dev/pts devpts" "/dev/shm tmpfs" "/dev/mqueue mqueue" "/sys sysfs" "/sys/fs/cgroup cgroup2"; do
        matches "the container's mounts" "$found" "^$expected\$"
    done
}

scenario_read_only_root_refuses_writing() {
    bundle
    runs_shell 'touch /file 2>&1; touch /dev/shm/file && echo shm is writable; grep " / / \| /work/bundle/rootfs / " /proc/self/mountinfo | cut -d" " -f6'
    local found
    found=$($runtime run c1)
    matches "what the container says" "$found" 'Read-only file system'
    matches "what the container says" "$found" 'shm is writable'
    matches "the root's options" "$found" '^ro'
    [ ! -e rootfs/file ] || fail "the file is there"
}

scenario_writable_root_is_the_bundle_s() {
    bundle
    configure '.root.readonly = false'
    runs_shell 'echo text > /file'
    $runtime run c1
    equal "the file" "$(cat rootfs/file)" text
}

scenario_volume_is_written_by_both_sides() {
    bundle
    mkdir /work/volume
    echo "from the host" > /work/volume/before
    with_mount /data /work/volume bind rbind rw
    runs_shell 'cat /data/before > /data/copy; until [ -e /data/after ]; do usleep 50000; done; cat /data/after > /data/answer; sleep 1000'
    starts_as_configured c1
    eventually test -s /work/volume/copy
    equal "what the container read" "$(cat /work/volume/copy)" "from the host"
    echo "while it runs" > /work/volume/after
    eventually test -s /work/volume/answer
    equal "what the container answered" "$(cat /work/volume/answer)" "while it runs"
    $runtime exec c1 sh -c 'rm /data/before'
    [ ! -e /work/volume/before ] || fail "the file is still there"
    removes c1
    [ -e /work/volume/answer ] || fail "the volume went with the container"
}

scenario_bind_leaves_submounts_out_and_rbind_takes_them() {
    bundle
    tmpfs /work/volume
    tmpfs /work/volume/sub
    echo deep > /work/volume/sub/file
    with_mount /one /work/volume bind bind rw
    with_mount /tree /work/volume bind rbind rw
    runs_shell 'ls /one/sub; cat /tree/sub/file'
    equal "what the container sees" "$($runtime run c1)" deep
    umount -R /work/volume
}

scenario_read_only_volume_is_read_only_for_the_container_alone() {
    bundle
    mkdir /work/volume
    with_mount /data /work/volume bind rbind ro
    runs_shell 'touch /data/file 2>&1 || touch /data/other; cat /proc/self/mountinfo'
    local found
    found=$($runtime run c1 2>&1) || true
    matches "what the container says" "$found" 'Read-only file system'
    matches "the volume's row" "$found" ' /data ro[, ]'
    touch /work/volume/file
}

scenario_read_only_does_not_reach_submounts() {
    bundle
    tmpfs /work/volume
    tmpfs /work/volume/sub
    with_mount /data /work/volume bind rbind ro
    runs_shell 'touch /data/file; touch /data/sub/file && echo below'
    matches "what the container says" "$($runtime run c1 2>&1)" '^below$'
    [ -e /work/volume/sub/file ] || fail "the file did not reach the host"
    umount -R /work/volume
}

scenario_file_is_bound_onto_a_file() {
    bundle
    echo host > /work/file
    with_mount /etc/settings /work/file bind bind ro
    runs_shell 'cat /etc/settings; echo x > /etc/settings'
    local found
    found=$($runtime run c1 2>&1) || true
    matches "what the container reads" "$found" '^host$'
    matches "what the container says" "$found" 'Read-only file system'
    equal "the file" "$(cat /work/file)" host
}

scenario_volume_options_hold() {
    bundle
    mkdir /work/volume
    cp /bin/busybox /work/volume/program
    mknod /work/volume/null c 1 3
    with_mount /data /work/volume bind rbind nosuid nodev noexec
    runs_shell '/data/program true; cat /data/null; grep " /data " /proc/self/mountinfo'
    local found
    found=$($runtime run c1 2>&1)
    equal "the number of refusals" "$(grep -c 'Permission denied' <<<"$found")" 2
    matches "the volume's row" "$found" ' /data rw,nosuid,nodev,noexec'
}

scenario_tmpfs_with_size_and_mode() {
    bundle
    with_mount /cache tmpfs tmpfs nosuid size=64k mode=700
    runs_shell 'stat -c %a /cache; dd if=/dev/zero of=/cache/file bs=1k count=100 2>&1; stat -c %s /cache/file'
    local found
    found=$($runtime run c1 2>&1)
    matches "the folder's mode" "$found" '^700$'
    matches "what dd says" "$found" 'No space left on device'
    matches "the file's size" "$found" '^65536$'
}

scenario_missing_source_is_told_and_leaves_nothing() {
    bundle
    with_mount /data /work/no/such/folder bind rbind rw
    refused '/work/no/such/folder.*([Nn]o such file)' $runtime run c1
    forgotten c1
}

scenario_missing_mount_point_is_made() {
    bundle
    mkdir /work/volume
    echo text > /work/volume/file
    with_mount /deep/down/data /work/volume bind rbind rw
    runs cat /deep/down/data/file
    equal "the file" "$($runtime run c1)" text
    [ -d rootfs/deep/down/data ] || fail "the mount point is not in the root file system"
    [ ! -e rootfs/deep/down/data/file ] || fail "the volume is mounted on the host's side"
}

# A link in the root file system that points out of it leads nowhere but into it.
scenario_mount_point_behind_a_link_stays_inside() {
    bundle
    mkdir /work/volume /work/outside
    echo text > /work/volume/file
    mkdir -p rootfs/work/outside
    ln -s ../../../../../../work/outside rootfs/link
    with_mount /link/data /work/volume bind rbind rw
    runs cat /link/data/file
    equal "the file" "$($runtime run c1)" text
    equal "what lies outside" "$(ls /work/outside)" ""
    [ -d rootfs/work/outside/data ] || fail "the mount point is not inside the root file system"
}

scenario_masked_paths_are_empty() {
    bundle
    mkdir rootfs/secrets
    echo secret > rootfs/secrets/file
    echo secret > rootfs/secret
    configure '.linux.maskedPaths += ["/secrets", "/secret"]'
    runs_shell 'ls /secrets; wc -c < /secret; ls -A /proc/acpi /proc/scsi 2>/dev/null | grep -v :; [ ! -e /proc/keys ] || wc -c < /proc/keys; cat /proc/self/mountinfo'
    local found
    found=$($runtime run c1 2>&1)
    lacks "what the container sees" "$found" '^file$'
    matches "the masked file's size" "$found" '^0$'
    lacks "the masked files' sizes" "$found" '^[1-9][0-9]*$'
    matches "the masked folder's row" "$found" ' /secrets ro,.* - tmpfs '
    matches "the masked file's row" "$found" ' /null /secret '
    equal "the file" "$(cat rootfs/secret)" secret
}

scenario_read_only_paths_are_readable_and_no_more() {
    bundle
    configure '.root.readonly = false | .linux.readonlyPaths += ["/etc"]'
    runs_shell 'cat /etc/passwd > /dev/null && echo readable; touch /etc/file; echo x > /proc/sys/kernel/domainname; touch /tmp/file && echo elsewhere; cat /proc/self/mountinfo'
    local found
    found=$($runtime run c1 2>&1)
    matches "what the container says" "$found" '^readable$'
    matches "what the container says" "$found" '^elsewhere$'
    equal "the number of refusals" "$(grep -c 'Read-only file system' <<<"$found")" 2
    matches "the row of /proc/sys" "$found" ' /proc/sys ro'
    matches "the row of /etc" "$found" ' /etc ro'
}

scenario_two_containers_share_a_volume() {
    bundle
    tmpfs /work/volume
    with_mount /data /work/volume bind rbind rw
    starts c1
    starts c2
    $runtime exec c1 sh -c 'echo hello > /data/file'
    equal "what the other container reads" "$($runtime exec c2 cat /data/file)" hello
    removes c1
    equal "what the other container reads" "$($runtime exec c2 cat /data/file)" hello
    removes c2
    umount /work/volume
}

scenario_ten_volumes() {
    bundle
    local number
    for number in 0 1 2 3 4 5 6 7 8 9; do
        mkdir "/work/volume$number"
        echo "$number" > "/work/volume$number/file"
        with_mount "/data/$number" "/work/volume$number" bind rbind rw
    done
    runs_shell 'cat /data/*/file | tr "\n" " "; for number in 0 1 2 3 4 5 6 7 8 9; do echo new > /data/$number/file; done'
    equal "what the container reads" "$($runtime run c1)" "0 1 2 3 4 5 6 7 8 9 "
    equal "what it wrote" "$(cat /work/volume*/file | sort | uniq -c | tr -s ' ')" " 10 new"
}
