# What the scenarios for crun and runc share. `$runtime` is the program. The bundle is /work/bundle, and the working directory; its
# configuration is what `$runtime spec` writes, changed only by the functions below.

# A root file system of busybox alone, made once.
rootfs=/srv/rootfs
if [ ! -d $rootfs ]; then
    mkdir -p $rootfs.new/{bin,dev,etc,proc,sys,tmp,root,run,var}
    cp /bin/busybox $rootfs.new/bin/busybox
    for applet in awk cat chmod chown dd df echo false getopt grep head hostname id ifconfig ip kill ln ls mkdir mknod mount mountpoint \
        mv nc ps pwd readlink rm sed sh sleep sort stat sync tail test touch tr true tty umount uname unshare usleep wc wget; do
        ln -s busybox $rootfs.new/bin/$applet
    done
    echo 'root:x:0:0:root:/root:/bin/sh' > $rootfs.new/etc/passwd
    mv $rootfs.new $rootfs
fi

# bundle [FOLDER]: makes a bundle and goes there. Only the terminal is left out of its configuration: there is none here.
bundle() {
    local folder=${1:-/work/bundle}
    mkdir -p "$folder"
    cd "$folder"
    cp -a $rootfs rootfs
    $runtime spec
    configure '.process.terminal = false'
}

# configure EXPRESSION [ARGUMENT…]: changes config.json as jq says.
configure() {
    jq "$@" < config.json > config.new
    mv config.new config.json
}

# The words as a JSON list. (jq takes words that begin with a dash for its own options, wherever they stand.)
list_of() {
    printf '%s\001' "$@" | jq --raw-input --slurp 'split("\u0001")[:-1]'
}

# runs COMMAND…: what the container is to run.
runs() {
    configure '.process.args = $list' --argjson list "$(list_of "$@")"
}

# runs_shell SCRIPT
runs_shell() {
    runs sh -c "$1"
}

# with_mount DESTINATION SOURCE TYPE OPTION…: one mount more.
with_mount() {
    configure '.mounts += [{destination: $list[0], source: $list[1], type: $list[2], options: $list[3:]}]' --argjson list "$(list_of "$@")"
}

# with_capability NAME…: more for the container's process.
with_capability() {
    configure '.process.capabilities |= map_values(. + $list | unique)' --argjson list "$(list_of "$@")"
}

# starts NAME: runs a container that sleeps, in the background.
starts() {
    runs sleep 1000
    starts_as_configured "$1"
}

starts_as_configured() {
    $runtime run -d "$1"
    equal "the state of $1" "$(status "$1")" running
}

status() {
    $runtime state "$1" | jq -r .status
}

# The process of a container's init, as the host numbers it.
process() {
    $runtime state "$1" | jq -r .pid
}

removes() {
    $runtime delete --force "$1"
}

# forgotten NAME: the runtime does not know the container (any more).
forgotten() {
    refused 'does not exist|No such file' $runtime state "$1"
}
