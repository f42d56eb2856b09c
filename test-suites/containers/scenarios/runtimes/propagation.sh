# Propagation between a host and its containers, where / is shared, as systemd leaves it.

# root_propagation KIND RUNTIME=EXPECTED…: the propagation of / and of a volume without an option of its own, in a container whose
# rootfsPropagation is KIND. The volume's source is a shared mount of the host. (runc sets the propagation of the whole namespace
# before it mounts anything, crun that of the new root at the end.)
root_propagation() {
    bundle
    tmpfs /work/volume
    configure '.linux.rootfsPropagation = $kind' --arg kind "$1"
    with_mount /data /work/volume bind rbind
    starts c1
    local process
    process=$(process c1)
    local found
    found="$(propagation / "$process") $(propagation /data "$process")"
    takes_the_volume_away
    local expected
    for expected in "${@:2}"; do
        [ "${expected%%=*}" != $runtime ] || equal "the propagation of the root and the volume" "$found" "${expected#*=}"
    done
}

scenario_root_private() {
    root_propagation private runc="private shared" crun="private shared"
}

scenario_root_rprivate() {
    root_propagation rprivate runc="private private" crun="private private"
}

scenario_root_slave() {
    root_propagation slave runc="master shared" crun="private shared"
}

scenario_root_rslave() {
    root_propagation rslave runc="master master" crun="private master"
}

scenario_root_shared() {
    root_propagation shared runc="private shared" crun="shared shared"
}

scenario_root_rshared() {
    root_propagation rshared runc="private shared" crun="shared shared"
}

# Each option on a volume of its own, all in one container; the host's side is shared.
scenario_volumes_of_each_propagation() {
    bundle
    local kind
    # runc: nothing becomes private or slave before the volumes are bound. crun: nothing changes them afterwards.
    configure '.linux.rootfsPropagation = if $runtime == "runc" then "rshared" else "private" end' --arg runtime $runtime
    for kind in private rprivate slave rslave shared rshared unbindable runbindable; do
        tmpfs "/work/$kind"
        with_mount "/data/$kind" "/work/$kind" bind rbind "$kind"
    done
    starts c1
    local found
    found=$(mounts /data "$(process c1)" | awk '{ print $1, $3 }')
    removes c1
    umount /work/{private,rprivate,slave,rslave,shared,rshared,unbindable,runbindable}
    equal "the volumes' propagation" "$found" "/data/private private
/data/rprivate private
/data/rshared shared
/data/rslave master
/data/runbindable unbindable
/data/shared shared
/data/slave master
/data/unbindable unbindable"
}

# host_mounts_after_start ROOT OPTION: whether a container sees a mount that the host makes in its volume after the start.
host_mounts_after_start() {
    bundle
    tmpfs /work/volume
    configure '.linux.rootfsPropagation = $kind' --arg kind "$1"
    with_mount /data /work/volume bind rbind "$2"
    starts c1
    tmpfs /work/volume/later
    echo text > /work/volume/later/file
    seen=$($runtime exec c1 sh -c 'cat /data/later/file 2>&1' || true)
    rows=$(mounts /data "$(process c1)")
}

takes_the_volume_away() {
    removes c1
    umount -R /work/volume
}

scenario_host_mount_after_start_reaches_rslave() {
    host_mounts_after_start rslave rslave
    equal "what the container reads" "$seen" text
    equal "its mounts" "$(awk '{ print $1, $3, $4 }' <<<"$rows")" "/data master tmpfs
/data/later master tmpfs"
    # And the end of it, too.
    umount /work/volume/later
    equal "its mounts" "$(mounts /data "$(process c1)" | awk '{ print $1 }')" /data
    takes_the_volume_away
}

scenario_host_mount_after_start_does_not_reach_rprivate() {
    host_mounts_after_start rslave rprivate
    matches "what the container says" "$seen" 'No such file'
    equal "its mounts" "$(awk '{ print $1, $3 }' <<<"$rows")" "/data private"
    takes_the_volume_away
}

scenario_host_mount_after_start_reaches_rshared() {
    host_mounts_after_start rshared rshared
    equal "what the container reads" "$seen" text
    equal "its mounts" "$(awk '{ print $1, $3 }' <<<"$rows")" "/data shared
/data/later shared"
    takes_the_volume_away
}

# container_mounts ROOT OPTION: mounts a tmpfs in the volume from inside a container; sets `rows`, the volume's mounts on the host.
container_mounts() {
    bundle
    tmpfs /work/volume
    mkdir /work/volume/inner
    configure '.linux.rootfsPropagation = $kind' --arg kind "$1"
    with_mount /data /work/volume bind rbind "$2"
    with_capability CAP_SYS_ADMIN
    runs_shell 'mount -t tmpfs inner /data/inner && echo inside > /data/inner/file && sleep 1000'
    starts_as_configured c1
    eventually has_mount /data/inner "$(process c1)"
    rows=$(mounts /work/volume | awk '{ print $1, $3 }')
}

has_mount() {
    [ -n "$(mounts "$1" "$2")" ]
}

scenario_container_s_mount_does_not_reach_the_host_from_rslave() {
    container_mounts rslave rslave
    equal "the host's mounts" "$rows" "/work/volume shared"
    [ ! -e /work/volume/inner/file ] || fail "the file is seen on the host"
    takes_the_volume_away
}

scenario_container_s_mount_does_not_reach_the_host_from_rprivate() {
    container_mounts rprivate rprivate
    equal "the host's mounts" "$rows" "/work/volume shared"
    takes_the_volume_away
}

scenario_container_s_mount_reaches_the_host_from_rshared() {
    container_mounts rshared rshared
    equal "the host's mounts" "$rows" "/work/volume shared
/work/volume/inner shared"
    removes c1
    # The container's end takes only its own copy away.
    matches "the host's mounts" "$(mounts /work/volume)" '^/work/volume/inner '
    umount -R /work/volume
}

scenario_one_container_s_mount_reaches_another_through_the_host() {
    container_mounts rshared rshared
    bundle /work/other
    configure '.linux.rootfsPropagation = "rslave"'
    with_mount /data /work/volume bind rbind rslave
    starts c2
    local process
    process=$(process c2)
    matches "the other's mounts" "$(mounts /data "$process")" '^/data/inner '
    $runtime exec c1 umount /data/inner
    equal "the other's mounts" "$(mounts /data "$process" | awk '{ print $1 }')" /data
    removes c2
    takes_the_volume_away
}

# A container that a host's unmount would reach keeps nothing busy there.
scenario_host_unmount_reaches_rslave() {
    bundle
    tmpfs /work/volume
    tmpfs /work/volume/sub
    configure '.linux.rootfsPropagation = "rslave"'
    with_mount /data /work/volume bind rbind rslave
    starts c1
    equal "the container's mounts" "$(mounts /data "$(process c1)" | awk '{ print $1 }')" "/data
/data/sub"
    umount /work/volume/sub
    equal "the container's mounts" "$(mounts /data "$(process c1)" | awk '{ print $1 }')" /data
    takes_the_volume_away
}
