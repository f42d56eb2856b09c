# What a container's process may do and see: namespaces, capabilities, limits, devices, seccomp, cgroups.

scenario_namespaces_are_the_container_s_own() {
    bundle
    runs_shell 'for kind in mnt pid uts ipc net cgroup user; do echo "$kind $(readlink /proc/self/ns/$kind)"; done'
    local kind found
    found=$($runtime run c1)
    for kind in mnt pid uts ipc net cgroup; do
        lacks "the container's namespaces" "$found" "$(readlink /proc/self/ns/$kind | sed 's/[][]/./g')"
    done
    matches "the container's namespaces" "$found" "^user $(readlink /proc/self/ns/user | sed 's/[][]/./g')"
}

scenario_host_name_is_its_own() {
    bundle
    configure '.hostname = "inside"'
    runs hostname
    equal "the container's host name" "$($runtime run c1)" inside
    equal "the host's" "$(hostname)" host
}

scenario_network_is_a_loopback_that_is_up() {
    bundle
    runs_shell 'tail -n +3 /proc/net/dev | cut -d: -f1; ifconfig lo | grep -o "UP LOOPBACK RUNNING"; (echo hello | nc -l -p 80 > /dev/null &) ; usleep 300000; nc 127.0.0.1 80 < /dev/null'
    equal "what the container finds" "$($runtime run c1 | sed 's/^ *//')" "lo
UP LOOPBACK RUNNING
hello"
}

scenario_message_queues_are_its_own() {
    bundle
    touch /dev/mqueue/host
    runs_shell 'ls /dev/mqueue; touch /dev/mqueue/inside; ls /dev/mqueue'
    local found
    found=$($runtime run c1)
    rm /dev/mqueue/host
    equal "the container's queues" "$found" inside
    equal "the host's queues" "$(ls /dev/mqueue)" ""
}

scenario_cgroup_is_its_own_and_read_only() {
    bundle
    runs_shell 'cat /proc/self/cgroup; mkdir /sys/fs/cgroup/below 2>&1; cat /sys/fs/cgroup/cgroup.procs | tr "\n" " "'
    local found
    found=$($runtime run c1 2>&1)
    matches "what the container says" "$found" '^0::/$'
    matches "what the container says" "$found" 'Read-only file system'
    matches "the processes of its cgroup" "$found" '^1 '
}

scenario_capabilities_are_those_of_the_configuration() {
    bundle
    configure '.process.capabilities |= map_values(["CAP_CHOWN", "CAP_KILL"])'
    runs_shell 'grep -E "^(CapEff|CapPrm|CapBnd|CapInh|CapAmb|NoNewPrivs)" /proc/self/status; hostname other; chown 5 /tmp/x'
    configure '.root.readonly = false'
    touch rootfs/tmp/x
    local found
    found=$($runtime run c1 2>&1)
    # CAP_CHOWN is 0, CAP_KILL is 5.
    equal "the capabilities" "$(grep -E '^Cap(Eff|Prm|Bnd)' <<<"$found" | cut -f2 | sort -u)" 0000000000000021
    matches "no-new-privs" "$found" '^NoNewPrivs:.1$'
    matches "what hostname says" "$found" 'Operation not permitted|must be root|permission'
    equal "the file's owner" "$(stat -c %u rootfs/tmp/x)" 5
}

scenario_user_groups_folder_and_variables() {
    bundle
    configure '.process.user = {uid: 1000, gid: 1001, additionalGids: [7, 8]} | .process.cwd = "/var" | .process.env += ["COLOUR=red"]'
    runs_shell 'id -u; id -g; id -G; pwd; echo $COLOUR; touch /tmp/x 2>&1'
    configure '.root.readonly = false'
    equal "what the container says" "$($runtime run c1 2>&1 || true)" "1000
1001
1001 7 8
/var
red
touch: /tmp/x: Permission denied"
}

scenario_resource_limits_of_processes() {
    bundle
    configure '.process.rlimits = [{type: "RLIMIT_NOFILE", hard: 64, soft: 32}, {type: "RLIMIT_CORE", hard: 0, soft: 0}]'
    runs_shell 'ulimit -Hn; ulimit -Sn; ulimit -c'
    equal "the limits" "$($runtime run c1)" "64
32
0"
}

scenario_out_of_memory_score() {
    bundle
    configure '.process.oomScoreAdj = 123'
    runs cat /proc/self/oom_score_adj
    equal "the score" "$($runtime run c1)" 123
}

scenario_devices_of_every_container() {
    bundle
    runs_shell 'for name in null zero full random urandom tty; do stat -c "%n %F %t %T %a" /dev/$name; done; readlink /dev/ptmx; readlink /dev/fd; head -c 4 /dev/zero | wc -c; echo x > /dev/full'
    local found
    found=$($runtime run c1 2>&1 || true)
    local expected
    for expected in 'null character special file 1 3 666' 'zero character special file 1 5 666' 'full character special file 1 7 666' \
        'random character special file 1 8 666' 'urandom character special file 1 9 666' 'tty character special file 5 0 666'; do
        matches "the devices" "$found" "^/dev/$expected\$"
    done
    matches "the link ptmx" "$found" '^(/dev/)?pts/ptmx$'
    matches "what a write to /dev/full says" "$found" 'No space left on device'
}

# The program that a runtime attaches to the cgroup lets nodes be made and keeps them from being opened.
scenario_other_devices_are_refused() {
    bundle
    with_capability CAP_MKNOD
    configure '.root.readonly = false'
    runs_shell 'mknod /tmp/mem c 1 1 && echo made; head -c 1 /tmp/mem; mknod /tmp/zero c 1 5; head -c 1 /tmp/zero | wc -c'
    local found
    found=$($runtime run c1 2>&1)
    matches "what the container says" "$found" '^made$'
    matches "what the container says" "$found" '/tmp/mem.*Operation not permitted'
    matches "what the container says" "$found" '^1$'
    lacks "what the container says" "$found" '/tmp/zero'
}

scenario_device_of_the_configuration() {
    bundle
    configure '.linux.devices = [{path: "/dev/message", type: "c", major: 1, minor: 11, fileMode: 384, uid: 0, gid: 0}]
        | .linux.resources.devices += [{allow: true, type: "c", major: 1, minor: 11, access: "rw"}]'
    runs_shell 'stat -c "%t %T %a" /dev/message; echo "from the container" > /dev/message'
    equal "the device" "$($runtime run c1)" "1 b 600"
    matches "the kernel's messages" "$(dmesg | tail -5)" 'from the container'
}

scenario_seccomp_refuses_a_call() {
    bundle
    configure '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", architectures: ["SCMP_ARCH_X86_64"],
        syscalls: [{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 28}]}'
    runs_shell 'grep -E "^Seccomp:" /proc/self/status; mkdir /dev/shm/folder; touch /dev/shm/file && ls /dev/shm'
    local found
    found=$($runtime run c1 2>&1)
    matches "the mode" "$found" '^Seccomp:.2$'
    matches "what mkdir says" "$found" 'No space left on device'
    matches "the files" "$found" '^file$'
    lacks "the files" "$found" '^folder$'
}

scenario_seccomp_kills() {
    bundle
    configure '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", architectures: ["SCMP_ARCH_X86_64"],
        syscalls: [{names: ["sethostname"], action: "SCMP_ACT_KILL_PROCESS"}]}'
    runs_shell 'hostname other; echo "the status is $?"'
    # 128 and SIGSYS.
    matches "what the shell says" "$($runtime run c1 2>&1)" 'the status is 159'
}

scenario_sysctl_of_its_own_namespace() {
    bundle
    configure '.linux.sysctl = {"kernel.domainname": "inside.example"}'
    runs cat /proc/sys/kernel/domainname
    local before
    before=$(cat /proc/sys/kernel/domainname)
    equal "the container's domain" "$($runtime run c1)" inside.example
    equal "the host's" "$(cat /proc/sys/kernel/domainname)" "$before"
}

scenario_pids_limit_holds() {
    bundle
    configure '.linux.resources.pids.limit = 8'
    runs_shell 'for number in 1 2 3 4 5 6 7 8 9 10; do sleep 3 & done; wait'
    local found
    found=$($runtime run c1 2>&1 || true)
    matches "what the shell says" "$found" "fork.*(Resource temporarily unavailable|try again)"
}

scenario_memory_limit_holds() {
    bundle
    configure '.linux.resources.memory.limit = 16777216 | .linux.resources.memory.swap = 16777216'
    with_mount /cache tmpfs tmpfs size=64m
    runs_shell 'cat /sys/fs/cgroup/memory.max; dd if=/dev/zero of=/cache/file bs=1M count=48; echo "the status is $?"'
    local found
    found=$($runtime run c1 2>&1 || true)
    matches "the limit" "$found" '^16777216$'
    lacks "what dd says" "$found" '48\+0 records out'
}

scenario_cpu_limit_is_in_the_cgroup() {
    bundle
    configure '.linux.resources.cpu = {quota: 20000, period: 100000}'
    runs cat /sys/fs/cgroup/cpu.max
    equal "the limit" "$($runtime run c1)" "20000 100000"
}

counts() {
    local before
    before=$(wc -c < /work/volume/count)
    sleep 0.5
    [ "$(wc -c < /work/volume/count)" -gt "$before" ]
}

scenario_pause_and_resume() {
    bundle
    mkdir /work/volume
    with_mount /data /work/volume bind rbind rw
    runs_shell 'while :; do printf x >> /data/count; usleep 50000; done'
    starts_as_configured c1
    eventually counts
    $runtime pause c1
    equal "the state" "$(status c1)" paused
    equal "what the cgroup says" "$(grep frozen /sys/fs/cgroup/c1/cgroup.events)" "frozen 1"
    ! counts || fail "the container goes on"
    $runtime resume c1
    equal "the state" "$(status c1)" running
    eventually counts
    removes c1
}

scenario_update_changes_limits() {
    bundle
    starts c1
    $runtime update --pids-limit 17 c1
    equal "the limit in the cgroup" "$(cat /sys/fs/cgroup/c1/pids.max)" 17
    $runtime update --memory 33554432 c1
    equal "the limit in the cgroup" "$(cat /sys/fs/cgroup/c1/memory.max)" 33554432
    $runtime update --cpu-period 50000 --cpu-quota 25000 --cpu-share 512 c1
    equal "the limit in the cgroup" "$(cat /sys/fs/cgroup/c1/cpu.max)" "25000 50000"
    # Of 2 to 262144 shares, as of 1 to 10000 of the weight.
    equal "the weight in the cgroup" "$(cat /sys/fs/cgroup/c1/cpu.weight)" 20
    # What is asked for as a file, too; and it holds.
    printf '{"pids": {"limit": 2}}' > /work/limits
    $runtime update --resources /work/limits c1
    refused 'fork|clone|available|again|pids' $runtime exec c1 sh -c 'sleep 1 & sleep 1 & sleep 1 & wait'
    removes c1
}

scenario_hooks_run_on_the_host() {
    bundle
    printf '#!/bin/sh\necho "$1 $(jq -r .status)" >> /work/hooks\n' > /work/hook
    chmod +x /work/hook
    configure '.hooks = {createRuntime: [{path: "/work/hook", args: ["hook", "createRuntime"]}], poststop: [{path: "/work/hook", args: ["hook", "poststop"]}]}'
    runs true
    $runtime run c1
    matches "what the hooks wrote" "$(cat /work/hooks)" '^createRuntime creat(ed|ing)$'
    matches "what the hooks wrote" "$(cat /work/hooks)" '^poststop stopped$'
}

# A terminal of the container's own: script(1) stands for the person at one.
scenario_terminal_of_its_own() {
    bundle
    configure '.process.terminal = true'
    runs_shell 'tty; ls /dev/pts; test -t 0 && echo terminal'
    local found
    found=$(script -qec "$runtime run c1" /dev/null < /dev/null | tr -d '\r')
    matches "what the container says" "$found" '(/dev/pts/0|/dev/console)$'
    matches "what the container says" "$found" '^terminal$'
}
