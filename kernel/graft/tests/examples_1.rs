//! The worked examples E01 to E35 of `semantics.md`, as they stand there.

mod support;

use support::script::run;

/// E01: private bind: no relation, nothing propagates
#[test]
fn e01_private_bind_no_relation_nothing_propagates() {
    run("
mkdir a b; tmpfs A a; mkdir a/s; bind a b; tmpfs S a/s
⇒ a=A; a/s=S; b=A
");
}

/// E02: shared bind = peers; mount and umount flow both ways
#[test]
fn e02_shared_bind_peers_mount_and_umount_flow_both_ways() {
    run("
mkdir a b; tmpfs A a; mkdir a/s a/t; make-shared a; bind a b; tmpfs S a/s; tmpfs T b/t
⇒ a=A S1; a/s=S S2; a/t=T S3; b=A S1; b/s=S S2; b/t=T S3
umount b/s; umount a/t
⇒ a=A S1; b=A S1
");
}

/// E03: slave receives, does not send
#[test]
fn e03_slave_receives_does_not_send() {
    run("
mkdir a b; tmpfs A a; mkdir a/s a/t; make-shared a; bind a b; make-slave b; tmpfs S a/s; tmpfs T b/t
⇒ a=A S1; a/s=S S2; b=A M1; b/s=S M2; b/t=T
umount a/s
⇒ a=A S1; b=A M1; b/t=T
");
}

/// E04: chain master -> shared slave -> slave
#[test]
fn e04_chain_master_shared_slave_slave() {
    run("
mkdir a b c; tmpfs A a; mkdir a/s a/t; make-shared a; bind a b; make-slave b; make-shared b; bind b c; make-slave c; tmpfs S a/s; tmpfs T b/t
⇒ a=A S1; a/s=S S2; b=A S3 M1; b/s=S S4 M2; b/t=T S5; c=A M3; c/s=S M4; c/t=T M5
(umount of the middle copy reaches c but not a)
umount b/s
⇒ a=A S1; a/s=S S2; b=A S3 M1; b/t=T S5; c=A M3; c/t=T M5
");
}

/// E05: make-slave on a shared+slave member goes to its PEERS group, not to the old master
#[test]
fn e05_make_slave_on_a_shared_slave_member_goes_to_its_peers_group() {
    run("
mkdir a b c; tmpfs A a; make-shared a; bind a b; make-slave b; make-shared b; bind b c
⇒ a=A S1; b=A S2 M1; c=A S2 M1
make-slave b
⇒ a=A S1; b=A M2; c=A S2 M1
(now c is the sole member of its group: make-slave falls back to c's own master)
make-slave c
⇒ a=A S1; b=A M1; c=A M1
");
}

/// E06: sole shared mount made slave becomes private; its slaves become private too
#[test]
fn e06_sole_shared_mount_made_slave_becomes_private_its_slaves() {
    run("
mkdir a b; tmpfs A a; make-shared a; bind a b; make-slave b
⇒ a=A S1; b=A M1
make-slave a
⇒ a=A; b=A
");
}

/// E07: removing a member from the middle of a chain re-parents its slaves upwards
#[test]
fn e07_removing_a_member_from_the_middle_of_a_chain_re_parents_its() {
    run("
mkdir a b c; tmpfs A a; make-shared a; bind a b; make-slave b; make-shared b; bind b c; make-slave c; make-private b
⇒ a=A S1; b=A; c=A M1
make-private a
⇒ a=A; b=A; c=A
");
}

/// E08: make-slave on private and unbindable mounts; unbindable -> shared
#[test]
fn e08_make_slave_on_private_and_unbindable_mounts_unbindable_shared() {
    run("
mkdir a b; tmpfs A a; make-slave a → OK
⇒ a=A
make-unbindable a; make-slave a → OK
⇒ a=A unbindable
bind a b → EINVAL; make-shared a
⇒ a=A S1
make-unbindable a
⇒ a=A unbindable
");
}

/// E09: rbind prunes unbindable subtrees, bind of an unbindable mount fails
#[test]
fn e09_rbind_prunes_unbindable_subtrees_bind_of_an_unbindable_mount() {
    run("
mkdir a b; tmpfs A a; mkdir a/u a/v; tmpfs U a/u; mkdir a/u/w; tmpfs W a/u/w; tmpfs V a/v; make-unbindable a/u; rbind a b
⇒ a=A; a/u=U unbindable; a/u/w=W; a/v=V; b=A; b/v=V
bind a/u b → EINVAL; bind a/u/w b → OK
⇒ a=A; a/u=U unbindable; a/u/w=W; a/v=V; b=A; ^b=W; b/v=V
");
}

/// E10: bind matrix onto a private parent: shared / slave / shared+slave / private source
#[test]
fn e10_bind_matrix_onto_a_private_parent_shared_slave_shared_slave() {
    run("
mkdir a sl ss d1 d2 d3 d4; tmpfs A a; make-shared a; bind a sl; make-slave sl; bind a ss; make-slave ss; make-shared ss; tmpfs P d4; mkdir d4/t; bind a d1; bind sl d2; bind ss d3; bind d4 d4/t
⇒ a=A S1; d1=A S1; d2=A M1; d3=A S2 M1; d4=P; d4/t=P; sl=A M1; ss=A S2 M1
");
}

/// E11: bind matrix onto a shared parent with one peer: everything becomes shared and is copied
#[test]
fn e11_bind_matrix_onto_a_shared_parent_with_one_peer_everything() {
    run("
mkdir a sl P Q; tmpfs A a; make-shared a; bind a sl; make-slave sl; tmpfs base2 P; mkdir P/1 P/2 P/3; make-shared P; bind P Q; bind a P/1; bind sl P/2; tmpfs N P/3
⇒ P=base2 S1; P/1=A S2; P/2=A S3 M2; P/3=N S4; Q=base2 S1; Q/1=A S2; Q/2=A S3 M2; Q/3=N S4; a=A S2; sl=A M2
");
}

/// E12: copies on slaves: slave of the new mount; copies on shared slaves: shared+slave
#[test]
fn e12_copies_on_slaves_slave_of_the_new_mount_copies_on_shared() {
    run("
mkdir a b c d; tmpfs A a; mkdir a/m; make-shared a; bind a b; make-slave b; bind a c; make-slave c; make-shared c; bind c d; tmpfs M a/m
⇒ a=A S1; a/m=M S2; b=A M1; b/m=M M2; c=A S3 M1; c/m=M S4 M2; d=A S3 M1; d/m=M S4 M2
");
}

/// E13: peers with different roots: propagation only where the mountpoint is below the root
#[test]
fn e13_peers_with_different_roots_propagation_only_where_the() {
    run("
mkdir a b c; tmpfs A a; mkdir -p a/d1/m a/d2/m; make-shared a; bind a/d1 b; bind a/d2 c; tmpfs M1 b/m; tmpfs M2 a/d2/m
⇒ a=A S1; a/d1/m=M1 S2; a/d2/m=M2 S3; b=A:/d1 S1; b/m=M1 S2; c=A:/d2 S1; c/m=M2 S3
umount c/m
⇒ a=A S1; a/d1/m=M1 S2; b=A:/d1 S1; b/m=M1 S2; c=A:/d2 S1
");
}

/// E14: a slave whose recorded master is a mount of a detached tree (differs by version)
#[test]
fn e14_a_slave_whose_recorded_master_is_a_mount_of_a_detached_tree() {
    run("
mkdir a b; tmpfs A a; mkdir a/m a/n; make-shared a; open_tree a F; bind a b
(the next peer of b in ring order is the detached clone F, so F becomes b's master)
make-slave b; tmpfs M a/m
⇒ a=A S1; a/m=M S2; b=A M1
closefd F; tmpfs N a/n
⇒ a=A S1; a/m=M S2; a/n=N S3; b=A M1; b/n=N M3
");
}

/// E15: intermediate slave group whose root hides the mountpoint
#[test]
fn e15_intermediate_slave_group_whose_root_hides_the_mountpoint() {
    run("
mkdir a b c; tmpfs A a; mkdir -p a/d/e a/m; make-shared a
(b = slave+shared view of the whole fs; c = slave of b)
bind a b; make-slave b; make-shared b; bind b c; make-slave c
(replace b by a member that only sees /d: bind b/d somewhere, then drop b)
mkdir bd; bind b/d bd; umount b
⇒ a=A S1; bd=A:/d S2 M1; c=A M2
(mount at a/m is not visible in bd (root /d) but is in c)
tmpfs M a/m
⇒ a=A S1; a/m=M S3; bd=A:/d S2 M1; c=A M2; c/m=M M3
tmpfs E a/d/e
⇒ a=A S1; a/d/e=E S4; a/m=M S3; bd=A:/d S2 M1; bd/e=E S5 M4; c=A M2; c/d/e=E M5; c/m=M M3
");
}

/// E16: bind a shared mount onto a directory inside itself (loop in the tree, no infinite recursion)
#[test]
fn e16_bind_a_shared_mount_onto_a_directory_inside_itself_loop_in() {
    run("
mkdir a; tmpfs A a; mkdir a/s a/t; make-shared a; bind a a/s
⇒ a=A S1; a/s=A S1
tmpfs T a/t
⇒ a=A S1; a/s=A S1; a/s/t=T S2; a/t=T S2
bind a a/s/t
⇒ a=A S1; a/s=A S1; a/s/t=T S2; ^a/s/t=A S1; a/t=T S2; ^a/t=A S1
");
}

/// E17: two peers; bind one onto a subdirectory of the other
#[test]
fn e17_two_peers_bind_one_onto_a_subdirectory_of_the_other() {
    run("
mkdir a b; tmpfs A a; mkdir a/s; make-shared a; bind a b; bind a b/s
⇒ a=A S1; a/s=A S1; b=A S1; b/s=A S1
umount a/s
⇒ a=A S1; b=A S1
");
}

/// E18: rbind of a shared tree into its own child
#[test]
fn e18_rbind_of_a_shared_tree_into_its_own_child() {
    run("
mkdir a; tmpfs A a; mkdir a/c; make-shared a; tmpfs C a/c; mkdir a/c/d; rbind a a/c/d
⇒ a=A S1; a/c=C S2; a/c/d=A S1; a/c/d/c=C S2
");
}

/// E19: rbind of a shared parent into a directory of itself, twice
#[test]
fn e19_rbind_of_a_shared_parent_into_a_directory_of_itself_twice() {
    run("
mkdir a; tmpfs A a; mkdir a/1 a/2; make-shared a; rbind a a/1; rbind a a/2
⇒ a=A S1; a/1=A S1; a/1/2=A S1; a/1/2/1=A S1; a/2=A S1; a/2/1=A S1
");
}

/// E20: stacking: a second mount on the same path is a child of the first
#[test]
fn e20_stacking_a_second_mount_on_the_same_path_is_a_child_of_the() {
    run("
mkdir a; tmpfs A a; tmpfs B a; tmpfs C a
⇒ a=A; ^a=B; ^^a=C
umount a
⇒ a=A; ^a=B
(same superblock on the same mountpoint root)
bind a a → OK
⇒ a=A; ^a=B; ^^a=B
");
}

/// E21: tucking: propagated copy is inserted BENEATH what the receiver already has there
#[test]
fn e21_tucking_propagated_copy_is_inserted_beneath_what_the_receiver() {
    run("
mkdir a b; tmpfs A a; mkdir a/m; make-shared a; bind a b; make-slave b; tmpfs OLD b/m
⇒ a=A S1; b=A M1; b/m=OLD
tmpfs NEW a/m
⇒ a=A S1; a/m=NEW S2; b=A M1; b/m=NEW M2; ^b/m=OLD
umount a/m
⇒ a=A S1; b=A M1; b/m=OLD
");
}

/// E22: tucking, then unmounting the local top reveals the propagated copy
#[test]
fn e22_tucking_then_unmounting_the_local_top_reveals_the_propagated() {
    run("
mkdir a b; tmpfs A a; mkdir a/m; make-shared a; bind a b; make-slave b; tmpfs OLD b/m; tmpfs NEW a/m; umount b/m
⇒ a=A S1; a/m=NEW S2; b=A M1; b/m=NEW M2
umount b/m
⇒ a=A S1; a/m=NEW S2; b=A M1
umount a/m → OK
⇒ a=A S1; b=A M1
");
}

/// E23: tucked stack of two: order of the propagated copies
#[test]
fn e23_tucked_stack_of_two_order_of_the_propagated_copies() {
    run("
mkdir a b; tmpfs A a; mkdir a/m; make-shared a; bind a b; make-slave b; tmpfs OLD b/m; tmpfs N1 a/m
(the 2nd goes on top of N1 (private?) - N1 became shared because its parent is shared)
tmpfs N2 a/m
⇒ a=A S1; a/m=N1 S2; ^a/m=N2 S3; b=A M1; b/m=N1 M2; ^b/m=N2 M3; ^^b/m=OLD
umount a/m
⇒ a=A S1; a/m=N1 S2; b=A M1; b/m=N1 M2; ^b/m=OLD
umount a/m
⇒ a=A S1; b=A M1; b/m=OLD
");
}

/// E24: umount: a copy that has an extra child elsewhere is silently kept
#[test]
fn e24_umount_a_copy_that_has_an_extra_child_elsewhere_is_silently() {
    run("
mkdir a b; tmpfs A a; mkdir a/m; make-shared a; bind a b; make-slave b; tmpfs M a/m; mkdir a/m/k; tmpfs K b/m/k
⇒ a=A S1; a/m=M S2; b=A M1; b/m=M M2; b/m/k=K
umount a/m → OK
⇒ a=A S1; b=A M1; b/m=M; b/m/k=K
");
}

/// E25: umount: busy copy (open file) with no children makes the whole umount fail
#[test]
fn e25_umount_busy_copy_open_file_with_no_children_makes_the_whole() {
    run("
mkdir a b; tmpfs A a; mkdir a/m; make-shared a; bind a b; make-slave b; tmpfs M a/m; hold b/m; umount a/m → EBUSY
(but a busy copy that has a child is not even looked at)
mkdir a/m/k; tmpfs K b/m/k; umount a/m → OK
⇒ a=A S1; b=A M1; b/m=M; b/m/k=K
release
");
}

/// E26: lazy umount ignores busy copies
#[test]
fn e26_lazy_umount_ignores_busy_copies() {
    run("
mkdir a b; tmpfs A a; mkdir a/m; make-shared a; bind a b; make-slave b; tmpfs M a/m; hold b/m; umount -l a/m → OK
⇒ a=A S1; b=A M1
release
");
}

/// E27: lazy umount of a tree, receiver has one extra mount below: only the path to it is kept
#[test]
fn e27_lazy_umount_of_a_tree_receiver_has_one_extra_mount_below_only() {
    run("
mkdir a b; tmpfs A a; mkdir a/m; make-shared a; bind a b; make-slave b; tmpfs M a/m; mkdir a/m/c a/m/d; tmpfs C a/m/c; mkdir a/m/c/x; tmpfs D b/m/d
⇒ a=A S1; a/m=M S2; a/m/c=C S3; b=A M1; b/m=M M2; b/m/c=C M3; b/m/d=D
umount a/m → EBUSY; umount -l a/m → OK
⇒ a=A S1; b=A M1; b/m=M; b/m/d=D
");
}

/// E28: tucked copy with another child below is kept (topper does not excuse other children)
#[test]
fn e28_tucked_copy_with_another_child_below_is_kept_topper_does_not() {
    run("
mkdir a b; tmpfs A a; mkdir a/m; make-shared a; bind a b; make-slave b; tmpfs M a/m; mkdir a/m/k; tmpfs K b/m/k; tmpfs TOP b/m
⇒ a=A S1; a/m=M S2; b=A M1; b/m=M M2; ^b/m=TOP; b/m/k=K
umount a/m → OK
⇒ a=A S1; b=A M1; b/m=M; ^b/m=TOP; b/m/k=K
");
}

/// E29: move: private parent needed; move to a shared parent propagates
#[test]
fn e29_move_private_parent_needed_move_to_a_shared_parent_propagates() {
    run("
mkdir a b p q; tmpfs A a; mkdir a/s; make-shared a; tmpfs S a/s; move a/s b → EINVAL; make-private a; move a/s b → OK
⇒ a=A; b=S S1
tmpfs P p; mkdir p/t; make-shared p; bind p q; move b p/t → OK
⇒ a=A; p=P S2; p/t=S S1; q=P S2; q/t=S S1
move p/t b → EINVAL; move p p/t → ELOOP
");
}

/// E30: move of unbindable: fine to a private parent, EINVAL to a shared one (also nested)
#[test]
fn e30_move_of_unbindable_fine_to_a_private_parent_einval_to_a() {
    run("
mkdir u b p; tmpfs U u; mkdir u/n; tmpfs N u/n; make-unbindable u/n; move u b → OK; tmpfs P p; mkdir p/t; make-shared p; move b p/t → EINVAL
⇒ b=U; b/n=N unbindable; p=P S1
");
}

/// E31: make-rshared numbers groups in pre-order; mixed tree
///
/// The source `MM` has another name in the spec, which reads like a rule.
#[test]
fn e31_make_rshared_numbers_groups_in_pre_order_mixed_tree() {
    run("
mkdir a; tmpfs A a; mkdir a/1 a/2; tmpfs M1 a/1; mkdir a/1/1; tmpfs MM a/1/1; tmpfs M2 a/2; make-rshared a
⇒ a=A S1; a/1=M1 S2; a/1/1=MM S3; a/2=M2 S4
make-rslave a
⇒ a=A; a/1=M1; a/1/1=MM; a/2=M2
");
}

/// E32: new namespace: every mount of the copy is a peer of the original
#[test]
fn e32_new_namespace_every_mount_of_the_copy_is_a_peer_of_the() {
    run("
mkdir a; tmpfs A a; mkdir a/s a/t; make-shared a; B = unshare
⇒ [A] a=A S1; [B] a=A S1
tmpfs S a/s; B: tmpfs T a/t
⇒ [A] a=A S1; a/s=S S2; a/t=T S3; [B] a=A S1; a/s=S S2; a/t=T S3
B: make-rslave /; B: umount a/t
⇒ [A] a=A S1; a/s=S S2; a/t=T S3; [B] a=A M1; a/s=S M2
umount a/s
⇒ [A] a=A S1; a/t=T S3; [B] a=A M1
");
}

/// E33: namespace teardown does not propagate umounts
#[test]
fn e33_namespace_teardown_does_not_propagate_umounts() {
    run("
mkdir a; tmpfs A a; mkdir a/s; make-shared a; B = unshare; B: tmpfs S a/s
⇒ [A] a=A S1; a/s=S S2; [B] a=A S1; a/s=S S2
B exit
⇒ a=A S1; a/s=S S2
");
}

/// E34: namespace teardown: slaves of the dying members go to the surviving peer / up / private
#[test]
fn e34_namespace_teardown_slaves_of_the_dying_members_go_to_the() {
    run("
mkdir a b; tmpfs A a; make-shared a; B = unshare
(make OUR a a slave of the group that now only lives in B)
make-slave a
⇒ [A] a=A M1; [B] a=A S1
B exit
⇒ a=A
");
}

/// E35: teardown with a chain: B holds the middle of a slave chain
#[test]
fn e35_teardown_with_a_chain_b_holds_the_middle_of_a_slave_chain() {
    run("
mkdir a b; tmpfs A a; make-shared a; bind a b; B = unshare
(B: a,b peers.  In B make b a shared slave; our b then becomes...)
B: make-slave b; B: make-shared b
⇒ [A] a=A S1; b=A S1; [B] a=A S1; b=A S2 M1
B exit
⇒ a=A S1; b=A S1
");
}
