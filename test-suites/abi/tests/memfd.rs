//! Files without a name: memfd_create and the seals that fix them.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use abi::memory::PAGE;
use abi::{Outcome, Pages, assert_errno, in_child, in_mount_namespace, spawn, syscall};
use libc::{F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE, MFD_ALLOW_SEALING, MFD_CLOEXEC};

fn memfd(flags: u32) -> File {
    let fd = syscall!(SYS_memfd_create, c"name", flags).expect("memfd_create");
    // SAFETY: the descriptor is new and owned by nobody else.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }.into()
}

fn seals(file: &File) -> Outcome {
    syscall!(SYS_fcntl, file, libc::F_GET_SEALS)
}

fn seal(file: &File, seals: i32) -> Outcome {
    syscall!(SYS_fcntl, file, libc::F_ADD_SEALS, seals)
}

#[test]
fn a_memfd_is_a_file_with_a_name_only_for_proc() {
    in_child(|| {
        let file = memfd(MFD_CLOEXEC);
        file.write_all_at(b"content", 0).expect("write");
        assert_eq!(file.metadata().expect("fstat").len(), 7);
        let link = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("readlink");
        assert_eq!(link.to_str(), Some("/memfd:name (deleted)"));
        assert_eq!(syscall!(SYS_fcntl, &file, libc::F_GETFD), Ok(libc::FD_CLOEXEC as usize));
        let pages = Pages::of_file(&file, 1);
        spawn(|| pages.set(0, b'C')).join();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 0).expect("read");
        assert_eq!(byte, *b"C");
    });
}

#[test]
fn seals_forbid_shrinking_growing_and_writing() {
    in_child(|| {
        let file = memfd(MFD_ALLOW_SEALING);
        file.set_len(PAGE as u64).expect("ftruncate");
        assert_eq!(seals(&file), Ok(0));
        seal(&file, F_SEAL_SHRINK).expect("seal");
        assert_errno!(file.set_len(10), EPERM);
        file.set_len(2 * PAGE as u64).expect("growing is allowed");
        seal(&file, F_SEAL_GROW).expect("seal");
        assert_errno!(file.set_len(3 * PAGE as u64), EPERM);
        assert_errno!(file.write_at(b"x", 2 * PAGE as u64), EPERM);
        assert_errno!(syscall!(SYS_fallocate, &file, 0, 0, 3 * PAGE), EPERM);
        assert_eq!(file.write_at(b"x", 0).expect("within the size"), 1);
        seal(&file, F_SEAL_WRITE).expect("seal");
        assert_errno!(file.write_at(b"x", 0), EPERM);
        let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        assert_errno!(syscall!(SYS_fallocate, &file, punch, 0, PAGE), EPERM);
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        assert_errno!(syscall!(SYS_mmap, 0usize, PAGE, protection, libc::MAP_SHARED, &file, 0), EPERM);
        assert!(syscall!(SYS_mmap, 0usize, PAGE, protection, libc::MAP_PRIVATE, &file, 0).is_ok());
        seal(&file, F_SEAL_SEAL).expect("seal");
        assert_errno!(seal(&file, F_SEAL_SHRINK), EPERM);
        assert_eq!(seals(&file), Ok((F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) as usize));
    });
}

#[test]
fn a_writable_mapping_holds_the_write_seal_off() {
    in_child(|| {
        let file = memfd(MFD_ALLOW_SEALING);
        file.set_len(PAGE as u64).expect("ftruncate");
        let pages = Pages::of_file(&file, 1);
        assert_errno!(seal(&file, F_SEAL_WRITE), EBUSY);
        drop(pages);
        seal(&file, F_SEAL_WRITE).expect("seal");
    });
}

#[test]
fn without_permission_to_seal_the_seal_seal_is_set() {
    in_mount_namespace(|| {
        let file = memfd(0);
        assert_eq!(seals(&file), Ok(F_SEAL_SEAL as usize));
        assert_errno!(seal(&file, F_SEAL_WRITE), EPERM);
        assert_errno!(seal(&memfd(MFD_ALLOW_SEALING), 0x1000), EINVAL);
        let reader = File::open(format!("/proc/self/fd/{}", memfd(MFD_ALLOW_SEALING).as_raw_fd()));
        assert!(reader.is_err(), "the descriptor was closed again");
        abi::world::touch("file");
        let plain = File::options().write(true).open("file").expect("open");
        assert_eq!(seals(&plain), Ok(F_SEAL_SEAL as usize), "every tmpfs file has it");
        let (reader, _writer) = std::io::pipe().expect("pipe");
        assert_errno!(syscall!(SYS_fcntl, &reader, libc::F_GET_SEALS), EINVAL);
    });
}

#[test]
fn names_are_bounded() {
    in_child(|| {
        let name = abi::world::c(&"x".repeat(249));
        assert!(syscall!(SYS_memfd_create, name.as_c_str(), 0).is_ok());
        let longer = abi::world::c(&"x".repeat(250));
        assert_errno!(syscall!(SYS_memfd_create, longer.as_c_str(), 0), EINVAL);
    });
}
