//! The worked examples E36 to E69 of `semantics.md`, as they stand there.

mod support;

use support::script::run;

/// E36: container-style rslave + rshared inside
#[test]
fn e36_container_style_rslave_rshared_inside() {
    run("
mkdir a; tmpfs A a; mkdir a/s a/t; make-shared a; B = unshare; B: make-rslave /; B: make-shared a
⇒ [A] a=A S1; [B] a=A S2 M1
tmpfs S a/s; B: tmpfs T a/t
⇒ [A] a=A S1; a/s=S S3; [B] a=A S2 M1; a/s=S S4 M3; a/t=T S5
");
}

/// E37: propagate_from: immediate master not visible below our root, dominating one is
#[test]
fn e37_propagate_from_immediate_master_not_visible_below_our_root() {
    run("
mkdir a b c; tmpfs A a; make-shared a; bind a b; make-slave b; make-shared b; bind b c; make-slave c
⇒ a=A S1; b=A S2 M1; c=A M2
(umount b: c is re-parented to a directly)
B = unshare; umount b
⇒ [A] a=A S1; c=A M2 from1; [B] a=A S1; b=A S2 M1; c=A M2
B exit
⇒ a=A S1; c=A M1
");
}

/// E38: moving a slave into the tree of its own master: the moved mount receives a copy of itself
#[test]
fn e38_moving_a_slave_into_the_tree_of_its_own_master_the_moved() {
    run("
mkdir a b; tmpfs A a; mkdir a/m; make-shared a; bind a b; make-slave b; move b a/m → OK
⇒ a=A S1; a/m=A S2 M1; a/m/m=A M2
umount a/m/m → OK; umount a/m → OK
⇒ a=A S1
");
}

/// E39: rmdir of a mountpoint of ANOTHER namespace lazily unmounts it there
#[test]
fn e39_rmdir_of_a_mountpoint_of_another_namespace_lazily_unmounts_it() {
    run("
mkdir a; tmpfs A a; mkdir a/s; B = unshare; B: tmpfs S a/s
⇒ [A] a=A; [B] a=A; a/s=S
rmdir a/s → OK
⇒ [A] a=A; [B] a=A
");
}

/// E40: rmdir / rename of a mountpoint in the own namespace: EBUSY (even through another mount)
#[test]
fn e40_rmdir_rename_of_a_mountpoint_in_the_own_namespace_ebusy_even() {
    run("
mkdir a b; tmpfs A a; mkdir a/s; bind a b; tmpfs S a/s; rmdir b/s → EBUSY; mv b/s b/t → EBUSY; rmdir a/s → EBUSY; B = unshare; B: umount a/s; umount a/s; B: tmpfs S2 a/s
(rename from our side of a directory that is a mountpoint in B only)
mv a/s a/t → OK
⇒ [A] a=A; b=A; [B] a=A; a/t=S2; b=A
");
}

/// E41: MOVE_MOUNT_BENEATH
#[test]
fn e41_move_mount_beneath() {
    run("
mkdir a n; tmpfs base2 a; mkdir a/m; tmpfs TOP a/m; tmpfs N n; beneath n a/m → OK
⇒ a=base2; a/m=N; ^a/m=TOP
umount a/m → OK
⇒ a=base2; a/m=N
mkdir q; tmpfs Q q; beneath q a → OK
");
}

/// E42: MOVE_MOUNT_SET_GROUP
#[test]
fn e42_move_mount_set_group() {
    run("
mkdir a b c; tmpfs A a; mkdir a/d; make-shared a; bind a/d b; make-private b; set-group a b → OK
⇒ a=A S1; b=A:/d S1
make-private b; make-slave a; set-group a b → EINVAL; tmpfs C c; make-shared a; set-group a c → EINVAL; set-group b a → EINVAL
");
}

/// E43: detached copy: no mounts propagate into it, umounts do
#[test]
fn e43_detached_copy_no_mounts_propagate_into_it_umounts_do() {
    run("
mkdir a t; tmpfs A a; mkdir a/s a/k; make-shared a; tmpfs S a/s; mkdir a/s/insideS; open_tree -r a F; tmpfs K a/k; mkdir a/k/insideK; fdtree F . s k
  fd F/. dev=same ['k', 's']
  fd F/s dev=other ['insideS']
  fd F/k dev=same []
umount a/s; fdtree F . s k
  fd F/. dev=same ['k', 's']
  fd F/s dev=same []
  fd F/k dev=same []
attach F t → OK
⇒ a=A S1; a/k=K S2; t=A S1
");
}

/// E44: detached copy attached to a shared parent
#[test]
fn e44_detached_copy_attached_to_a_shared_parent() {
    run("
mkdir a p q; tmpfs A a; tmpfs P p; mkdir p/t; make-shared p; bind p q; open_tree a F; attach F p/t → OK
⇒ a=A; p=P S1; p/t=A S2; q=P S1; q/t=A S2
attach F p/t → EINVAL
⇒ a=A; p=P S1; p/t=A S2; q=P S1; q/t=A S2
");
}

/// E45: file binds and type mismatch
#[test]
fn e45_file_binds_and_type_mismatch() {
    run("
mkdir d; touch f g; bind f g
⇒ g=base:/f
bind f d → ENOTDIR; bind d f → ENOTDIR; tmpfs T f → ENOTDIR
");
}

/// E46: umount of the parent of propagated mounts
#[test]
fn e46_umount_of_the_parent_of_propagated_mounts() {
    run("
mkdir a b; tmpfs A a; mkdir a/m; make-shared a; bind a b; tmpfs M a/m; mkdir a/m/n; tmpfs N a/m/n
⇒ a=A S1; a/m=M S2; a/m/n=N S3; b=A S1; b/m=M S2; b/m/n=N S3
umount a → EBUSY; umount -l a → OK
⇒ b=A S1
");
}

/// E47: one peer of a 3-member group leaves; bind clones insert right after the original
#[test]
fn e47_one_peer_of_a_3_member_group_leaves_bind_clones_insert_right() {
    run("
mkdir a b c d; tmpfs A a; mkdir a/m; make-shared a; bind a b; bind a c; bind b d; tmpfs M b/m
⇒ a=A S1; a/m=M S2; b=A S1; b/m=M S2; c=A S1; c/m=M S2; d=A S1; d/m=M S2
make-private c/m; umount d/m
⇒ a=A S1; b=A S1; c=A S1; d=A S1
");
}

/// E48: source tree whose root is overmounted, propagated onto an occupied mountpoint (shadow mount; differs by version)
#[test]
fn e48_source_tree_whose_root_is_overmounted_propagated_onto_an() {
    run("
mkdir a b src; tmpfs A a; mkdir a/m; make-shared a; bind a b; make-slave b; tmpfs OLD b/m; tmpfs LOW src; cd src; tmpfs HIGH src
('.' is the covered root of LOW: clones LOW together with HIGH on its root)
open_tree -r . F; attach F a/m → OK
⇒ a=A S1; a/m=LOW S2; ^a/m=HIGH S3; b=A M1; b/m=LOW M2; ^b/m=HIGH M3; ^b/m=OLD; src=LOW; ^src=HIGH
umount b/m → OK
⇒ a=A S1; a/m=LOW S2; ^a/m=HIGH S3; b=A M1; b/m=LOW M2; ^b/m=HIGH M3; src=LOW; ^src=HIGH
cd /
");
}

/// E49: lock-step: umount propagates from the PARENT mount, not from the mount itself
#[test]
fn e49_lock_step_umount_propagates_from_the_parent_mount_not_from() {
    run("
mkdir a b; tmpfs A a; mkdir a/m a/n; make-shared a; tmpfs M a/m; make-private a
(a/m is shared (peer group of its own); bind it elsewhere)
bind a/m a/n
⇒ a=A; a/m=M S1; a/n=M S1
umount a/n
⇒ a=A; a/m=M S1
");
}

/// E50: mount on a private mount whose parent is shared does not propagate
#[test]
fn e50_mount_on_a_private_mount_whose_parent_is_shared_does_not() {
    run("
mkdir a b; tmpfs A a; mkdir a/m; make-shared a; bind a b; tmpfs M a/m; mkdir a/m/k; make-private a/m; tmpfs K a/m/k
⇒ a=A S1; a/m=M; a/m/k=K; b=A S1; b/m=M S2
umount a/m → EBUSY; umount a/m/k; umount a/m → OK
⇒ a=A S1; b=A S1
");
}

/// E51: mounting in a covered directory through the cwd
#[test]
fn e51_mounting_in_a_covered_directory_through_the_cwd() {
    run("
mkdir a; tmpfs A a; mkdir a/m; cd a; tmpfs COVER a; tmpfs M ./m → OK
⇒ a=A; ^a=COVER; a/m=M
cd /; umount a → OK
⇒ a=A; a/m=M
");
}

/// E52: umount -l of a parent with a nested propagated child whose peer parent survives
#[test]
fn e52_umount_l_of_a_parent_with_a_nested_propagated_child_whose() {
    run("
mkdir a b; tmpfs A a; mkdir a/m; make-shared a; bind a b; tmpfs M a/m; umount -l b
⇒ a=A S1
(a's group now has one member)
make-slave a
⇒ a=A
");
}

/// E53: same mountpoint dentry, two peers in one tree, mounting through a stacked peer
#[test]
fn e53_same_mountpoint_dentry_two_peers_in_one_tree_mounting_through() {
    run("
mkdir a; tmpfs A a; mkdir a/m; make-shared a
(bind a over itself: peer stacked on top of its own root)
bind a a
⇒ a=A S1; ^a=A S1
tmpfs M a/m
⇒ a=A S1; ^a=A S1; a/m=M S2; a/m=M S2
umount a/m; umount a → OK
⇒ a=A S1
");
}

/// E54: self-stacked shared bind and a second self bind
#[test]
fn e54_self_stacked_shared_bind_and_a_second_self_bind() {
    run("
mkdir a; tmpfs A a; make-shared a; bind a a; bind a a
⇒ a=A S1; ^a=A S1; ^^a=A S1; ^^^a=A S1
umount a → OK
⇒ a=A S1
");
}

/// E55: slave stacked on its master
#[test]
fn e55_slave_stacked_on_its_master() {
    run("
mkdir a; tmpfs A a; mkdir a/m; make-shared a; bind a a; make-slave a; tmpfs M a/m
⇒ a=A S1; ^a=A M1; a/m=M
cd /x; umount a/m; umount a; tmpfs M a/m
⇒ a=A S1; a/m=M S2
");
}

/// E56: umount propagation with a surviving topper inside a removed stack (6.6 moves it to another directory)
#[test]
fn e56_umount_propagation_with_a_surviving_topper_inside_a_removed() {
    run("
mkdir a b; tmpfs A a; mkdir a/m; make-shared a; bind a b; make-slave b; tmpfs P a/m; mkdir a/m/n; tmpfs Q a/m/n; tmpfs TOP b/m/n
⇒ a=A S1; a/m=P S2; a/m/n=Q S3; b=A M1; b/m=P M2; b/m/n=Q M3; ^b/m/n=TOP
umount -l a/m → OK
⇒ a=A S1; b=A M1; b/m=TOP
");
}

/// E57: umount of middle of a stack by fd path
#[test]
fn e57_umount_of_middle_of_a_stack_by_fd_path() {
    run("
mkdir a; tmpfs A a; cd a; tmpfs B /x/a; umount . → OK; umount /x/a → EBUSY; cd /; umount a → OK
⇒ (nothing)
");
}

/// E58: unmounted but held tree
///
/// As graft follows the spec (X6): the type of an unmounted mount cannot be changed.
#[test]
fn e58_unmounted_but_held_tree() {
    run("
mkdir a; tmpfs A a; mkdir a/m; cd a; umount -l /x/a; tmpfs M ./m → EINVAL; bind /x ./m → EINVAL; bind . /x → EINVAL; make-shared . → EINVAL; move . /x → EINVAL; umount . → EINVAL; open_tree . F → EINVAL; rmdir ./m → OK
⇒ (nothing)
");
}

/// E59: two slaves of the same master are independent; bind of a slave gives a sibling slave
#[test]
fn e59_two_slaves_of_the_same_master_are_independent_bind_of_a_slave() {
    run("
mkdir a b c; tmpfs A a; mkdir a/m; make-shared a; bind a b; make-slave b; bind b c
⇒ a=A S1; b=A M1; c=A M1
tmpfs L b/m; tmpfs M a/m
⇒ a=A S1; a/m=M S2; b=A M1; b/m=M M2; ^b/m=L; c=A M1; c/m=M M2
umount a/m
⇒ a=A S1; b=A M1; b/m=L; c=A M1
");
}

/// E60: shared group spanning namespaces, umount of the mountpoint parent in one
#[test]
fn e60_shared_group_spanning_namespaces_umount_of_the_mountpoint() {
    run("
mkdir a; tmpfs A a; mkdir a/m; make-shared a; tmpfs M a/m; B = unshare; B: umount -l a → OK
⇒ [A] a=A S1; [B]
mkdir a/m/n; tmpfs N a/m/n
⇒ [A] a=A S1; a/m/n=N S2; [B]
");
}

/// E61: rbind of a tree onto a shared parent with a slave receiver
#[test]
fn e61_rbind_of_a_tree_onto_a_shared_parent_with_a_slave_receiver() {
    run("
mkdir a b src; tmpfs A a; mkdir a/m; make-shared a; bind a b; make-slave b; tmpfs S src; mkdir src/k; tmpfs K src/k; rbind src a/m
⇒ a=A S1; a/m=S S2; a/m/k=K S3; b=A M1; b/m=S M2; b/m/k=K M3; src=S; src/k=K
umount a/m/k
⇒ a=A S1; a/m=S S2; b=A M1; b/m=S M2; src=S; src/k=K
");
}

/// E62: a private hole inside a shared tree
#[test]
fn e62_a_private_hole_inside_a_shared_tree() {
    run("
mkdir a b; tmpfs A a; mkdir a/m; make-shared a; bind a b; tmpfs M a/m; mkdir a/m/k; make-private a/m; tmpfs K a/m/k; move a/m/k b/m/k
⇒ a=A S1; a/m=M; b=A S1; b/m=M S2; b/m/k=K S3
");
}

/// E63: unshare, both sides private afterwards, then a common mount stays independent
#[test]
fn e63_unshare_both_sides_private_afterwards_then_a_common_mount() {
    run("
mkdir a; tmpfs A a; mkdir a/s; tmpfs S a/s; B = unshare; umount a/s
⇒ [A] a=A; [B] a=A; a/s=S
B: umount a/s
⇒ [A] a=A; [B] a=A
");
}

/// E64: three namespaces-like chain inside one tree, umount in the middle propagates down only
#[test]
fn e64_three_namespaces_like_chain_inside_one_tree_umount_in_the() {
    run("
mkdir a b c; tmpfs A a; mkdir a/m; make-shared a; bind a b; make-slave b; make-shared b; bind b c; make-slave c; make-shared c; tmpfs M a/m
⇒ a=A S1; a/m=M S2; b=A S3 M1; b/m=M S4 M2; c=A S5 M3; c/m=M S6 M4
make-private b/m; umount b/m
⇒ a=A S1; a/m=M S2; b=A S3 M1; c=A S5 M3
umount a/m → OK
⇒ a=A S1; b=A S3 M1; c=A S5 M3
");
}

/// E65: peer with a narrower root on umount; same dentry mounted twice in one receiver
#[test]
fn e65_peer_with_a_narrower_root_on_umount_same_dentry_mounted_twice() {
    run("
mkdir a b; tmpfs A a; mkdir -p a/d/m; make-shared a; bind a/d b; tmpfs M1 a/d/m; tmpfs M2 b/m
⇒ a=A S1; a/d/m=M1 S2; ^a/d/m=M2 S3; b=A:/d S1; b/m=M1 S2; ^b/m=M2 S3
umount a/d/m
⇒ a=A S1; a/d/m=M1 S2; b=A:/d S1; b/m=M1 S2
");
}

/// E66: bind of a mountpoint directory itself (what is below it) versus rbind
#[test]
fn e66_bind_of_a_mountpoint_directory_itself_what_is_below_it_versus() {
    run("
mkdir a b c; tmpfs A a; mkdir -p a/d/in; tmpfs D a/d; mkdir a/d/x; bind a b; rbind a c; ls b/d
  ls b/d ['in']
ls c/d
  ls c/d ['x']
⇒ a=A; a/d=D; b=A; c=A; c/d=D
");
}

/// E67: counterparts are positional: an unrelated local mount sitting at the place is removed
#[test]
fn e67_counterparts_are_positional_an_unrelated_local_mount_sitting() {
    run("
mkdir a b; tmpfs A a; mkdir a/m; make-shared a; bind a b; make-slave b; tmpfs M a/m; umount b/m; tmpfs MINE b/m
⇒ a=A S1; a/m=M S2; b=A M1; b/m=MINE
umount a/m → OK
⇒ a=A S1; b=A M1
");
}

/// E68: positional, continued: something slipped beneath the copy is removed instead of the copy
#[test]
fn e68_positional_continued_something_slipped_beneath_the_copy_is() {
    run("
mkdir a b n; tmpfs A a; mkdir a/m; make-shared a; bind a b; make-slave b; tmpfs M a/m; tmpfs N n; beneath n b/m → OK
⇒ a=A S1; a/m=M S2; b=A M1; b/m=N; ^b/m=M M2
umount a/m → OK
⇒ a=A S1; b=A M1; b/m=M
");
}

/// E69: a private mount tree lazily unmounted takes counterparts of its shared submounts along
#[test]
fn e69_a_private_mount_tree_lazily_unmounted_takes_counterparts_of() {
    run("
mkdir a c; tmpfs TOP a; mkdir a/s; tmpfs S a/s; mkdir a/s/k; make-shared a/s; bind a/s c; tmpfs K a/s/k
⇒ a=TOP; a/s=S S1; a/s/k=K S2; c=S S1; c/k=K S2
umount -l a
⇒ c=S S1
");
}
