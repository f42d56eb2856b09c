# A container's life: run, create, start, exec, state, kill, delete, and what the runtime says and leaves on the way.

scenario_run_passes_the_exit_status_on() {
    bundle
    runs_shell 'exit 7'
    exits 7 $runtime run c1
    forgotten c1
}

scenario_run_shows_output_and_takes_input() {
    bundle
    runs_shell 'read -r word; echo "got $word"; echo "complaint" >&2'
    equal "standard output" "$(echo hello | $runtime run c1 2> complaints)" "got hello"
    equal "standard error" "$(cat complaints)" complaint
}

scenario_command_is_init_of_its_own_pid_namespace() {
    bundle
    runs_shell 'echo $$; ls /proc | grep -E "^[0-9]+$" | sort -n | head -1; readlink /proc/self/ns/pid'
    local found
    mapfile -t found < <($runtime run c1)
    equal "the shell's process" "${found[0]}" 1
    equal "the first process of /proc" "${found[1]}" 1
    [ "${found[2]}" != "$(readlink /proc/self/ns/pid)" ] || fail "the pid namespace is the host's"
}

scenario_missing_command_is_told() {
    bundle
    runs /no/such/program
    refused 'no such file or directory|No such file or directory|not found' $runtime run c1
    forgotten c1
}

scenario_create_waits_for_start() {
    bundle
    mkdir /work/volume
    with_mount /volume /work/volume bind rbind rw
    runs_shell 'echo ran > /volume/mark; sleep 1000'
    $runtime create c1
    equal "the state" "$(status c1)" created
    sleep 0.5
    [ ! -e /work/volume/mark ] || fail "the command ran before start"
    $runtime start c1
    eventually grep -q ran /work/volume/mark
    equal "the state" "$(status c1)" running
    removes c1
}

scenario_state_names_bundle_and_process() {
    bundle
    starts c1
    local state
    state=$($runtime state c1)
    equal "the bundle" "$(jq -r .bundle <<<"$state")" /work/bundle
    equal "the id" "$(jq -r .id <<<"$state")" c1
    equal "the command" "$(tr '\0' ' ' < "/proc/$(jq -r .pid <<<"$state")/cmdline")" "sleep 1000 "
    removes c1
}

scenario_kill_stops_and_delete_forgets() {
    bundle
    runs_shell 'trap "exit 3" TERM; while :; do sleep 0.1; done'
    starts_as_configured c1
    refused 'not stopped|not in .created. or .stopped. state' $runtime delete c1
    $runtime kill c1 TERM
    eventually is_stopped c1
    $runtime delete c1
    forgotten c1
}

is_stopped() {
    [ "$(status "$1")" = stopped ]
}

scenario_kill_with_a_number() {
    bundle
    starts c1
    $runtime kill c1 9
    eventually is_stopped c1
    refused 'not running|no such process|process already finished|No such process' $runtime kill c1 9
    $runtime delete c1
}

scenario_delete_by_force_kills() {
    bundle
    starts c1
    local process
    process=$(process c1)
    $runtime delete --force c1
    [ ! -e "/proc/$process/exe" ] || fail "process $process is still there"
    forgotten c1
}

scenario_names_are_taken_once() {
    bundle
    starts c1
    refused 'exist' $runtime run -d c1
    equal "the state" "$(status c1)" running
    removes c1
}

scenario_exec_joins_and_passes_the_status_on() {
    bundle
    starts c1
    equal "init as exec sees it" "$($runtime exec c1 cat /proc/1/cmdline | tr '\0' ' ')" "sleep 1000 "
    exits 5 $runtime exec c1 sh -c 'exit 5'
    equal "the namespaces that exec joins" "$($runtime exec c1 sh -c 'for kind in mnt pid uts ipc net cgroup; do readlink /proc/self/ns/$kind; done')" \
        "$(for kind in mnt pid uts ipc net cgroup; do readlink "/proc/$(process c1)/ns/$kind"; done)"
    refused 'no such file|not found|No such file' $runtime exec c1 /no/such/program
    removes c1
}

scenario_exec_with_user_folder_and_variables() {
    bundle
    starts c1
    equal "what exec gives" "$($runtime exec --user 5:6 --cwd /tmp --env COLOUR=red c1 /bin/sh -c 'id -u; id -g; pwd; echo $COLOUR')" "5
6
/tmp
red"
    removes c1
}

scenario_exec_in_the_background_with_a_pid_file() {
    bundle
    starts c1
    $runtime exec -d --pid-file /work/pid c1 sleep 500
    # exec comes back before the program runs.
    eventually grep -q 'sleep' "/proc/$(cat /work/pid)/cmdline"
    equal "the command" "$(tr '\0' ' ' < "/proc/$(cat /work/pid)/cmdline")" "sleep 500 "
    equal "its pid namespace" "$(readlink "/proc/$(cat /work/pid)/ns/pid")" "$(readlink "/proc/$(process c1)/ns/pid")"
    removes c1
    eventually test ! -e "/proc/$(cat /work/pid)/exe"
}

scenario_ps_names_the_container_s_processes() {
    bundle
    runs_shell 'sleep 501 & sleep 502'
    starts_as_configured c1
    eventually pgrep -f 'sleep 502'
    local found
    found=$($runtime ps --format json c1 | jq -r '.[]' | sort -n)
    equal "what ps names" "$found" "$( (process c1; pgrep -f 'sleep 50[12]$') | sort -nu)"
    removes c1
}

scenario_list_shows_names_and_states() {
    bundle
    starts c1
    $runtime create c2
    matches "the list" "$($runtime list)" '^c1 .*running'
    matches "the list" "$($runtime list)" '^c2 .*created'
    removes c1
    removes c2
    lacks "the list" "$($runtime list)" 'c[12]'
}

scenario_init_killed_from_the_host_is_stopped() {
    bundle
    starts c1
    local process
    process=$(process c1)
    $runtime exec -d c1 sleep 503
    kill -KILL "$process"
    eventually is_stopped c1
    # The rest of a pid namespace goes with its init.
    eventually not_running 'sleep 503'
    $runtime delete c1
}

not_running() {
    ! pgrep -f "$1"
}

scenario_pid_file_names_the_process() {
    bundle
    runs sleep 1000
    $runtime run -d --pid-file /work/pid c1
    equal "the pid file" "$(cat /work/pid)" "$(process c1)"
    removes c1
}

# Limit: 240 s
scenario_ten_at_once() {
    bundle
    local number jobs=()
    runs sleep 1000
    for number in 0 1 2 3 4 5 6 7 8 9; do
        $runtime run -d "c$number" &
        jobs+=($!)
    done
    for number in 0 1 2 3 4 5 6 7 8 9; do
        wait "${jobs[$number]}"
    done
    equal "the containers that run" "$($runtime list | awk '/running/ { print $1 }' | sort | tr '\n' ' ')" "c0 c1 c2 c3 c4 c5 c6 c7 c8 c9 "
    equal "their namespaces" "$(for number in 0 1 2 3 4 5 6 7 8 9; do readlink "/proc/$(process "c$number")/ns/mnt"; done | sort -u | wc -l)" 10
    for number in 0 1 2 3 4 5 6 7 8 9; do
        removes "c$number" &
    done
    wait
    lacks "the list" "$($runtime list)" '^c'
}

# A runtime that dies half way, at ever later moments. What it leaves in its own folder and its cgroup, `delete --force` takes away;
# there is no mount to take away on the host: they were all in a namespace that died with it.
# Limit: 200 s
scenario_killed_in_the_middle_leaves_no_mount() {
    bundle
    local before delay runner
    tmpfs /work/volume
    before=$(mounts /)
    with_mount /volume /work/volume bind rbind rw
    runs sleep 1000
    for delay in 0.05 0.1 0.2 0.3 0.45 0.6 0.8 1.0; do
        setsid $runtime run c1 > /dev/null 2>&1 &
        runner=$!
        sleep $delay
        pkill -KILL -s "$runner" || true
        wait "$runner" || true
        pkill -KILL -f "$runtime init" || true
        # A runtime that had not written all of its state yet cannot delete by it, or takes the state alone away.
        $runtime delete --force c1 > /dev/null 2>&1 || rm -rf "/run/$runtime/c1"
        echo 1 2> /dev/null > /sys/fs/cgroup/c1/cgroup.kill || true
        eventually not_running "sleep 1000"
        equal "the host's mounts" "$(mounts /)" "$before"
        rmdir /sys/fs/cgroup/c1 2> /dev/null || true
    done
    umount /work/volume
}
