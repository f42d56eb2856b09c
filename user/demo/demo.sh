#!/bin/sh
# A demonstration of mount namespaces and propagation, for busybox's shell and commands, run by root on any Linux.
#
# Four scenes. Each shows the mount tables that matter, changes something, shows them again, and checks what it claims.
# The last line says whether all came out right, and so does the exit status. The output is the same on every kernel,
# but for the numbers of mounts (#12) and of peer groups (shared:3).

# A mount namespace of our own, so that nothing is left behind; private, so that nothing leaks out of it meanwhile.
if [ -z "$DEMO_NAMESPACE" ]; then
    mkdir -p /demo
    DEMO_NAMESPACE=yes exec unshare -m --propagation private /bin/sh "$0"
fi

checks=0
wrong=0

title() { printf '\n=== %s\n\n' "$1"; }
say() { printf '%s\n' "$@"; }

# Shows a command, then runs it.
run() {
    echo "  \$ $*"
    "$@"
}

# Shows a command and where it is run, then runs it in the namespace of process $2, which is called $1.
run_in() {
    name=$1 process=$2
    shift 2
    echo "  $name \$ $*"
    nsenter -t "$process" -m "$@"
}

# check CLAIM COMMAND…: the command's status tells whether the claim is true.
check() {
    claim=$1
    shift
    checks=$((checks + 1))
    if "$@" >/dev/null 2>&1; then
        echo "  right: $claim"
    else
        echo "  WRONG: $claim"
        wrong=$((wrong + 1))
    fi
}

not() { ! "$@"; }

# sees PROCESS FILE: whether the file is there in that process' mount namespace; `self` is this one.
sees() {
    case $1 in
        self) test -e "$2" ;;
        *) nsenter -t "$1" -m test -e "$2" ;;
    esac
}

# rows PROCESS FOLDER: that process' mounts at or below the folder, a row each, ordered by path.
rows() {
    awk -v below="$2" '
        below == "/" || $5 == below || index($5, below "/") == 1 {
            kind = 0
            propagation = ""
            for (field = 7; field <= NF; field++) {
                if ($field == "-") { kind = $(field + 1); break }
                propagation = propagation " " $field
            }
            if (propagation == "") propagation = " private"
            shows = kind
            if ($4 != "/") shows = shows " " $4
            printf "    %-6s %-6s %-26s %-18s%s\n", "#" $1, "#" $2, $5, shows, propagation
        }' "/proc/$1/mountinfo" | sort -s -b -k 3,3
}

# table NAME PROCESS FOLDER: the same with a head line.
table() {
    echo "  The mounts of $1 at or below $3:"
    printf '    %-6s %-6s %-26s %-18s %s\n' mount parent 'mounted at' 'shows' 'propagation'
    found=$(rows "$2" "$3")
    say "${found:-    (none)}" ''
}

# new_namespace PROPAGATION: a process that sleeps in a copy of this namespace; its number goes to $namespace. All mounts
# of the copy are made private, slave or shared; the last leaves a shared mount in the peer group that it is in.
new_namespace() {
    unshare -m --propagation "$1" sleep 1000 </dev/null &
    namespace=$!
    sleepers="$sleepers $namespace"
    # The copy and its propagation are made before sleep is started, so once the name is there, so is the copy.
    tries=0
    until grep -q sleep "/proc/$namespace/cmdline" && ! grep -q unshare "/proc/$namespace/cmdline"; do
        tries=$((tries + 1))
        [ "$tries" -lt 200 ] || { echo "demonstration: no new namespace could be made"; exit 1; }
        usleep 20000
    done
}

end_sleepers() {
    for sleeper in $sleepers; do
        kill "$sleeper"
        wait "$sleeper" 2>/dev/null
    done
    sleepers=
}

count_of() { rows "$1" "$2" | wc -l; }
count_is() { [ "$(count_of "$1" "$2")" -eq "$3" ]; }

mount -t tmpfs demo /demo
sleepers=

say 'A mount namespace is a process'"'"' own view of which filesystem is mounted where. Propagation decides which' \
    'mounts made in one namespace show up in others. Below, "ours" is the namespace of this script; the others are' \
    'copies of it, each kept alive by a process that sleeps in it. A mount is numbered #n and sits on its parent.'

# ----------------------------------------------------------------------------------------------------------------------
title '(a) Under a private /: what is mounted stays in one namespace'

mkdir -p /demo/a/photos /demo/a/album
touch /demo/a/photos/lake
run mount --make-rprivate /
new_namespace private
other=$namespace
say '  Another namespace, "other", was now copied from ours.' '' 'Before:'
table ours self /
table other "$other" /
run mount --bind /demo/a/photos /demo/a/album
say '' 'After:'
table ours self /
table other "$other" /
check 'we see the photos in the album' sees self /demo/a/album/lake
check 'other has the folder' sees "$other" /demo/a/album
check 'other sees no photos in it: the bind did not propagate' not sees "$other" /demo/a/album/lake
end_sleepers
umount /demo/a/album

# ----------------------------------------------------------------------------------------------------------------------
title '(b) A shared mount: its peers send to each other; a slave receives and does not send'

mount -t tmpfs run /run
mkdir -p /run/disk /run/usb /run/net /run/tape
touch /run/disk/file
run mount --make-shared /run
new_namespace shared
peer=$namespace
new_namespace slave
slave=$namespace
say '  Two namespaces were copied from ours: in "peer" /run is in the same peer group as our /run (shared:N in both),' \
    '  in "slave" it was made a slave of that group (master:N).' '' 'Before:'
table ours self /run
table peer "$peer" /run
table slave "$slave" /run
run mount --bind /run/disk /run/usb
run_in peer "$peer" mount --bind /run/disk /run/net
run_in slave "$slave" mount --bind /run/disk /run/tape
say '' 'After:'
table ours self /run
table peer "$peer" /run
table slave "$slave" /run
check 'our bind on /run/usb reached peer' sees "$peer" /run/usb/file
check 'our bind on /run/usb reached slave' sees "$slave" /run/usb/file
check 'the bind that peer made on /run/net reached us' sees self /run/net/file
check 'the bind that peer made on /run/net reached slave' sees "$slave" /run/net/file
check 'slave sees its own bind on /run/tape' sees "$slave" /run/tape/file
check 'it did not reach us' not sees self /run/tape/file
check 'it did not reach peer' not sees "$peer" /run/tape/file
run umount /run/usb
check 'an unmount propagates too: /run/usb is empty in peer' not sees "$peer" /run/usb/file
check 'and in slave' not sees "$slave" /run/usb/file
end_sleepers
umount -l /run

# ----------------------------------------------------------------------------------------------------------------------
title '(c) A recursive bind: the mounts inside a tree come along'

mkdir -p /demo/c
mount -t tmpfs project /demo/c
run mount --make-shared /demo/c
new_namespace shared
peer=$namespace
mkdir -p /demo/c/tree/src /demo/c/tree/build /demo/c/plain /demo/c/whole
mount -t tmpfs src /demo/c/tree/src
mount -t tmpfs build /demo/c/tree/build
mkdir /demo/c/tree/build/cache
mount -t tmpfs cache /demo/c/tree/build/cache
touch /demo/c/tree/build/cache/object
say '  Below /demo/c/tree are three mounts. They were made after "peer" was copied, and reached it all the same.' \
    '' 'Before:'
table ours self /demo/c
table peer "$peer" /demo/c
run mount --bind /demo/c/tree /demo/c/plain
run mount --rbind /demo/c/tree /demo/c/whole
say '' 'After:'
table ours self /demo/c
table peer "$peer" /demo/c
check 'the plain bind is one mount' count_is self /demo/c/plain 1
check 'the recursive bind is four: the tree and the three in it' count_is self /demo/c/whole 4
check 'through the recursive one the innermost file is there' sees self /demo/c/whole/build/cache/object
check 'through the plain one it is not' not sees self /demo/c/plain/build/cache/object
check 'peer has all four as well' count_is "$peer" /demo/c/whole 4
check 'and sees the innermost file' sees "$peer" /demo/c/whole/build/cache/object
end_sleepers
umount -l /demo/c

# ----------------------------------------------------------------------------------------------------------------------
title '(d) pivot_root: a namespace gets another root, and the old one is taken away'

mkdir /demo/d
new_namespace private
inside=$namespace
before=$(rows self /)
say '  The namespace "inside" is about to get a tmpfs for its root, as a container does.' '' 'Before:'
table ours self /
table inside "$inside" /
run_in inside "$inside" mount -t tmpfs newroot /demo/d
nsenter -t "$inside" -m sh -c 'cd /demo/d && mkdir bin proc old && cp /bin/busybox bin/ && echo welcome > hello'
run_in inside "$inside" mount -t proc proc /demo/d/proc
run_in inside "$inside" pivot_root /demo/d /demo/d/old
say '' 'After pivot_root the tmpfs is the root, and the old root, with all that is mounted in it, is at /old:'
table inside "$inside" /
check 'the root is the new one' nsenter -t "$inside" -m /bin/busybox grep -q welcome /hello
check 'the old root is below /old' nsenter -t "$inside" -m /bin/busybox test -d /old/demo
run_in inside "$inside" /bin/busybox umount -l /old
say '' 'After:'
table ours self /
table inside "$inside" /
check 'two mounts are left inside' count_is "$inside" / 2
check '/old is an empty folder' nsenter -t "$inside" -m /bin/busybox rmdir /old
check 'our own table is what it was' test "$before" = "$(rows self /)"
end_sleepers

echo
if [ "$wrong" -eq 0 ]; then
    echo "demonstration: all $checks checks came out right"
else
    echo "demonstration: $wrong of $checks checks came out WRONG"
    exit 1
fi
