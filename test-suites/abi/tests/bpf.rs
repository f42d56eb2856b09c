//! bpf(2): programs that decide which devices a control group may use.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use abi::cgroup::{Group, in_cgroups};
use abi::world::{mknod, open, read};
use abi::{Outcome, assert_errno, in_child, spawn, syscall};

const PROG_LOAD: u32 = 5;
const PROG_ATTACH: u32 = 8;
const PROG_DETACH: u32 = 9;
const PROG_GET_FD_BY_ID: u32 = 13;
const OBJ_GET_INFO_BY_FD: u32 = 15;
const PROG_QUERY: u32 = 16;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_OVERRIDE: u32 = 1;
const ALLOW_MULTI: u32 = 2;
const REPLACE: u32 = 4;

/// One instruction: opcode, destination, source, offset, immediate.
fn insn(opcode: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> u64 {
    let offset = u64::from(offset as u16);
    u64::from(opcode) | u64::from(destination | source << 4) << 8 | offset << 16 | u64::from(immediate as u32) << 32
}

/// `r = immediate`
fn set(register: u8, immediate: i32) -> u64 {
    insn(0xb7, register, 0, 0, immediate)
}

/// `r = *(u32 *)(r1 + offset)`
fn load(register: u8, offset: i16) -> u64 {
    insn(0x61, register, 1, offset, 0)
}

/// `if r != immediate` skip so many.
fn skip_unless(register: u8, immediate: i32, skip: i16) -> u64 {
    insn(0x55, register, 0, skip, immediate)
}

fn exit() -> u64 {
    insn(0x95, 0, 0, 0, 0)
}

/// A program that always says this.
fn constant(result: i32) -> Vec<u64> {
    vec![set(0, result), exit()]
}

/// A program that says no to one device and yes to all others.
fn all_but(major: i32, minor: i32) -> Vec<u64> {
    vec![load(2, 4), skip_unless(2, major, 4), load(3, 8), skip_unless(3, minor, 2), set(0, 0), exit(), set(0, 1), exit()]
}

#[derive(Default)]
#[repr(C)]
struct LoadAttribute {
    program_type: u32,
    count: u32,
    instructions: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
}

fn bpf<T>(command: u32, attribute: &T) -> Outcome {
    syscall!(SYS_bpf, command, std::ptr::from_ref(attribute), size_of::<T>())
}

fn load_attribute(program: &[u64]) -> LoadAttribute {
    LoadAttribute {
        program_type: TYPE_CGROUP_DEVICE,
        count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        licence: c"GPL".as_ptr() as u64,
        name: *b"devices\0\0\0\0\0\0\0\0\0",
        ..LoadAttribute::default()
    }
}

fn try_load(program: &[u64]) -> Outcome<OwnedFd> {
    let fd = bpf(PROG_LOAD, &load_attribute(program))?;
    // SAFETY: the descriptor is new and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

#[track_caller]
fn loaded(program: &[u64]) -> OwnedFd {
    try_load(program).unwrap_or_else(|error| panic!("loading: {error:?}"))
}

/// Group, program, type, flags, program to be replaced.
fn attach_raw(group: i32, program: &OwnedFd, flags: u32, replaced: i32) -> Outcome {
    bpf(PROG_ATTACH, &[group as u32, program.as_raw_fd() as u32, ATTACH_CGROUP_DEVICE, flags, replaced as u32, 0])
}

fn directory(group: &Group) -> std::fs::File {
    open(&group.path, libc::O_RDONLY | libc::O_DIRECTORY).expect("the directory")
}

fn attach(group: &Group, program: &OwnedFd, flags: u32) -> Outcome {
    attach_raw(directory(group).as_raw_fd(), program, flags, 0)
}

fn detach(group: &Group, program: &OwnedFd) -> Outcome {
    bpf(PROG_DETACH, &[directory(group).as_raw_fd() as u32, program.as_raw_fd() as u32, ATTACH_CGROUP_DEVICE, 0])
}

#[derive(Default)]
#[repr(C)]
struct QueryAttribute {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    numbers: u64,
    count: u32,
    padding: u32,
}

/// The numbers of the programs and the flags; `query_flags` 1 asks for all that count.
fn query(group: &Group, query_flags: u32, room: usize) -> (Outcome, Vec<u32>, u32, u32) {
    let directory = directory(group);
    let mut numbers = vec![0u32; room];
    let attribute = QueryAttribute {
        target: directory.as_raw_fd() as u32,
        attach_type: ATTACH_CGROUP_DEVICE,
        query_flags,
        numbers: numbers.as_mut_ptr() as u64,
        count: room as u32,
        ..QueryAttribute::default()
    };
    let outcome = bpf(PROG_QUERY, &attribute);
    // SAFETY: the kernel wrote through the address that it was given; the compiler must look again.
    let (count, flags) =
        unsafe { (std::ptr::read_volatile(&raw const attribute.count), std::ptr::read_volatile(&raw const attribute.attach_flags)) };
    (outcome, numbers, count, flags)
}

/// What opening `path` for reading gives in the group.
fn open_in(group: &Group, path: &str) -> Option<i32> {
    let words = abi::shared_words();
    group
        .spawn(|| {
            let errno = open(path, libc::O_RDONLY).err().map_or(0, |error| error.0);
            words[0].store(errno as u32, std::sync::atomic::Ordering::SeqCst);
        })
        .join();
    match words[0].load(std::sync::atomic::Ordering::SeqCst) {
        0 => None,
        errno => Some(errno as i32),
    }
}

#[test]
fn a_program_that_says_no_closes_all_devices() {
    in_cgroups(|| {
        let group = Group::new("no");
        assert_eq!(open_in(&group, "/dev/null"), None);
        attach(&group, &loaded(&constant(0)), ALLOW_MULTI).expect("attach");
        assert_eq!(open_in(&group, "/dev/null"), Some(libc::EPERM));
        assert_eq!(open_in(&group, "/tmp"), None, "only devices");
        assert!(open("/dev/null", libc::O_RDONLY).is_ok(), "only the group");
    });
}

#[test]
fn the_program_sees_the_numbers_of_the_device() {
    in_cgroups(|| {
        let group = Group::new("numbers");
        attach(&group, &loaded(&all_but(1, 5)), ALLOW_MULTI).expect("attach");
        assert_eq!(open_in(&group, "/dev/zero"), Some(libc::EPERM));
        assert_eq!(open_in(&group, "/dev/null"), None);
        assert_eq!(open_in(&group, "/dev/full"), None);
    });
}

#[test]
fn the_program_sees_what_is_wanted() {
    in_cgroups(|| {
        let group = Group::new("access");
        // The access is in the upper half of the first word: 1 mknod, 2 read, 4 write. No to writing.
        let program = [load(2, 0), insn(0x77, 2, 0, 0, 16), insn(0x57, 2, 0, 0, 4), set(0, 1), skip_unless(2, 4, 1), set(0, 0), exit()];
        attach(&group, &loaded(&program), ALLOW_MULTI).expect("attach");
        group
            .spawn(|| {
                assert!(open("/dev/null", libc::O_RDONLY).is_ok());
                assert_errno!(open("/dev/null", libc::O_WRONLY), EPERM);
                assert_errno!(open("/dev/null", libc::O_RDWR), EPERM);
                mknod("/tmp/node", libc::S_IFCHR | 0o600, 0x103).expect("mknod");
            })
            .join();
    });
}

#[test]
fn making_nodes_is_asked_for_too() {
    in_cgroups(|| {
        let group = Group::new("mknod");
        attach(&group, &loaded(&all_but(1, 3)), ALLOW_MULTI).expect("attach");
        group
            .spawn(|| {
                assert_errno!(mknod("/tmp/null", libc::S_IFCHR | 0o600, 0x103), EPERM);
                mknod("/tmp/zero", libc::S_IFCHR | 0o600, 0x105).expect("another device");
                mknod("/tmp/fifo", libc::S_IFIFO | 0o600, 0).expect("a FIFO is no device");
                mknod("/tmp/file", libc::S_IFREG | 0o600, 0).expect("nor is a file");
            })
            .join();
    });
}

#[test]
fn all_programs_up_the_tree_must_agree() {
    in_cgroups(|| {
        let group = Group::new("tree");
        let below = group.child("below");
        let (no_zero, no_null) = (loaded(&all_but(1, 5)), loaded(&all_but(1, 3)));
        attach(&group, &no_zero, ALLOW_MULTI).expect("attach");
        attach(&below, &no_null, ALLOW_MULTI).expect("attach below");
        assert_eq!(open_in(&below, "/dev/zero"), Some(libc::EPERM));
        assert_eq!(open_in(&below, "/dev/null"), Some(libc::EPERM));
        assert_eq!(open_in(&below, "/dev/full"), None);
        assert_eq!(query(&below, 1, 8).2, 2, "two count");
        detach(&group, &no_zero).expect("detach");
        assert_eq!(open_in(&below, "/dev/zero"), None);
    });
}

#[test]
fn a_program_that_may_be_overridden_is() {
    in_cgroups(|| {
        let group = Group::new("override");
        let below = group.child("below");
        attach(&group, &loaded(&constant(0)), ALLOW_OVERRIDE).expect("attach");
        assert_eq!(open_in(&below, "/dev/null"), Some(libc::EPERM), "inherited");
        attach(&below, &loaded(&constant(1)), ALLOW_OVERRIDE).expect("attach below");
        assert_eq!(open_in(&below, "/dev/null"), None);
    });
}

#[test]
fn a_program_that_stands_alone_forbids_others_below() {
    in_cgroups(|| {
        let group = Group::new("alone");
        let below = group.child("below");
        attach(&group, &loaded(&constant(1)), 0).expect("attach");
        assert_errno!(attach(&below, &loaded(&constant(1)), ALLOW_MULTI), EPERM);
        assert_errno!(attach(&group, &loaded(&constant(1)), ALLOW_MULTI), EPERM);
        attach(&group, &loaded(&constant(0)), 0).expect("takes the place of the first");
        assert_eq!(open_in(&group, "/dev/null"), Some(libc::EPERM));
    });
}

#[test]
fn attaching_replacing_and_detaching() {
    in_cgroups(|| {
        let group = Group::new("replace");
        let (first, second) = (loaded(&constant(0)), loaded(&constant(1)));
        let here = directory(&group);
        attach(&group, &first, ALLOW_MULTI).expect("attach");
        assert_errno!(attach(&group, &first, ALLOW_MULTI), EINVAL);
        assert_errno!(attach_raw(here.as_raw_fd(), &second, ALLOW_MULTI | REPLACE, second.as_raw_fd()), ENOENT);
        assert_errno!(attach_raw(here.as_raw_fd(), &second, REPLACE, first.as_raw_fd()), EINVAL);
        assert_errno!(attach(&group, &second, ALLOW_MULTI | ALLOW_OVERRIDE), EINVAL);
        assert_errno!(attach(&group, &second, 0x1000), EINVAL);
        attach_raw(here.as_raw_fd(), &second, ALLOW_MULTI | REPLACE, first.as_raw_fd()).expect("replace");
        assert_eq!(open_in(&group, "/dev/null"), None);
        assert_errno!(detach(&group, &first), ENOENT);
        detach(&group, &second).expect("detach");
        assert_errno!(detach(&group, &second), ENOENT);
    });
}

#[test]
fn what_is_no_group_is_a_bad_descriptor() {
    in_cgroups(|| {
        let program = loaded(&constant(1));
        let null = open("/dev/null", libc::O_RDWR).expect("open");
        // This is how runtimes find out whether REPLACE is known.
        assert_errno!(attach_raw(null.as_raw_fd(), &program, ALLOW_MULTI | REPLACE, program.as_raw_fd()), EBADF);
        let group = Group::new("files");
        let file = directory(&group);
        let no_program: OwnedFd = null.into();
        assert_errno!(attach_raw(file.as_raw_fd(), &no_program, ALLOW_MULTI, 0), EINVAL);
        assert_errno!(bpf(PROG_ATTACH, &[file.as_raw_fd() as u32, 999, ATTACH_CGROUP_DEVICE, 0]), EBADF);
        assert_errno!(bpf(PROG_ATTACH, &[file.as_raw_fd() as u32, program.as_raw_fd() as u32, 999, 0]), EINVAL);
        assert_errno!(bpf(999, &[0u32; 4]), EINVAL);
    });
}

#[test]
fn libraries_find_out_what_is_supported() {
    in_child(|| {
        // As the library of runc does it: a program for packets, attached to no group at all.
        let program = constant(0);
        let attribute = LoadAttribute { program_type: 8, ..load_attribute(&program) };
        let fd = bpf(PROG_LOAD, &attribute).expect("a program for packets");
        assert_errno!(bpf(PROG_ATTACH, &[u32::MAX, fd as u32, 0, REPLACE, 0, 0]), EBADF);
        assert_errno!(bpf(PROG_ATTACH, &[u32::MAX, fd as u32, 0, 0x8000, 0, 0]), EINVAL);
        assert_errno!(bpf(PROG_ATTACH, &[u32::MAX, fd as u32, ATTACH_CGROUP_DEVICE, 0, 0, 0]), EINVAL);
    });
}

#[test]
fn queries_tell_what_is_attached() {
    in_cgroups(|| {
        let group = Group::new("query");
        let (outcome, _, count, _) = query(&group, 0, 8);
        assert_eq!((outcome, count), (Ok(0), 0));
        let programs = [loaded(&constant(1)), loaded(&constant(1))];
        for program in &programs {
            attach(&group, program, ALLOW_MULTI).expect("attach");
        }
        let (outcome, numbers, count, flags) = query(&group, 0, 8);
        assert_eq!((outcome, count, flags), (Ok(0), 2, ALLOW_MULTI));
        assert!(numbers[0] != 0 && numbers[1] != 0 && numbers[0] != numbers[1]);
        let (outcome, _, count, _) = query(&group, 0, 1);
        assert_errno!(outcome, ENOSPC);
        assert_eq!(count, 2);
        // By its number the program can be opened again, and told from others.
        let again = bpf(PROG_GET_FD_BY_ID, &[numbers[1], 0, 0]).expect("by its number");
        let mut information = [0u64; 29];
        let attribute = [again as u32, size_of_val(&information) as u32];
        #[repr(C)]
        struct InformationAttribute {
            words: [u32; 2],
            address: u64,
        }
        bpf(OBJ_GET_INFO_BY_FD, &InformationAttribute { words: attribute, address: information.as_mut_ptr() as u64 }).expect("information");
        let first = information[0];
        assert_eq!((first as u32, (first >> 32) as u32), (TYPE_CGROUP_DEVICE, numbers[1]));
        assert_eq!(information[8].to_ne_bytes(), *b"devices\0");
        assert!(read(&format!("/proc/self/fdinfo/{again}")).contains(&format!("prog_id:\t{}\n", numbers[1])));
        assert_errno!(bpf(PROG_GET_FD_BY_ID, &[999_999u32, 0, 0]), ENOENT);
    });
}

#[test]
fn programs_go_with_their_group() {
    in_cgroups(|| {
        let group = Group::new("gone");
        attach(&group, &loaded(&constant(1)), ALLOW_MULTI).expect("attach");
        let number = query(&group, 0, 1).1[0];
        group.try_remove().expect("rmdir");
        abi::child::wait_until("the program is gone", || bpf(PROG_GET_FD_BY_ID, &[number, 0, 0]).is_err());
    });
}

#[test]
fn the_verifier_refuses_what_could_go_wrong() {
    in_child(|| {
        let refused = |what: &str, program: &[u64], errno: i32| {
            let error = try_load(program).expect_err(what);
            assert_eq!(error.0, errno, "{what}");
        };
        refused("nothing", &[], libc::E2BIG);
        refused("no end", &[set(0, 0)], libc::EINVAL);
        refused("no result", &[exit()], libc::EACCES);
        refused("a register that was not set", &[insn(0xbf, 0, 3, 0, 0), exit()], libc::EACCES);
        refused("an unknown instruction", &[0xff, exit()], libc::EINVAL);
        refused("a register that is not there", &[insn(0xb7, 12, 0, 0, 0), set(0, 0), exit()], libc::EINVAL);
        refused("the frame pointer changed", &[set(10, 0), set(0, 0), exit()], libc::EACCES);
        refused("a jump too far", &[set(0, 0), insn(0x05, 0, 0, 7, 0), exit()], libc::EINVAL);
        refused("code that nothing reaches", &[set(0, 0), insn(0x05, 0, 0, 1, 0), set(0, 1), exit()], libc::EINVAL);
        refused("an endless loop", &[set(0, 0), insn(0x05, 0, 0, -2, 0), exit()], libc::EINVAL);
        refused("division by zero", &[set(0, 1), insn(0x37, 0, 0, 0, 0), exit()], libc::EINVAL);
        refused("a shift too far", &[set(0, 1), insn(0x67, 0, 0, 0, 64), exit()], libc::EINVAL);
        refused("past the context", &[load(0, 12), insn(0x57, 0, 0, 0, 1), exit()], libc::EACCES);
        refused("before the context", &[load(0, -4), insn(0x57, 0, 0, 0, 1), exit()], libc::EACCES);
        refused("half of a field", &[insn(0x69, 0, 1, 4, 0), insn(0x57, 0, 0, 0, 1), exit()], libc::EACCES);
        refused("a write to the context", &[insn(0x62, 1, 0, 0, 0), set(0, 0), exit()], libc::EACCES);
        refused("past the stack", &[insn(0x7a, 10, 0, -520, 0), set(0, 0), exit()], libc::EACCES);
        refused("a number as an address", &[set(2, 100), insn(0x61, 0, 2, 0, 0), set(0, 0), exit()], libc::EACCES);
        refused("a result out of range", &[set(0, 2), exit()], libc::EINVAL);
        refused("an address as the result", &[insn(0xbf, 0, 1, 0, 0), exit()], libc::EINVAL);
        refused("a helper that is not there", &[insn(0x85, 0, 0, 0, 0x7fff), set(0, 0), exit()], libc::EINVAL);
    });
}

#[test]
fn the_verifier_admits_what_is_sound() {
    in_child(|| {
        loaded(&[insn(0x7a, 10, 0, -8, 1), insn(0x79, 0, 10, -8, 0), insn(0x57, 0, 0, 0, 1), exit()]);
        loaded(&[insn(0x69, 2, 1, 0, 0), insn(0x71, 3, 1, 1, 0), set(0, 1), exit()]);
        loaded(&[insn(0x18, 2, 0, 0, -1), insn(0, 0, 0, 0, 0x7fff_ffff), set(0, 1), exit()]);
        loaded(&[set(2, 5), insn(0xb4, 3, 0, 0, 7), insn(0x2f, 2, 3, 0, 0), skip_unless(2, 35, 2), set(0, 1), exit(), set(0, 0), exit()]);
    });
}

#[test]
fn the_log_says_why_a_program_was_refused() {
    in_child(|| {
        let program = [exit()];
        let mut log = vec![0u8; 4096];
        let attribute = LoadAttribute { log_level: 1, log_size: 4096, log: log.as_mut_ptr() as u64, ..load_attribute(&program) };
        assert_errno!(bpf(PROG_LOAD, &attribute), EACCES);
        assert!(log.starts_with(b"0: "), "{:?}", String::from_utf8_lossy(&log[..80]));
        let without_level = LoadAttribute { log_level: 0, ..attribute };
        assert_errno!(bpf(PROG_LOAD, &without_level), EINVAL);
    });
}

#[test]
fn arithmetic_is_that_of_the_instruction_set() {
    in_cgroups(|| {
        let group = Group::new("arithmetic");
        // Each program says yes if its computation comes out right.
        let mut programs: Vec<(&str, Vec<u64>)> = Vec::new();
        let mut check = |what: &'static str, computation: &[u64], expected: i32| {
            let mut program = computation.to_vec();
            program.extend([skip_unless(2, expected, 2), set(0, 1), exit(), set(0, 0), exit()]);
            programs.push((what, program));
        };
        check("a negative immediate is extended in a comparison", &[set(2, -1)], -1);
        check("32 bits zero the upper half", &[set(2, -1), insn(0x04, 2, 0, 0, 1)], 0);
        check("division by a register that is zero", &[set(2, 7), set(3, 0), insn(0x3f, 2, 3, 0, 0)], 0);
        check("the rest of a division by zero", &[set(2, 7), set(3, 0), insn(0x9f, 2, 3, 0, 0)], 7);
        check("the arithmetic shift keeps the sign", &[set(2, -16), insn(0xc7, 2, 0, 0, 2)], -4);
        check("the order of bytes", &[set(2, 0x1234), insn(0xdc, 2, 0, 0, 16)], 0x3412);
        check("subtraction and negation", &[set(2, 3), insn(0x17, 2, 0, 0, 5), insn(0x87, 2, 0, 0, 0)], 2);
        check("bits", &[set(2, 0b1100), insn(0x57, 2, 0, 0, 0b0110), insn(0x47, 2, 0, 0, 1), insn(0xa7, 2, 0, 0, 0b111)], 0b010);
        for (what, program) in programs {
            let fd = try_load(&program).unwrap_or_else(|error| panic!("{what}: {error:?}"));
            attach(&group, &fd, ALLOW_OVERRIDE).expect("attach");
            assert_eq!(open_in(&group, "/dev/null"), None, "{what}");
        }
    });
}

#[test]
fn without_privilege_nothing_can_be_loaded() {
    in_child(|| {
        assert_ne!(read("/proc/sys/kernel/unprivileged_bpf_disabled"), "0\n");
        spawn(|| {
            syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
            assert_errno!(try_load(&constant(1)), EPERM);
            assert_errno!(bpf(PROG_GET_FD_BY_ID, &[1u32, 0, 0]), EPERM);
        })
        .join();
    });
}
