# What every scenario may use: assertions that say what they found, and the mount table as text.

fail() {
    printf 'wrong: %s\n' "$*"
    exit 1
}

# equal WHAT FOUND EXPECTED
equal() {
    [ "$2" = "$3" ] || fail "$1 is:" "$2" "and should be:" "$3"
}

# matches WHAT FOUND PATTERN: an extended regular expression that some line must match.
matches() {
    grep -qE -- "$3" <<<"$2" || fail "$1 is:" "$2" "and should match:" "$3"
}

# lacks WHAT FOUND PATTERN: no line may match.
lacks() {
    ! grep -qE -- "$3" <<<"$2" || fail "$1 is:" "$2" "and should not match:" "$3"
}

# exits STATUS COMMAND…
exits() {
    local expected=$1 status=0
    shift
    "$@" || status=$?
    equal "the status of \`$*\`" $status "$expected"
}

# refused PATTERN COMMAND…: the command must fail, and its words match.
refused() {
    local pattern=$1 words status=0
    shift
    words=$("$@" 2>&1) || status=$?
    [ $status != 0 ] || fail "\`$*\` should fail"
    matches "what \`$*\` says" "$words" "$pattern"
}

# eventually COMMAND…: tries for ten seconds; the command's complaints do not count.
eventually() {
    local tries=0
    until "$@" > /dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || fail "\`$*\` never came true"
        sleep 0.1
    done
}

# mounts FOLDER [PROCESS]: the mounts at and below a folder as a process (or this one) sees them, sorted by path, a row each:
# path, options, propagation, type. Propagation is `private` or of shared, master and unbindable those that hold, with a comma.
mounts() {
    awk -v folder="$1" '
        folder == "/" || $5 == folder || index($5, folder "/") == 1 {
            propagation = ""
            for (field = 7; $field != "-"; field++) {
                sub(/:.*/, "", $field)
                if ($field != "propagate_from") propagation = propagation "," $field
            }
            print $5, $6, propagation == "" ? "private" : substr(propagation, 2), $(field + 1)
        }' "/proc/${2:-self}/mountinfo" | sort
}

# propagation PATH [PROCESS]: that of the topmost mount at a path.
propagation() {
    mounts "$1" "${2:-self}" | awk -v path="$1" '$1 == path { last = $3 } END { print last }'
}

# tmpfs FOLDER [OPTION…]: a new tmpfs, whatever the folder's mount hands on.
tmpfs() {
    local folder=$1
    shift
    mkdir -p "$folder"
    mount -t tmpfs "$@" tmpfs "$folder"
}
