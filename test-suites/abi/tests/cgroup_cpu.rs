//! The controller "cpu", and `cpu.stat`. Linux's `Documentation/admin-guide/cgroup-v2.rst`, "CPU".

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use abi::cgroup::{Group, in_cgroups};
use abi::child::wait_until;
use abi::{assert_errno, shared_words};

/// A process in the group that burns processor time and counts.
fn burner(group: &Group, word: &'static AtomicU32) -> abi::Child {
    let child = group.spawn(move || {
        loop {
            word.fetch_add(1, SeqCst);
        }
    });
    wait_until("it burns", || word.load(SeqCst) > 0);
    child
}

#[test]
fn the_time_that_was_used_is_told_for_group_and_groups_above() {
    in_cgroups(|| {
        let group = Group::new("stat");
        let below = group.child("below");
        assert_eq!(below.value("cpu.stat", "usage_usec"), 0);
        let words = shared_words();
        let child = burner(&below, &words[0]);
        wait_until("a tenth of a second was used", || below.value("cpu.stat", "usage_usec") > 100_000);
        assert!(below.value("cpu.stat", "user_usec") > 50_000);
        assert!(group.value("cpu.stat", "usage_usec") > 100_000);
        let text = group.read("cpu.stat");
        let value = |key: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_else(|| panic!("{text}"));
            line.trim().parse().expect("a number")
        };
        assert!(value("usage_usec").abs_diff(value("user_usec") + value("system_usec")) <= 1);
        drop(child);
        let used = below.value("cpu.stat", "usage_usec");
        below.try_remove().expect("rmdir");
        assert!(group.value("cpu.stat", "usage_usec") >= used, "what a removed group used stays with those above");
    });
}

#[test]
fn what_was_used_elsewhere_does_not_move_along() {
    in_cgroups(|| {
        let (one, two) = (Group::new("one"), Group::new("two"));
        let words = shared_words();
        let child = burner(&one, &words[0]);
        wait_until("a tenth of a second was used", || one.value("cpu.stat", "usage_usec") > 100_000);
        one.write("cgroup.freeze", "1");
        wait_until("it is frozen", || one.has_event("frozen 1"));
        two.write("cgroup.freeze", "1");
        two.write("cgroup.procs", &child.pid().to_string());
        assert!(two.value("cpu.stat", "usage_usec") < 60_000, "{}", two.read("cpu.stat"));
        assert!(one.value("cpu.stat", "usage_usec") > 100_000);
        drop(child);
    });
}

#[test]
fn the_quota_bounds_the_share() {
    in_cgroups(|| {
        let group = Group::with_controllers("max", "+cpu");
        assert_eq!(group.read("cpu.max"), "max 100000\n");
        group.write("cpu.max", "10000 100000");
        assert_eq!(group.read("cpu.max"), "10000 100000\n");
        let words = shared_words();
        let child = burner(&group, &words[0]);
        let (before, started) = (group.value("cpu.stat", "usage_usec"), Instant::now());
        std::thread::sleep(Duration::from_millis(1500));
        let used = group.value("cpu.stat", "usage_usec") - before;
        let share = used as f64 / started.elapsed().as_micros() as f64;
        assert!((0.02..0.25).contains(&share), "a tenth was allowed, {share} was used");
        assert!(group.value("cpu.stat", "nr_throttled") > 3, "{}", group.read("cpu.stat"));
        assert!(group.value("cpu.stat", "throttled_usec") > 300_000, "{}", group.read("cpu.stat"));
        assert!(group.value("cpu.stat", "nr_periods") > 3);
        group.write("cpu.max", "max");
        assert_eq!(group.read("cpu.max"), "max 100000\n");
        let before = group.value("cpu.stat", "usage_usec");
        wait_until("it runs freely", || group.value("cpu.stat", "usage_usec") > before + 300_000);
        drop(child);
    });
}

#[test]
fn a_quota_above_counts_for_all_below_together() {
    in_cgroups(|| {
        let group = Group::with_controllers("above", "+cpu");
        group.write("cpu.max", "20000 100000");
        let (one, two) = (group.child("one"), group.child("two"));
        let words = shared_words();
        let children = [burner(&one, &words[0]), burner(&two, &words[1])];
        let (before, started) = (group.value("cpu.stat", "usage_usec"), Instant::now());
        std::thread::sleep(Duration::from_millis(1500));
        let used = group.value("cpu.stat", "usage_usec") - before;
        let share = used as f64 / started.elapsed().as_micros() as f64;
        assert!((0.05..0.4).contains(&share), "a fifth was allowed, {share} was used");
        drop(children);
    });
}

#[test]
fn a_throttled_process_can_be_killed() {
    in_cgroups(|| {
        let group = Group::with_controllers("kill", "+cpu");
        group.write("cpu.max", "5000 100000");
        let words = shared_words();
        let child = burner(&group, &words[0]);
        let started = Instant::now();
        group.write("cgroup.kill", "1");
        child.status();
        assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    });
}

#[test]
fn weights_share_the_processor() {
    in_cgroups(|| {
        let group = Group::with_controllers("weights", "+cpu");
        group.write("cgroup.subtree_control", "+cpu");
        let (light, heavy) = (group.child("light"), group.child("heavy"));
        light.write("cpu.weight", "100");
        heavy.write("cpu.weight", "900");
        let words = shared_words();
        // Two in the light group: it is the group that counts, not how many are in it.
        let children = [burner(&light, &words[0]), burner(&light, &words[1]), burner(&heavy, &words[2])];
        let before = [&light, &heavy].map(|group| group.value("cpu.stat", "usage_usec"));
        std::thread::sleep(Duration::from_millis(3000));
        let [light_used, heavy_used] =
            [(&light, before[0]), (&heavy, before[1])].map(|(group, before)| group.value("cpu.stat", "usage_usec") - before);
        let ratio = heavy_used as f64 / light_used.max(1) as f64;
        assert!((4.0..20.0).contains(&ratio), "9 to 1 was asked for: {heavy_used} to {light_used}");
        drop(children);
    });
}

#[test]
fn limits_have_bounds() {
    in_cgroups(|| {
        let group = Group::with_controllers("bounds", "+cpu");
        assert_eq!(group.read("cpu.weight"), "100\n");
        assert_eq!(group.read("cpu.weight.nice"), "0\n");
        assert_errno!(group.try_write("cpu.weight", "0"), ERANGE);
        assert_errno!(group.try_write("cpu.weight", "10001"), ERANGE);
        assert_errno!(group.try_write("cpu.weight", "heavy"), EINVAL);
        group.write("cpu.weight.nice", "-5");
        assert_eq!(group.read("cpu.weight"), "305\n");
        group.write("cpu.weight", "335");
        assert_eq!(group.read("cpu.weight.nice"), "-5\n");
        assert_errno!(group.try_write("cpu.weight.nice", "20"), ERANGE);
        assert_errno!(group.try_write("cpu.max", "999 100000"), EINVAL);
        assert_errno!(group.try_write("cpu.max", "1000 999"), EINVAL);
        assert_errno!(group.try_write("cpu.max", "1000 1000001"), EINVAL);
        assert_errno!(group.try_write("cpu.max", "much"), EINVAL);
        group.write("cpu.max", "5000 20000");
        group.write("cpu.max", "8000");
        assert_eq!(group.read("cpu.max"), "8000 20000\n");
        assert_eq!(group.read("cpu.max.burst"), "0\n");
        group.write("cpu.max.burst", "3000");
        assert_eq!(group.read("cpu.max.burst"), "3000\n");
        assert_errno!(group.try_write("cpu.max.burst", "9000"), EINVAL);
    });
}

#[test]
fn the_controller_governs_threads_apart() {
    in_cgroups(|| {
        let group = Group::with_controllers("threaded", "+cpu");
        let below = group.child("below");
        below.write("cgroup.type", "threaded");
        group.write("cgroup.subtree_control", "+cpu");
        assert_eq!(below.read("cgroup.controllers"), "cpu\n");
        assert_eq!(below.read("cpu.weight"), "100\n");
    });
}
