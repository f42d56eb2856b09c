# What the scenarios of FUSE programs share: servers in the background, waited for until they serve and until they are gone.

# serves POINT COMMAND…: starts a server that stays in the foreground, and waits until POINT is a mount that answers. Its number
# is then in `$server`.
serves() {
    local point=$1
    shift
    mkdir -p "$point"
    "$@" > "/work/server-output" 2>&1 &
    server=$!
    local tries=0
    until mountpoint -q "$point" && ls "$point" > /dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 150 ] && kill -0 $server 2> /dev/null || fail "\`$*\` does not serve: $(tail -n 5 /work/server-output)"
        sleep 0.1
    done
}

# user_serves POINT COMMAND…: the same as user and group 1000, to whom POINT must belong, and as far as the server itself sees POINT
# as a mount.
user_serves() {
    local point=$1
    shift
    # Not by as_user, so that `$server` is the program itself and no shell.
    setpriv --reuid 1000 --regid 1000 --clear-groups "$@" > "/work/server-output" 2>&1 &
    server=$!
    local tries=0
    until grep -q " $point " /proc/$server/mountinfo 2> /dev/null; do
        tries=$((tries + 1))
        [ $tries -lt 150 ] && kill -0 $server 2> /dev/null || fail "\`$*\` does not serve: $(tail -n 5 /work/server-output)"
        sleep 0.1
    done
}

# unmounted POINT: no mount is there, not that of a dead server either, which mountpoint(1) would not see.
unmounted() {
    ! grep -q " $1 " /proc/self/mountinfo
}

# gone POINT: the mount is gone, and the server ended well.
gone() {
    local status=0
    wait $server || status=$?
    unmounted "$1" || fail "$1 is still a mount"
    equal "the server's status ($(tail -n 5 /work/server-output))" $status 0
}

# as_user COMMAND…: as user and group 1000, without any privilege.
as_user() {
    setpriv --reuid 1000 --regid 1000 --clear-groups "$@"
}
