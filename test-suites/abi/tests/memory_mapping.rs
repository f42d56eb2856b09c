//! Address spaces: mmap, munmap, mprotect, mremap, madvise, msync, brk, the stack, and files mapped into memory.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::fs::FileExt;

use abi::memory::PAGE;
use abi::{Outcome, Pages, assert_errno, fault, in_child, in_mount_namespace, spawn, syscall};
use libc::{MAP_ANONYMOUS, MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_NORESERVE, MAP_PRIVATE, MAP_SHARED};
use libc::{PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE};

const READ_WRITE: i32 = PROT_READ | PROT_WRITE;

/// `mmap` of anonymous memory at `address`.
fn map_at(address: usize, len_bytes: usize, flags: i32) -> Outcome {
    syscall!(SYS_mmap, address, len_bytes, READ_WRITE, flags | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
}

/// A file in the working directory with this many bytes of `fill`, open for reading and writing.
fn file_of(name: &str, len_bytes: usize, fill: u8) -> File {
    let mut file = File::options().read(true).write(true).create(true).truncate(true).open(name).expect("a file");
    file.write_all(&vec![fill; len_bytes]).expect("write");
    file
}

/// The lines of `/proc/self/maps` that overlap `address`, as (start, end, permissions).
fn map_of(address: usize) -> Option<(usize, usize, String)> {
    let maps = abi::world::read("/proc/self/maps");
    maps.lines().find_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).expect("hexadecimal");
        let (start, end) = (number(start), number(end));
        (start..end).contains(&address).then(|| (start, end, rest[..4].to_string()))
    })
}

#[test]
fn anonymous_memory_starts_as_zeroes() {
    in_child(|| {
        let pages = Pages::private(64);
        assert!((0..pages.len_bytes()).step_by(509).all(|offset| pages.get(offset) == 0));
        pages.set(PAGE * 10, 1);
        syscall!(SYS_munmap, pages.page(10), PAGE).expect("munmap");
        assert_eq!(map_at(pages.page(10), PAGE, MAP_FIXED), Ok(pages.page(10)));
        assert_eq!(pages.get(PAGE * 10), 0, "new memory at an old address");
    });
}

#[test]
fn mmap_has_the_errors_of_its_manual() {
    in_child(|| {
        let pages = Pages::private(1);
        assert_errno!(map_at(0, 0, 0), EINVAL);
        assert_errno!(syscall!(SYS_mmap, 0usize, PAGE, READ_WRITE, MAP_ANONYMOUS, -1, 0), EINVAL);
        assert_errno!(map_at(pages.address() + 1, PAGE, MAP_FIXED), EINVAL);
        assert_errno!(syscall!(SYS_mmap, 0usize, PAGE, READ_WRITE, MAP_PRIVATE, -1, 0), EBADF);
        assert_errno!(map_at(pages.address(), PAGE, MAP_FIXED_NOREPLACE), EEXIST);
        assert_errno!(map_at(0xffff_8000_0000_0000, PAGE, MAP_FIXED), ENOMEM);
        assert_errno!(map_at(0, usize::MAX, 0), ENOMEM);
        assert_errno!(map_at(0, 1 << 62, 0), ENOMEM);
        assert_errno!(map_at(0xff_ffff_ffff_f000, 2 * PAGE, MAP_FIXED), ENOMEM);
        let reader = File::open("/proc/self/exe").expect("open");
        assert_errno!(syscall!(SYS_mmap, 0usize, PAGE, READ_WRITE, MAP_SHARED, &reader, 0), EACCES);
        assert_errno!(syscall!(SYS_mmap, 0usize, PAGE, PROT_READ, MAP_SHARED, &reader, 100), EINVAL);
        assert_errno!(syscall!(SYS_munmap, pages.address() + 1, PAGE), EINVAL);
        assert_errno!(syscall!(SYS_munmap, pages.address(), 0), EINVAL);
    });
}

#[test]
fn a_hint_is_taken_where_it_is_free() {
    in_child(|| {
        let free = Pages::private(4);
        let address = free.address();
        drop(free);
        assert_eq!(map_at(address, 4 * PAGE, 0), Ok(address));
        let elsewhere = map_at(address, 4 * PAGE, 0).expect("mmap");
        assert_ne!(elsewhere, address);
    });
}

#[test]
fn map_fixed_replaces_what_was_there() {
    in_child(|| {
        let pages = Pages::private(3);
        (0..3).for_each(|page| pages.set(page * PAGE, 7));
        assert_eq!(map_at(pages.page(1), PAGE, MAP_FIXED), Ok(pages.page(1)));
        assert_eq!([0, 1, 2].map(|page| pages.get(page * PAGE)), [7, 0, 7]);
    });
}

#[test]
fn munmap_in_the_middle_leaves_both_ends() {
    in_child(|| {
        let pages = Pages::private(5);
        pages.set(0, 1);
        pages.set(4 * PAGE, 5);
        syscall!(SYS_munmap, pages.page(1), 3 * PAGE - 100).expect("munmap");
        assert_eq!((pages.get(0), pages.get(4 * PAGE)), (1, 5));
        assert!([1, 2, 3].iter().all(|&page| fault::read(pages.page(page)).is_err()));
        assert_eq!(syscall!(SYS_munmap, pages.page(1), PAGE), Ok(0), "nothing there is no error");
    });
}

#[test]
fn reserving_much_address_space_costs_no_memory() {
    in_child(|| {
        // What Go's runtime asks for at its start.
        let address = 0xc0_0000_0000usize;
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        let reserved = syscall!(SYS_mmap, address, 1usize << 36, PROT_NONE, flags, -1, 0).expect("a reservation");
        assert_eq!(reserved, address);
        assert_eq!(map_at(address + (1 << 30), 1 << 22, MAP_FIXED), Ok(address + (1 << 30)));
        assert_eq!(fault::write(address + (1 << 30) + 77, 3), Ok(()));
        let fault = fault::read(address).expect_err("no access");
        assert_eq!((fault.signal, fault.code), (libc::SIGSEGV, fault::SEGV_ACCERR));
        syscall!(SYS_munmap, address, 1usize << 36).expect("munmap");
    });
}

#[test]
fn mprotect_splits_and_joins_mappings() {
    in_child(|| {
        let pages = Pages::private(3);
        syscall!(SYS_mprotect, pages.page(1), PAGE, PROT_READ).expect("mprotect");
        assert_eq!(map_of(pages.page(1)), Some((pages.page(1), pages.page(2), "r--p".to_string())));
        syscall!(SYS_mprotect, pages.page(1), PAGE, READ_WRITE).expect("mprotect");
        let (start, end, permissions) = map_of(pages.page(1)).expect("a mapping");
        assert!(start <= pages.page(0) && end >= pages.page(3), "one mapping again");
        assert_eq!(permissions, "rw-p");
        syscall!(SYS_mprotect, pages.page(1), PAGE, PROT_READ).expect("mprotect");
        assert!(fault::write(pages.page(1), 1).is_err());
        assert!(fault::write(pages.page(0), 1).is_ok() && fault::write(pages.page(2), 1).is_ok());
        syscall!(SYS_mprotect, pages.page(0), PAGE, PROT_NONE).expect("mprotect");
        assert!(fault::read(pages.page(0)).is_err());
        syscall!(SYS_mprotect, pages.page(0), PAGE, PROT_READ).expect("mprotect");
        assert_eq!(fault::read(pages.page(0)), Ok(1), "the content outlives PROT_NONE");
    });
}

#[test]
fn mprotect_has_the_errors_of_its_manual() {
    in_mount_namespace(|| {
        let pages = Pages::private(2);
        assert_errno!(syscall!(SYS_mprotect, pages.address() + 1, PAGE, PROT_READ), EINVAL);
        assert_errno!(syscall!(SYS_mprotect, pages.address(), PAGE, 0x100), EINVAL);
        assert_eq!(syscall!(SYS_mprotect, pages.address(), 0, PROT_READ), Ok(0));
        syscall!(SYS_munmap, pages.page(1), PAGE).expect("munmap");
        assert_errno!(syscall!(SYS_mprotect, pages.page(1), PAGE, PROT_READ), ENOMEM);
        drop(file_of("file", PAGE, 1));
        let reader = File::open("file").expect("open");
        let mapped = Pages::map(1, PROT_READ, MAP_SHARED, std::os::fd::AsRawFd::as_raw_fd(&reader), 0).expect("mmap");
        assert_errno!(syscall!(SYS_mprotect, mapped.address(), PAGE, READ_WRITE), EACCES);
    });
}

#[test]
fn mremap_grows_in_place_moves_and_keeps_the_content() {
    in_child(|| {
        let pages = Pages::private(6);
        pages.set(0, 11);
        pages.set(PAGE, 22);
        let address = pages.leak();
        syscall!(SYS_munmap, address + 2 * PAGE, PAGE).expect("munmap");
        let grown = syscall!(SYS_mremap, address, 2 * PAGE, 3 * PAGE, 0, 0usize);
        assert_eq!(grown, Ok(address), "the hole is filled");
        assert_errno!(syscall!(SYS_mremap, address, 3 * PAGE, 5 * PAGE, 0, 0usize), ENOMEM);
        let moved = syscall!(SYS_mremap, address, 3 * PAGE, 5 * PAGE, libc::MREMAP_MAYMOVE, 0usize).expect("mremap");
        assert_ne!(moved, address);
        assert_eq!((fault::read(moved), fault::read(moved + PAGE)), (Ok(11), Ok(22)));
        assert_eq!(fault::read(moved + 4 * PAGE), Ok(0));
        assert!(fault::read(address).is_err());
        assert_eq!(syscall!(SYS_mremap, moved, 5 * PAGE, PAGE, 0, 0usize), Ok(moved), "shrinks in place");
        assert!(fault::read(moved + PAGE).is_err());
    });
}

#[test]
fn mremap_fixed_replaces_the_target_and_checks_its_arguments() {
    in_child(|| {
        let (source, target) = (Pages::private(1), Pages::private(2));
        source.set(0, 5);
        target.set(0, 6);
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        let (from, to) = (source.leak(), target.leak());
        assert_errno!(syscall!(SYS_mremap, from, PAGE, PAGE, libc::MREMAP_FIXED, to), EINVAL);
        assert_errno!(syscall!(SYS_mremap, from, PAGE, PAGE, 0x80, to), EINVAL);
        assert_errno!(syscall!(SYS_mremap, from + 1, PAGE, PAGE, 0, 0usize), EINVAL);
        assert_errno!(syscall!(SYS_mremap, from, PAGE, 0, 0, 0usize), EINVAL);
        assert_errno!(syscall!(SYS_mremap, to, 2 * PAGE, PAGE, flags, to + PAGE), EINVAL);
        assert_eq!(syscall!(SYS_mremap, from, PAGE, PAGE, flags, to), Ok(to));
        assert_eq!(fault::read(to), Ok(5));
        assert_errno!(syscall!(SYS_mremap, from, PAGE, 2 * PAGE, 0, 0usize), EFAULT);
    });
}

#[test]
fn madvise_dontneed_drops_private_pages_and_keeps_shared_ones() {
    in_child(|| {
        let (private, shared) = (Pages::private(2), Pages::shared(2));
        for pages in [&private, &shared] {
            pages.set(0, 9);
            pages.set(PAGE, 9);
            syscall!(SYS_madvise, pages.page(1), PAGE, libc::MADV_DONTNEED).expect("madvise");
        }
        assert_eq!((private.get(0), private.get(PAGE)), (9, 0));
        assert_eq!((shared.get(0), shared.get(PAGE)), (9, 9));
        assert_errno!(syscall!(SYS_madvise, private.page(0) + 1, PAGE, libc::MADV_DONTNEED), EINVAL);
        assert_errno!(syscall!(SYS_madvise, private.page(0), PAGE, 9999), EINVAL);
        syscall!(SYS_munmap, private.page(1), PAGE).expect("munmap");
        assert_errno!(syscall!(SYS_madvise, private.page(0), 2 * PAGE, libc::MADV_DONTNEED), ENOMEM);
    });
}

#[test]
fn madvise_dontfork_and_wipeonfork_act_at_fork() {
    in_child(|| {
        let (absent, wiped) = (Pages::private(1), Pages::private(1));
        absent.set(0, 1);
        wiped.set(0, 1);
        syscall!(SYS_madvise, absent.address(), PAGE, libc::MADV_DONTFORK).expect("MADV_DONTFORK");
        syscall!(SYS_madvise, wiped.address(), PAGE, libc::MADV_WIPEONFORK).expect("MADV_WIPEONFORK");
        spawn(|| {
            assert!(fault::read(absent.address()).is_err());
            assert_eq!(wiped.get(0), 0);
        })
        .join();
        assert_eq!((absent.get(0), wiped.get(0)), (1, 1));
    });
}

#[test]
fn brk_moves_the_end_of_the_heap() {
    in_child(|| {
        let start = syscall!(SYS_brk, 0usize).expect("brk");
        assert_eq!(syscall!(SYS_brk, start + 3 * PAGE), Ok(start + 3 * PAGE));
        assert_eq!(fault::write(start + 2 * PAGE, 1), Ok(()));
        assert_eq!(syscall!(SYS_brk, start), Ok(start));
        assert!(fault::read(start.next_multiple_of(PAGE) + 2 * PAGE).is_err());
        assert_eq!(syscall!(SYS_brk, start + 3 * PAGE), Ok(start + 3 * PAGE));
        assert_eq!(fault::read(start + 2 * PAGE), Ok(0), "fresh memory");
        assert_eq!(syscall!(SYS_brk, 0x10usize), Ok(start + 3 * PAGE), "a refused brk tells the old end");
        assert_eq!(syscall!(SYS_brk, usize::MAX), Ok(start + 3 * PAGE));
        assert_eq!(syscall!(SYS_brk, start), Ok(start));
    });
}

#[test]
fn the_stack_grows_by_itself_up_to_its_limit() {
    #[inline(never)]
    fn deep(levels: usize) -> usize {
        let block = std::hint::black_box([levels as u8; 4096]);
        if levels == 0 { 0 } else { deep(levels - 1) + usize::from(block[17] == levels as u8) }
    }
    // The forked process runs on the thread's own stack; an ELF program of its own runs on the main stack.
    in_mount_namespace(|| {
        assert_eq!(deep(100), 100);
        // Touches 4 MiB below the stack pointer, page by page: mov ecx, 1024; 2: sub rsp, 4096; mov [rsp], rcx; loop 2b
        let mut code = vec![0xb9, 0, 4, 0, 0, 0x48, 0x81, 0xec, 0, 0x10, 0, 0, 0x48, 0x89, 0x0c, 0x24, 0xe2, 0xf3];
        code.extend(abi::elf::exit_code(0));
        abi::elf::Elf::with_code(&code).install("grower");
        assert_eq!(abi::elf::run("/tmp/grower", &[]), abi::Status::Exited(0));
        let limit = [1u64 << 20, 8 << 20];
        syscall!(SYS_setrlimit, libc::RLIMIT_STACK, limit.as_ptr()).expect("setrlimit");
        assert_eq!(abi::elf::run("/tmp/grower", &[]), abi::Status::Killed(libc::SIGSEGV));
    });
}

#[test]
fn writes_to_a_shared_mapping_and_to_the_file_are_one() {
    in_mount_namespace(|| {
        let file = file_of("file", 2 * PAGE, b'a');
        let pages = Pages::of_file(&file, 2);
        pages.set(5, b'X');
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, 0).expect("read");
        assert_eq!(&bytes, b"aaaaaXaa");
        file.write_all_at(b"Y", PAGE as u64 + 3).expect("write");
        assert_eq!(pages.get(PAGE + 3), b'Y');
        let again = Pages::of_file(&file, 2);
        assert_eq!((again.get(5), again.get(PAGE + 3)), (b'X', b'Y'));
        spawn(|| pages.set(6, b'Z')).join();
        assert_eq!(again.get(6), b'Z');
        assert_eq!(std::fs::metadata("file").expect("stat").len(), 2 * PAGE as u64);
    });
}

#[test]
fn a_private_mapping_copies_what_is_written() {
    in_mount_namespace(|| {
        let file = file_of("file", PAGE, b'a');
        let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
        let pages = Pages::map(1, READ_WRITE, MAP_PRIVATE, fd, 0).expect("mmap");
        pages.set(0, b'X');
        let mut byte = [0];
        file.read_exact_at(&mut byte, 0).expect("read");
        assert_eq!(byte, *b"a");
        // A read-only descriptor is enough for a private writable mapping.
        let reader = File::open("file").expect("open");
        let second = Pages::map(1, READ_WRITE, MAP_PRIVATE, std::os::fd::AsRawFd::as_raw_fd(&reader), 0).expect("mmap");
        assert_eq!(second.get(0), b'a');
        second.set(1, b'Y');
        assert_eq!(pages.get(1), b'a');
    });
}

#[test]
fn a_mapping_outlives_its_descriptor_and_its_name() {
    in_mount_namespace(|| {
        let file = file_of("file", PAGE, b'k');
        let pages = Pages::of_file(&file, 1);
        drop(file);
        std::fs::remove_file("file").expect("unlink");
        assert_eq!(pages.get(100), b'k');
        pages.set(100, b'l');
        assert_eq!(pages.get(100), b'l');
    });
}

#[test]
fn bytes_behind_the_end_of_a_file_are_zero_and_pages_behind_it_sigbus() {
    in_mount_namespace(|| {
        let file = file_of("file", 100, b'a');
        let pages = Pages::of_file(&file, 2);
        assert_eq!((pages.get(99), pages.get(100), pages.get(PAGE - 1)), (b'a', 0, 0));
        let fault = fault::read(pages.page(1) + 7);
        let expected = fault::Fault { signal: libc::SIGBUS, code: fault::BUS_ADRERR, address: pages.page(1) + 7 };
        assert_eq!(fault, Err(expected));
        file.set_len(2 * PAGE as u64).expect("ftruncate");
        assert_eq!(fault::read(pages.page(1) + 7), Ok(0), "the file grew under the mapping");
    });
}

#[test]
fn truncation_takes_mapped_pages_away() {
    in_mount_namespace(|| {
        let file = file_of("file", 2 * PAGE, b'a');
        let pages = Pages::of_file(&file, 2);
        assert_eq!(pages.get(PAGE), b'a');
        file.set_len(50).expect("ftruncate");
        assert_eq!(fault::write(pages.page(1), 1).map_err(|fault| fault.signal), Err(libc::SIGBUS));
        assert_eq!((pages.get(49), pages.get(50)), (b'a', 0));
        file.set_len(2 * PAGE as u64).expect("ftruncate");
        assert_eq!(fault::read(pages.page(1)), Ok(0));
    });
}

#[test]
fn kernel_writes_into_a_truncated_mapping_are_efault() {
    in_mount_namespace(|| {
        let file = file_of("file", PAGE, b'a');
        let pages = Pages::of_file(&file, 1);
        file.set_len(0).expect("ftruncate");
        let zero = File::open("/dev/zero").expect("open");
        assert_errno!(syscall!(SYS_read, &zero, pages.address(), 10), EFAULT);
        let mut words = file_of("words", 0, 0);
        words.rewind().expect("seek");
        assert_errno!(syscall!(SYS_write, &words, pages.address(), 10), EFAULT);
    });
}

#[test]
fn msync_accepts_mapped_ranges_and_refuses_holes_and_flags() {
    in_mount_namespace(|| {
        let file = file_of("file", 2 * PAGE, b'a');
        let pages = Pages::of_file(&file, 2);
        for flags in [libc::MS_SYNC, libc::MS_ASYNC, libc::MS_INVALIDATE | libc::MS_SYNC] {
            assert_eq!(syscall!(SYS_msync, pages.address(), 2 * PAGE, flags), Ok(0));
        }
        assert_errno!(syscall!(SYS_msync, pages.address(), PAGE, libc::MS_SYNC | libc::MS_ASYNC), EINVAL);
        assert_errno!(syscall!(SYS_msync, pages.address(), PAGE, 0x100), EINVAL);
        assert_errno!(syscall!(SYS_msync, pages.address() + 1, PAGE, libc::MS_SYNC), EINVAL);
        syscall!(SYS_munmap, pages.page(1), PAGE).expect("munmap");
        assert_errno!(syscall!(SYS_msync, pages.address(), 2 * PAGE, libc::MS_SYNC), ENOMEM);
    });
}

#[test]
fn mincore_tells_touched_pages() {
    in_child(|| {
        let pages = Pages::private(4);
        pages.set(0, 1);
        pages.set(2 * PAGE, 1);
        let mut resident = [9u8; 4];
        syscall!(SYS_mincore, pages.address(), 4 * PAGE, resident.as_mut_ptr()).expect("mincore");
        assert_eq!([resident[0] & 1, resident[2] & 1], [1, 1]);
        assert_errno!(syscall!(SYS_mincore, pages.address() + 1, PAGE, resident.as_mut_ptr()), EINVAL);
        assert_errno!(syscall!(SYS_mincore, pages.address(), PAGE, 0x10usize), EFAULT);
        syscall!(SYS_munmap, pages.page(3), PAGE).expect("munmap");
        assert_errno!(syscall!(SYS_mincore, pages.address(), 4 * PAGE, resident.as_mut_ptr()), ENOMEM);
    });
}

#[test]
fn mlock_is_allowed_for_root_and_needs_mapped_memory() {
    in_child(|| {
        let pages = Pages::private(2);
        assert_eq!(syscall!(SYS_mlock, pages.address(), PAGE), Ok(0));
        assert_eq!(syscall!(SYS_munlock, pages.address(), PAGE), Ok(0));
        syscall!(SYS_munmap, pages.page(1), PAGE).expect("munmap");
        assert_errno!(syscall!(SYS_mlock, pages.address(), 2 * PAGE), ENOMEM);
        assert_errno!(syscall!(SYS_mlockall, 0x100), EINVAL);
    });
}

#[test]
fn map_populate_and_map_stack_and_huge_hints_are_accepted() {
    in_child(|| {
        for flags in [libc::MAP_POPULATE, libc::MAP_STACK, libc::MAP_NORESERVE, libc::MAP_LOCKED] {
            let address = map_at(0, 2 * PAGE, flags).expect("mmap");
            assert_eq!(fault::write(address + PAGE, 1), Ok(()));
        }
        let shared = syscall!(SYS_mmap, 0usize, PAGE, READ_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0).expect("mmap");
        assert_eq!(fault::read(shared), Ok(0));
        let pages = Pages::private(1);
        for advice in [libc::MADV_NORMAL, libc::MADV_RANDOM, libc::MADV_SEQUENTIAL, libc::MADV_WILLNEED] {
            assert_eq!(syscall!(SYS_madvise, pages.address(), PAGE, advice), Ok(0));
        }
    });
}

#[test]
fn noexec_mounts_give_no_executable_mappings() {
    in_mount_namespace(|| {
        abi::world::mkdir("d");
        abi::world::mount("d", "/tmp/d", "tmpfs", libc::MS_NOEXEC, "").expect("mount");
        let file = file_of("d/file", PAGE, 0xc3);
        let map = |protection: i32| syscall!(SYS_mmap, 0usize, PAGE, protection, MAP_PRIVATE, &file, 0);
        assert_errno!(map(PROT_READ | PROT_EXEC), EPERM); // Rule L13
        let mapped = map(PROT_READ).expect("mmap");
        assert_errno!(syscall!(SYS_mprotect, mapped, PAGE, PROT_READ | PROT_EXEC), EACCES);
    });
}

#[test]
fn the_mem_file_of_proc_reads_a_process_memory() {
    in_child(|| {
        let page = Pages::private(1);
        page.set(0, 123);
        let me = syscall!(SYS_getpid).expect("getpid");
        let memory = File::open(format!("/proc/{me}/mem")).expect("/proc/pid/mem");
        let mut byte = [0];
        memory.read_exact_at(&mut byte, page.address() as u64).expect("read");
        assert_eq!(byte, [123]);
        assert_errno!(memory.read_at(&mut byte, 0x10), EIO);
    });
}

#[test]
fn rlimit_as_bounds_the_address_space() {
    in_child(|| {
        let limit = [256u64 << 20, 256 << 20];
        syscall!(SYS_setrlimit, libc::RLIMIT_AS, limit.as_ptr()).expect("setrlimit");
        assert_errno!(map_at(0, 300 << 20, 0), ENOMEM);
        let pages = map_at(0, 64 << 20, 0).expect("within the limit");
        assert_errno!(syscall!(SYS_mremap, pages, 64usize << 20, 400usize << 20, libc::MREMAP_MAYMOVE, 0), ENOMEM);
        let end = syscall!(SYS_brk, 0usize).expect("brk");
        assert_eq!(syscall!(SYS_brk, end + (400 << 20)), Ok(end));
    });
}
