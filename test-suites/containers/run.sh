#!/bin/bash
# Runs the scenarios of a list (name, program, file, limit in seconds, a line each), each from a clean state: an empty /work, no
# process, mount or cgroup beside those of the host. What a scenario leaves behind is a failure, and is taken away before the next.
# Prints a line before and after each, and what it printed if it failed.

here=${0%/*}
output=/scenario-output
leftovers=/scenario-leftovers
missing=/scenario-missing

# Sets `processes`: those beside init, the script that runs us and ourselves. A kernel's own threads and zombies have no program.
# (Not in a subshell, which would be a process too.)
find_processes() {
    local folder
    processes=()
    for folder in /proc/[0-9]*; do
        case ${folder#/proc/} in
            1 | $$ | "$PPID") ;;
            *) [ ! -e "$folder/exe" ] || processes+=("${folder#/proc/}") ;;
        esac
    done
}

# The cgroups below the root, the innermost first.
cgroups() {
    find /sys/fs/cgroup -mindepth 1 -depth -type d
}

# Says what is there that was not before a scenario. Processes that were killed get a moment to go.
left_behind() {
    local process tries=0 mounts
    find_processes
    while [ ${#processes[@]} != 0 ] && [ $tries -lt 20 ]; do
        tries=$((tries + 1))
        sleep 0.1
        find_processes
    done
    for process in "${processes[@]}"; do
        echo "left behind: process $process: $(tr '\0' ' ' < "/proc/$process/cmdline")"
    done
    mounts=$(</proc/self/mountinfo)
    [ "$mounts" = "$host_mounts" ] || printf '%s\n' "left behind: the mount table is another:" "$(diff <(echo "$host_mounts") <(echo "$mounts"))"
    cgroups | grep -vxF "$host_cgroups" | sed 's/^/left behind: cgroup /'
}

# Takes away what was left behind.
clean_up() {
    local process id point
    find_processes
    [ ${#processes[@]} = 0 ] || kill -KILL "${processes[@]}" 2> /dev/null
    # The newest first: what is on top of others goes before them.
    tac /proc/self/mountinfo | while read -r id _ _ _ point _; do
        grep -q "^$id " <<<"$host_mounts" || umount -l "$(printf '%b' "$point")"
    done
    cgroups | while read -r point; do
        grep -qxF "$point" <<<"$host_cgroups" || rmdir "$point"
    done
}

# The number of hundredths of a second since boot.
hundredths() {
    local uptime
    read -r uptime _ < /proc/uptime
    echo $((10#${uptime/./}))
}

run() {
    local name=$1 program=$2 file=$3 limit=$4 status started ended
    rm -rf /work /run/runc /run/crun /run/user
    mkdir -m 755 /work
    echo "scenario: begin $name"
    started=$(hundredths)
    (cd /work && timeout -k 5 "$limit" bash "$here/scenario.sh" "$program" "$file" "${name#*/}" > $output 2>&1 < /dev/null)
    status=$?
    ended=$(hundredths)
    left_behind > $leftovers
    # A call that the kernel has not is logged once, which `quiet` keeps from the console and later messages from the log.
    dmesg | grep -F 'is not there (ENOSYS)' >> $missing
    local verdict=ok
    if [ $status != 0 ] || [ -s $leftovers ]; then
        verdict=FAILED
        sed 's/^/| /' $output $leftovers
        case $status in
            0) ;;
            124 | 137 | 143) echo "| status $status: the limit is $limit seconds" ;;
            *) echo "| status $status" ;;
        esac
        clean_up
    fi
    printf 'scenario: end %s %s %d.%02d\n' $verdict "$name" $(((ended - started) / 100)) $(((ended - started) % 100))
}

host_mounts=$(</proc/self/mountinfo)
host_cgroups=$(cgroups)
while read -r name program file limit <&3; do
    run "$name" "$program" "$file" "$limit"
done 3< "$1"
# All of them, once: they are no failure, but to be known.
sort -u $missing
