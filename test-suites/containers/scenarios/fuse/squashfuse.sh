# squashfuse: a compressed image as a file system, without the kernel's squashfs.

# packed: a tree and its image.
packed() {
    mkdir -p tree/bin tree/etc
    cp /bin/busybox tree/bin/busybox
    echo root > tree/etc/owner
    ln -s busybox tree/bin/sh
    chmod 4755 tree/bin/busybox
    seq 1 20000 > tree/numbers
    mksquashfs tree image.sqfs -quiet -no-progress > /dev/null
}

scenario_squashfuse_shows_the_image() {
    packed
    serves /work/m squashfuse -f /work/image.sqfs /work/m
    equal "all that is in it" "$(cd m && find . -printf '%p %y %m %s %l\n' | grep -v ' d ' | sort)" "$(cd tree && find . -printf '%p %y %m %s %l\n' | grep -v ' d ' | sort)"
    equal "the numbers" "$(sha256sum < m/numbers)" "$(sha256sum < tree/numbers)"
    umount m
    gone /work/m
}

scenario_squashfuse_cannot_be_written() {
    packed
    serves /work/m squashfuse -f /work/image.sqfs /work/m
    refused 'Read-only file system|Function not implemented|Permission denied' touch m/new
    refused 'Read-only file system|Function not implemented|Permission denied' rm m/numbers
    umount m
    gone /work/m
}

scenario_squashfuse_ll_runs_programs_from_the_image() {
    packed
    serves /work/m squashfuse_ll -f /work/image.sqfs /work/m
    equal "what it says" "$(m/bin/busybox echo packed)" packed
    umount m
    gone /work/m
}

scenario_squashfuse_as_the_root_of_a_container() {
    packed
    serves /work/m squashfuse -f /work/image.sqfs /work/m
    equal "inside" "$(bwrap --ro-bind /work/m / /bin/sh -c 'read owner < /etc/owner; echo $owner')" root
    umount m
    gone /work/m
}

scenario_squashfuse_below_an_overlay() {
    packed
    serves /work/m squashfuse -f -o allow_other /work/image.sqfs /work/m
    tmpfs layers
    mkdir -p layers/upper layers/work merged
    mount -t overlay overlay -o lowerdir=/work/m,upperdir=/work/layers/upper,workdir=/work/layers/work merged
    echo changed > merged/etc/owner
    equal "merged" "$(cat merged/etc/owner)" changed
    equal "in the upper layer" "$(cat layers/upper/etc/owner)" changed
    equal "in the image" "$(cat m/etc/owner)" root
    umount merged layers
    umount m
    gone /work/m
}
