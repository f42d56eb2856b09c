# Containers in user namespaces of their own, made by root, and those that a user makes who is not root.

# A bundle whose root file system belongs to the user that the container's root is.
user_namespace_bundle() {
    bundle
    chown -R 100000:100000 rootfs
    configure '.linux.namespaces += [{type: "user"}]
        | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}]
        | .linux.gidMappings = .linux.uidMappings'
}

scenario_user_namespace_maps_root() {
    user_namespace_bundle
    runs_shell 'id -u; cat /proc/self/uid_map | tr -s " "; readlink /proc/self/ns/user; echo x > /dev/null && echo usable'
    local found
    found=$($runtime run c1)
    matches "the user" "$found" '^0$'
    matches "the map" "$found" '^ 0 100000 65536$'
    lacks "the namespace" "$found" "$(readlink /proc/self/ns/user | sed 's/[][]/./g')"
    matches "/dev/null" "$found" '^usable$'
}

scenario_user_namespace_owns_what_it_writes() {
    user_namespace_bundle
    mkdir /work/volume
    chown 100000:100000 /work/volume
    touch /work/volume/of_the_host
    chmod 600 /work/volume/of_the_host
    with_mount /data /work/volume bind rbind rw
    runs_shell 'touch /data/mine; stat -c %u /data/of_the_host; cat /data/of_the_host 2>&1'
    local found
    found=$($runtime run c1 || true)
    equal "the new file's owner" "$(stat -c %u /work/volume/mine)" 100000
    matches "the host's file's owner" "$found" '^65534$'
    matches "what cat says" "$found" 'Permission denied'
}

scenario_user_namespace_processes_belong_to_its_user() {
    user_namespace_bundle
    starts c1
    equal "the user as the host sees it" "$(awk '/^Uid/ { print $2 }' "/proc/$(process c1)/status")" 100000
    equal "the user as exec sees it" "$($runtime exec c1 id -u)" 0
    removes c1
}

# Its mounts were locked when it was made: what the runtime hid stays hidden, and read-only stays read-only.
scenario_user_namespace_keeps_locked_mounts() {
    user_namespace_bundle
    mkdir /work/volume
    with_mount /data /work/volume bind rbind ro
    with_capability CAP_SYS_ADMIN
    runs_shell 'unshare -Um sh -c "mount -o remount,rw,bind /data; umount /data; umount /proc/kcore; touch /data/file" 2>&1; ls /data'
    local found
    found=$($runtime run c1 2>&1 || true)
    matches "what the container says" "$found" 'Read-only file system|can.t create|denied|not permitted'
    [ ! -e /work/volume/file ] || fail "the file was written"
}

# as_user COMMAND…: as user 1000, with the folder for its runtime's state that a login would make.
as_user() {
    setpriv --reuid 1000 --regid 1000 --clear-groups env XDG_RUNTIME_DIR=/run/user/1000 HOME=/work "$@"
}

rootless_bundle() {
    mkdir -p /run/user/1000 /work/bundle
    cd /work/bundle
    cp -a $rootfs rootfs
    chown -R 1000:1000 /work /run/user/1000
    as_user $runtime spec --rootless
    configure '.process.terminal = false'
    chown 1000:1000 config.json
}

scenario_rootless_run() {
    rootless_bundle
    runs_shell 'id -u; cat /proc/self/uid_map | tr -s " "; hostname; exit 4'
    local found status=0
    found=$(as_user $runtime run c1) || status=$?
    equal "the status" $status 4
    equal "what the container says" "$found" "0
 0 1000 1
$runtime"
}

scenario_rootless_volume_belongs_to_the_user() {
    rootless_bundle
    mkdir /work/volume
    chown 1000:1000 /work/volume
    with_mount /data /work/volume bind rbind rw
    runs_shell 'echo text > /data/file'
    as_user $runtime run c1
    equal "the file's owner" "$(stat -c %u /work/volume/file)" 1000
}

scenario_rootless_create_start_exec_delete() {
    rootless_bundle
    runs sleep 1000
    as_user $runtime create c1
    equal "the state" "$(as_user $runtime state c1 | jq -r .status)" created
    as_user $runtime start c1
    equal "the user in the container" "$(as_user $runtime exec c1 id -u)" 0
    as_user $runtime kill c1 KILL
    eventually rootless_is_stopped
    as_user $runtime delete c1
    refused 'does not exist|No such file' as_user $runtime state c1
}

rootless_is_stopped() {
    [ "$(as_user $runtime state c1 | jq -r .status)" = stopped ]
}

scenario_rootless_may_not_reach_other_s_files() {
    rootless_bundle
    mkdir -m 700 /work/secrets
    chown 0:0 /work/secrets
    with_mount /data /work/secrets bind rbind rw
    runs_shell 'ls /data && echo readable'
    lacks "what the container says" "$(as_user $runtime run c1 2>&1 || true)" readable
}
