# fusermount3: how users without privilege mount and unmount, and what it does not let them do.

# users_tree: a folder and a mountpoint of user 1000.
users_tree() {
    mkdir -p source m
    echo text > source/file
    chown -R 1000:1000 source m
}

scenario_fusermount3_unmounts_only_ones_own() {
    users_tree
    user_serves /work/m bindfs -f --no-allow-other /work/source /work/m
    refused 'not permitted|not found|Permission denied|mount is not owned' setpriv --reuid 1001 --regid 1001 --clear-groups fusermount3 -u /work/m
    equal "it is still there" "$(as_user cat m/file)" text
    as_user fusermount3 -u /work/m
    gone /work/m
}

scenario_fusermount3_detaches_a_busy_mount() {
    users_tree
    user_serves /work/m bindfs -f --no-allow-other /work/source /work/m
    setpriv --reuid 1000 --regid 1000 --clear-groups sh -c 'exec 7< /work/m/file; echo > /work/source/ready; sleep 1; cat <&7 > /work/source/found' &
    local reader=$!
    eventually test -e source/ready
    refused 'busy' as_user fusermount3 -u /work/m
    as_user fusermount3 -uz /work/m
    unmounted /work/m || fail "still a mount"
    wait $reader
    equal "the open file" "$(cat source/found)" text
    gone /work/m
}

scenario_fusermount3_needs_its_setuid_bit() {
    users_tree
    user_serves /work/m bindfs -f --no-allow-other /work/source /work/m
    cp /usr/bin/fusermount3 plain
    chmod 755 plain
    refused 'not permitted' as_user /work/plain -u /work/m
    as_user fusermount3 -u /work/m
    gone /work/m
}

scenario_fusermount3_refuses_a_folder_of_others() {
    users_tree
    chown 0:0 m
    refused 'user has no write access' as_user bindfs -f --no-allow-other /work/source /work/m
    equal "the mounts" "$(mounts /work/m)" ""
}

scenario_fusermount3_lets_others_in_when_the_owner_of_the_system_does() {
    users_tree
    refused 'user_allow_other' as_user bindfs -f -o allow_other /work/source /work/m
    cp /etc/fuse.conf saved.conf
    echo user_allow_other >> /etc/fuse.conf
    user_serves /work/m bindfs -f -o allow_other /work/source /work/m
    cp saved.conf /etc/fuse.conf
    equal "as root" "$(cat m/file)" text
    as_user fusermount3 -u /work/m
    gone /work/m
}
