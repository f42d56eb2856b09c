//! Mount options of overlayfs: what is accepted, what is refused and how, what goes together, and what the tables show.

use abi::mount_api::{CREATE, RECONFIGURE, attach, command, fsmount, fsopen, fspick, set_flag, set_string};
use abi::world::{bind, mkdir, mkdirs, mount, names, new_tmpfs, touch, umount, write};
use abi::{Outcome, assert_errno};
use overlayfs::{again, in_world, mounted, mounted_read_only, overlay, shown_options, unmounted};
use std::os::fd::OwnedFd;

const LAYERS: &str = "lowerdir=lower,upperdir=upper,workdir=work";

/// Mounts with options behind the layers, looks at the table, and makes the upper layer new.
#[track_caller]
fn shown_with(more: &str) -> String {
    overlay(&format!("{LAYERS}{more}")).unwrap_or_else(|error| panic!("{more}: {error:?}"));
    let shown = shown_options();
    unmounted();
    for name in ["upper", "work"] {
        std::fs::remove_dir_all(name).expect("remove");
        mkdir(name);
    }
    shown.strip_prefix(LAYERS).unwrap_or_else(|| panic!("{shown} does not begin with the layers")).to_owned()
}

#[track_caller]
fn refused(more: &str) {
    let outcome = overlay(&format!("{LAYERS}{more}"));
    assert_eq!(outcome, Err(abi::Errno(libc::EINVAL)), "with {more}");
}

#[test]
fn layers_must_be_given_whole() {
    in_world(|| {
        assert_errno!(overlay(""), EINVAL);
        assert_errno!(overlay("upperdir=upper,workdir=work"), EINVAL);
        assert_errno!(overlay("lowerdir=lower,upperdir=upper"), EINVAL);
        assert_errno!(overlay("lowerdir=lower"), EINVAL);
        assert_errno!(overlay("lowerdir=,upperdir=upper,workdir=work"), EINVAL);
        assert_errno!(overlay("lowerdir=lower,upperdir=,workdir=work"), EINVAL);
        assert_errno!(overlay("lowerdir=lower,upperdir=upper,workdir="), EINVAL);
    });
}

#[test]
fn unknown_words_and_wrong_values_are_einval() {
    in_world(|| {
        let wrong = [
            "foo",
            "foo=1",
            "redirect_dir",
            "redirect_dir=",
            "redirect_dir=maybe",
            "index",
            "index=yes",
            "uuid=1",
            "nfs_export=1",
            "xino",
            "xino=yes",
            "metacopy=1",
            "verity=yes",
            "volatile=1",
            "userxattr=1",
            "default_permissions=1",
            "upperdir",
            "lowerdir",
            "workdir",
            "nouserxattr",
            "novolatile",
            "index=ON",
        ];
        wrong.iter().for_each(|word| refused(&format!(",{word}")));
    });
}

#[test]
fn the_table_shows_what_is_not_the_default() {
    in_world(|| {
        for value in ["redirect_dir=on", "redirect_dir=nofollow", "index=on"] {
            assert_eq!(shown_with(&format!(",{value}")), format!(",{value},uuid=on"), "{value}");
        }
        for value in ["uuid=null", "uuid=off"] {
            assert_eq!(shown_with(&format!(",{value}")), format!(",{value}"));
        }
        let alone = shown_with("");
        for value in ["redirect_dir=off", "redirect_dir=follow", "index=off", "nfs_export=off", "xino=off", "metacopy=off", "verity=off"] {
            assert_eq!(shown_with(&format!(",{value}")), alone, "{value}");
        }
        assert_eq!(shown_with(",xino=on"), alone, "one file system needs no xino");
        assert_eq!(shown_with(",xino=auto"), alone);
    });
}

#[test]
fn a_new_upper_layer_gets_a_uuid() {
    in_world(|| {
        mounted("");
        assert_eq!(shown_options(), format!("{LAYERS},uuid=on"));
        assert_eq!(overlayfs::xattr("upper", "trusted.overlay.uuid").map(|uuid| uuid.len()), Ok(16));
        unmounted();
        mounted(",uuid=on");
        assert_eq!(shown_options(), format!("{LAYERS},uuid=on"));
        unmounted();
        mounted(",uuid=null");
        assert_eq!(shown_options(), format!("{LAYERS},uuid=null"));
    });
}

#[test]
fn an_upper_layer_that_was_used_without_a_uuid_gets_none() {
    in_world(|| {
        touch("lower/file");
        mounted(",uuid=null");
        touch("m/file");
        assert!(overlayfs::has_xattr("upper", "trusted.overlay.impure"));
        assert!(!overlayfs::has_xattr("upper", "trusted.overlay.uuid"));
        again("");
        assert_eq!(shown_options(), format!("{LAYERS},uuid=null"));
        again(",uuid=on");
        assert!(overlayfs::has_xattr("upper", "trusted.overlay.uuid"));
    });
}

#[test]
fn flags_are_shown_in_a_fixed_order() {
    in_world(|| {
        let shown = shown_with(",userxattr,volatile,default_permissions,uuid=null");
        // Debian's later 6.12 writes "fsync=volatile".
        let shown = shown.replace("fsync=volatile", "volatile");
        assert_eq!(shown, ",default_permissions,redirect_dir=nofollow,uuid=null,volatile,userxattr");
        let shown = shown_with(",metacopy=on,uuid=null,redirect_dir=on,index=on");
        assert_eq!(shown, ",redirect_dir=on,index=on,uuid=null,metacopy=on");
    });
}

#[test]
fn some_options_bring_others() {
    in_world(|| {
        assert_eq!(shown_with(",metacopy=on,uuid=null"), ",redirect_dir=on,uuid=null,metacopy=on");
        assert_eq!(shown_with(",nfs_export=on,uuid=null"), ",index=on,uuid=null,nfs_export=on");
        // What was asked for by name wins over what is only implied.
        assert_eq!(shown_with(",redirect_dir=off,uuid=null,metacopy=off"), ",uuid=null");
    });
}

#[test]
fn options_that_contradict_each_other_are_einval() {
    in_world(|| {
        let pairs = [
            "metacopy=on,redirect_dir=off",
            "metacopy=on,redirect_dir=nofollow",
            "metacopy=on,redirect_dir=follow",
            "nfs_export=on,index=off",
            "nfs_export=on,metacopy=on",
            "userxattr,redirect_dir=on",
            "userxattr,redirect_dir=follow",
            "userxattr,metacopy=on",
            "verity=on,metacopy=off",
            "verity=require,userxattr",
            "verity=on,redirect_dir=off",
        ];
        pairs.iter().for_each(|pair| refused(&format!(",{pair}")));
        mounted(",userxattr,redirect_dir=nofollow,metacopy=off");
    });
}

#[test]
fn the_last_of_several_words_counts() {
    in_world(|| {
        mkdirs(&["upper2", "work2"]);
        write("lower2/file", "two");
        let data = "lowerdir=lower,upperdir=upper,workdir=work,index=on,index=off,lowerdir=lower2,upperdir=upper2,workdir=work2,uuid=null";
        overlay(data).expect("mount");
        assert_eq!(shown_options(), "lowerdir=lower2,upperdir=upper2,workdir=work2,uuid=null");
        assert_eq!(names("m"), ["file"]);
        touch("m/new");
        assert_eq!(names("upper2"), ["new"]);
        assert_eq!(names("work"), [""; 0]);
    });
}

#[test]
fn backslashes_keep_colons_and_commas_in_names() {
    in_world(|| {
        mkdirs(&["a:b", "a,c", "a\\d", "u,1", "w:1"]);
        ["a:b/1", "a,c/2", "a\\d/3"].iter().for_each(|path| touch(path));
        overlay("lowerdir=a\\:b:a\\,c:a\\\\d,upperdir=u\\,1,workdir=w\\:1,uuid=null").expect("mount");
        assert_eq!(names("m"), ["1", "2", "3"]);
        touch("m/4");
        assert_eq!(names("u,1"), ["4"]);
        assert_eq!(names("w:1"), ["work"]);
        let shown = shown_options();
        assert!(shown.starts_with("lowerdir=a\\134:b:a\\134\\054c:a\\134\\134d,"), "{shown}");
        unmounted();
        assert_errno!(overlay("lowerdir=a:b,upperdir=upper,workdir=work"), ENOENT);
    });
}

#[test]
fn colons_stand_between_layers_only() {
    in_world(|| {
        for lower in [":lower", "lower:", "lower:lower2:", "lower:::lower2", "lower::lower2", "::lower", ":"] {
            assert_errno!(overlay(&format!("lowerdir={lower},upperdir=upper,workdir=work")), EINVAL);
        }
    });
}

#[test]
fn layers_must_be_directories_that_are_there() {
    in_world(|| {
        touch("file");
        assert_errno!(overlay("lowerdir=none,upperdir=upper,workdir=work"), ENOENT);
        assert_errno!(overlay("lowerdir=lower:none,upperdir=upper,workdir=work"), ENOENT);
        assert_errno!(overlay("lowerdir=lower,upperdir=none,workdir=work"), ENOENT);
        assert_errno!(overlay("lowerdir=lower,upperdir=upper,workdir=none"), ENOENT);
        assert_errno!(overlay("lowerdir=file/x,upperdir=upper,workdir=work"), ENOTDIR);
        assert_errno!(overlay("lowerdir=file,upperdir=upper,workdir=work"), EINVAL);
        assert_errno!(overlay("lowerdir=lower,upperdir=file,workdir=work"), EINVAL);
        assert_errno!(overlay("lowerdir=lower,upperdir=upper,workdir=file"), EINVAL);
        std::os::unix::fs::symlink("lower", "link").expect("symlink");
        overlay("lowerdir=link,upperdir=upper,workdir=work").expect("links are followed");
    });
}

#[test]
fn upper_and_work_lie_apart_on_one_mount() {
    in_world(|| {
        mkdirs(&["upper/in", "work/in"]);
        for (upper, work) in [("upper", "upper"), ("upper", "upper/in"), ("work/in", "work")] {
            assert_errno!(overlay(&format!("lowerdir=lower,upperdir={upper},workdir={work}")), EINVAL);
        }
        new_tmpfs("other");
        mkdir("other/work");
        assert_errno!(overlay("lowerdir=lower,upperdir=upper,workdir=other/work"), EINVAL);
        // The same file system, but another mount of it.
        bind("work", "other").expect("bind");
        assert_errno!(overlay("lowerdir=lower,upperdir=upper,workdir=other"), EINVAL);
    });
}

#[test]
fn a_read_only_mount_is_no_upper_layer() {
    in_world(|| {
        new_tmpfs("other");
        mkdirs(&["other/upper", "other/work"]);
        mount("", "other", "", libc::MS_REMOUNT | libc::MS_RDONLY, "").expect("remount");
        assert_errno!(overlay("lowerdir=lower,upperdir=other/upper,workdir=other/work"), EINVAL);
        mount("", "other", "", libc::MS_REMOUNT, "").expect("remount");
        overlay("lowerdir=lower,upperdir=other/upper,workdir=other/work").expect("mount");
    });
}

#[test]
fn layers_that_lie_in_each_other_are_eloop() {
    in_world(|| {
        mkdirs(&["lower/in", "upper/in", "work/in"]);
        for lower in ["lower:lower", "lower:lower/in", "lower/in:lower", "upper", "upper/in", "work", "work/in"] {
            assert_errno!(overlay(&format!("lowerdir={lower},upperdir=upper,workdir=work")), ELOOP);
        }
    });
}

#[test]
fn layers_may_lie_below_a_lower_one_but_are_not_seen_there() {
    in_world(|| {
        touch("upper/file");
        overlay("lowerdir=.,upperdir=upper,workdir=work").expect("mount");
        assert!(std::fs::metadata("m/lower").is_ok());
        assert_errno!(std::fs::metadata("m/upper"), ELOOP);
        assert_errno!(std::fs::metadata("m/work"), ELOOP);
    });
}

#[test]
fn an_upper_layer_in_use_is_ebusy_with_an_index() {
    in_world(|| {
        mkdirs(&["other", "work2", "upper2"]);
        mounted("");
        let second = |data: &str| mount("overlay", "other", "overlay", 0, data);
        assert_errno!(second("lowerdir=lower,upperdir=upper,workdir=work2,index=on"), EBUSY);
        assert_errno!(second("lowerdir=lower,upperdir=upper2,workdir=work,index=on"), EBUSY);
        assert_errno!(second("lowerdir=upper,upperdir=upper2,workdir=work2,index=on"), EBUSY);
        second("lowerdir=lower,upperdir=upper,workdir=work2").expect("a warning only");
        umount("other", 0).expect("umount");
        unmounted();
        second("lowerdir=lower,upperdir=upper,workdir=work,index=on").expect("not in use any more");
    });
}

#[test]
fn five_hundred_lower_layers_are_the_most() {
    in_world(|| {
        mkdir("l");
        std::env::set_current_dir("l").expect("chdir");
        (0..501).for_each(|number| mkdir(&number.to_string()));
        touch("499/deepest");
        let lower = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>().join(":");
        assert_errno!(mount("o", "/tmp/m", "overlay", 0, &format!("lowerdir={}", lower(501))), EINVAL);
        mount("o", "/tmp/m", "overlay", 0, &format!("lowerdir={}", lower(500))).expect("five hundred");
        assert_eq!(names("/tmp/m"), ["deepest"]);
    });
}

fn context_with(strings: &[(&str, &str)]) -> Outcome<OwnedFd> {
    let context = fsopen("overlay")?;
    strings.iter().try_for_each(|(key, value)| set_string(&context, key, value).map(|_| ()))?;
    Ok(context)
}

#[test]
fn lower_layers_can_be_added_one_by_one() {
    in_world(|| {
        mkdir("a:b");
        ["lower/1", "lower2/2", "a:b/3"].iter().for_each(|path| touch(path));
        let layers = [("lowerdir+", "lower"), ("lowerdir+", "lower2"), ("lowerdir+", "a:b"), ("upperdir", "upper"), ("workdir", "work")];
        let context = context_with(&layers).expect("options");
        set_string(&context, "uuid", "null").expect("uuid");
        command(&context, CREATE).expect("create");
        attach(&fsmount(&context, 0).expect("fsmount"), "m").expect("attach");
        assert_eq!(names("m"), ["1", "2", "3"]);
        assert_eq!(shown_options(), "lowerdir+=lower,lowerdir+=lower2,lowerdir+=a:b,upperdir=upper,workdir=work,uuid=null");
    });
}

#[test]
fn added_layers_do_not_follow_a_list() {
    in_world(|| {
        let context = context_with(&[("lowerdir", "lower")]).expect("options");
        assert_errno!(set_string(&context, "lowerdir+", "lower2"), EINVAL);
        assert_errno!(set_string(&context, "datadir+", "lower2"), EINVAL);
        assert_errno!(context_with(&[("lowerdir+", "none")]), ENOENT);
        assert_errno!(context_with(&[("lowerdir+", "")]), EINVAL);
        // Layers for data come last.
        let context = context_with(&[("lowerdir+", "lower"), ("datadir+", "lower2")]).expect("options");
        assert_errno!(set_string(&context, "lowerdir+", "lower2"), EINVAL);
        // They are of use with metacopy only.
        set_string(&context, "upperdir", "upper").expect("upperdir");
        set_string(&context, "workdir", "work").expect("workdir");
        assert_errno!(command(&context, CREATE), EINVAL);
    });
}

#[test]
fn a_name_that_leads_nowhere_is_refused_where_it_is_given() {
    in_world(|| {
        let context = fsopen("overlay").expect("fsopen");
        assert_errno!(set_string(&context, "lowerdir", "none"), ENOENT);
        assert_errno!(set_string(&context, "upperdir", "none"), ENOENT);
        assert_errno!(set_string(&context, "redirect_dir", "none"), EINVAL);
        assert_errno!(set_flag(&context, "redirect_dir"), EINVAL);
        assert_errno!(set_string(&context, "volatile", "on"), EINVAL);
        set_flag(&context, "volatile").expect("a flag");
        assert_errno!(command(&context, CREATE), EINVAL);
    });
}

#[test]
fn a_remount_changes_no_options() {
    in_world(|| {
        mounted(",uuid=null");
        let before = shown_options();
        mount("", "m", "", libc::MS_REMOUNT, "redirect_dir=on,nonsense=1,lowerdir=none").expect("options of a remount are not heard");
        assert_eq!(shown_options(), before);
        let picked = fspick("m", 0).expect("fspick");
        assert_errno!(set_string(&picked, "redirect_dir", "on"), EINVAL);
        assert_errno!(set_string(&picked, "nonsense", "on"), EINVAL);
        set_flag(&picked, "ro").expect("ro");
        command(&picked, RECONFIGURE).expect("reconfigure");
        assert_errno!(std::fs::write("m/file", ""), EROFS);
        mount("", "m", "", libc::MS_REMOUNT, "").expect("remount");
        write("m/file", "");
    });
}

#[test]
fn without_an_upper_layer_it_stays_read_only() {
    in_world(|| {
        touch("lower/file");
        mounted_read_only("");
        assert_errno!(mount("", "m", "", libc::MS_REMOUNT, ""), EROFS);
        assert_errno!(std::fs::write("m/file", ""), EROFS);
        assert!(abi::mountinfo::at("/tmp/m").super_options.starts_with("ro,"));
    });
}

#[test]
fn what_is_of_no_use_without_an_upper_layer_is_left_out() {
    in_world(|| {
        mounted_read_only(",workdir=work,index=on,volatile");
        assert_eq!(shown_options(), "lowerdir=lower:lower2,redirect_dir=on");
        assert_eq!(names("work"), [""; 0]);
        unmounted();
        mounted_read_only(",uuid=on");
        assert_eq!(shown_options(), "lowerdir=lower:lower2,redirect_dir=on,uuid=null");
        unmounted();
        mounted_read_only(",nfs_export=on");
        assert_eq!(shown_options(), "lowerdir=lower:lower2,redirect_dir=on");
        unmounted();
        mounted_read_only(",nfs_export=on,redirect_dir=nofollow");
        assert_eq!(shown_options(), "lowerdir=lower:lower2,redirect_dir=nofollow,nfs_export=on");
    });
}

#[test]
fn a_volatile_overlay_leaves_a_mark_that_keeps_others_out() {
    in_world(|| {
        mounted(",volatile");
        assert!(std::fs::metadata("work/work/incompat/volatile").is_ok());
        unmounted();
        refused("");
        refused(",volatile");
        std::fs::remove_dir_all("work/work").expect("remove");
        mounted("");
    });
}

#[test]
fn several_file_systems_show_xino() {
    in_world(|| {
        new_tmpfs("other");
        overlay("lowerdir=other,upperdir=upper,workdir=work,xino=on,uuid=null").expect("mount");
        assert_eq!(shown_options(), "lowerdir=other,upperdir=upper,workdir=work,uuid=null,xino=on");
        unmounted();
        overlay("lowerdir=other,upperdir=upper,workdir=work,uuid=off").expect("mount");
        assert_eq!(shown_options(), "lowerdir=other,upperdir=upper,workdir=work,uuid=null", "off is for one file system");
    });
}
