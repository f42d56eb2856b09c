//! execve and execveat: what can be executed, what the new program finds, and how broken programs are refused.

use std::os::fd::AsRawFd;

use abi::elf::{Elf, execve, exit_code, install, run};
use abi::world::{mkdir, write};
use abi::{Errno, Outcome, Status, assert_errno, in_mount_namespace, spawn, syscall};

/// Tries to execute `path` in a forked process and asserts that it is refused with `errno`, the process going on.
#[track_caller]
fn assert_refused(what: &str, path: &str, errno: i32) {
    let caller = std::panic::Location::caller();
    spawn(|| {
        let refusal: Outcome = execve(path, &[]);
        assert_eq!(refusal, Err(Errno(errno)), "{what} ({caller})");
    })
    .join();
}

/// Machine code that writes `len` bytes from the address in `rsi` to descriptor 1 and exits with 0.
fn write_and_exit() -> Vec<u8> {
    // mov edi, 1; mov eax, SYS_write; syscall
    let mut code = vec![0xbf, 1, 0, 0, 0, 0xb8, 1, 0, 0, 0, 0x0f, 0x05];
    code.extend(exit_code(0));
    code
}

/// Runs `path` with its standard output in a pipe and gives what it wrote.
fn output_of(path: &str, arguments: &[&str]) -> Vec<u8> {
    use std::io::Read;
    let (mut reader, writer) = std::io::pipe().expect("pipe");
    let child = spawn(|| {
        syscall!(SYS_dup2, &writer, 1).expect("dup2");
        let refusal = execve(path, arguments);
        panic!("execve: {refusal:?}");
    });
    drop(writer);
    let mut output = Vec::new();
    reader.read_to_end(&mut output).expect("read");
    assert_eq!(child.status(), Status::Exited(0));
    output
}

/// A program that writes the first 64 words of its stack: argc, argv, envp, the auxiliary vector.
fn stack_dumper() -> Elf {
    // mov rsi, rsp; mov edx, 512
    let mut code = vec![0x48, 0x89, 0xe6, 0xba, 0, 2, 0, 0];
    code.extend(write_and_exit());
    Elf::with_code(&code)
}

#[test]
fn static_programs_run_and_their_exit_code_comes_back() {
    in_mount_namespace(|| {
        Elf::exiting(23).install("program");
        assert_eq!(run("/tmp/program", &[]), Status::Exited(23));
        assert_eq!(run("program", &["argument"]), Status::Exited(23));
    });
}

#[test]
fn position_independent_programs_are_relocated() {
    in_mount_namespace(|| {
        // lea rax, [rip]; shr rax, 32; setnz dil; movzx edi, dil; mov eax, exit_group; syscall
        let code = [
            0x48,
            0x8d,
            0x05,
            0,
            0,
            0,
            0,
            0x48,
            0xc1,
            0xe8,
            0x20,
            0x40,
            0x0f,
            0x95,
            0xc7,
            0x40,
            0x0f,
            0xb6,
            0xff,
            0xb8,
            libc::SYS_exit_group as u8,
            0,
            0,
            0,
            0x0f,
            0x05,
        ];
        Elf::position_independent(&code).install("program");
        assert_eq!(run("/tmp/program", &[]), Status::Exited(1), "far above the first 4 GiB");
    });
}

#[test]
fn the_test_program_itself_can_be_executed_again() {
    in_mount_namespace(|| {
        let output = output_of("/proc/self/exe", &["--list", "--format", "terse"]);
        let listing = String::from_utf8(output).expect("text");
        assert!(listing.contains("the_test_program_itself_can_be_executed_again: test"));
    });
}

#[test]
fn the_initial_stack_holds_arguments_environment_and_auxiliary_vector() {
    in_mount_namespace(|| {
        stack_dumper().install("program");
        let output = output_of("/tmp/program", &["one", "two"]);
        let words: Vec<u64> = output.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("8"))).collect();
        assert_eq!(words[0], 3, "argc");
        assert!(words[1..4].iter().all(|&word| word != 0) && words[4] == 0, "argv");
        assert!(words[5] != 0 && words[6] == 0, "one environment string");
        let auxiliary: std::collections::HashMap<u64, u64> =
            words[7..].chunks_exact(2).take_while(|pair| pair[0] != 0).map(|pair| (pair[0], pair[1])).collect();
        assert_eq!(auxiliary.get(&libc::AT_PAGESZ), Some(&4096));
        assert_eq!(auxiliary.get(&libc::AT_ENTRY), Some(&(abi::elf::BASE + 120)));
        assert_eq!(auxiliary.get(&libc::AT_PHDR), Some(&(abi::elf::BASE + 64)));
        assert_eq!((auxiliary.get(&libc::AT_PHENT), auxiliary.get(&libc::AT_PHNUM)), (Some(&56), Some(&1)));
        assert_eq!([libc::AT_UID, libc::AT_EUID, libc::AT_SECURE].map(|key| auxiliary[&key]), [0, 0, 0]);
        assert_eq!(auxiliary.get(&libc::AT_CLKTCK), Some(&100));
        for key in [libc::AT_RANDOM, libc::AT_EXECFN, libc::AT_PLATFORM] {
            assert!(auxiliary[&key] > 0x1000, "pointer {key}");
        }
        assert!(auxiliary.contains_key(&libc::AT_HWCAP));
    });
}

#[test]
fn the_stack_is_aligned_to_16_bytes_at_entry() {
    in_mount_namespace(|| {
        // mov edi, esp; and edi, 15; mov eax, exit_group; syscall
        let code = [0x89, 0xe7, 0x83, 0xe7, 0x0f, 0xb8, libc::SYS_exit_group as u8, 0, 0, 0, 0x0f, 0x05];
        Elf::with_code(&code).install("program");
        for count in 0..4 {
            assert_eq!(run("/tmp/program", &vec!["x"; count]), Status::Exited(0), "{count} arguments");
        }
    });
}

#[test]
fn a_script_runs_its_interpreter_with_one_argument_and_its_own_path() {
    in_mount_namespace(|| {
        // Writes 64 bytes from argv[0] on: the strings stand one behind the other.
        let mut code = vec![0x48, 0x8b, 0x74, 0x24, 0x08, 0xba, 64, 0, 0, 0];
        code.extend(write_and_exit());
        Elf::with_code(&code).install("interpreter");
        install("script", "#! /tmp/interpreter  -a b \nrest\n");
        let output = output_of("/tmp/script", &["argument"]);
        let strings: Vec<&[u8]> = output.split(|&byte| byte == 0).collect();
        assert_eq!(strings[..4], [b"/tmp/interpreter".as_slice(), b"-a b", b"/tmp/script", b"argument"]);
    });
}

#[test]
fn scripts_may_be_nested_five_deep() {
    in_mount_namespace(|| {
        Elf::exiting(3).install("script0");
        for level in 1..8 {
            install(&format!("script{level}"), format!("#!/tmp/script{}\n", level - 1));
        }
        assert_eq!(run("/tmp/script4", &[]), Status::Exited(3));
        assert_eq!(run("/tmp/script5", &[]), Status::Exited(3));
        assert_refused("six interpreters", "/tmp/script6", libc::ELOOP);
    });
}

#[test]
fn scripts_with_broken_first_lines_are_refused() {
    in_mount_namespace(|| {
        let cases: [(&str, &str, i32); 7] = [
            ("no interpreter", "#!\n", libc::ENOEXEC),
            ("blanks only", "#!   \t \n", libc::ENOEXEC),
            ("a missing interpreter", "#!/tmp/missing\n", libc::ENOENT),
            ("a directory", "#!/tmp\n", libc::EACCES),
            ("no magic", "echo hello\n", libc::ENOEXEC),
            ("one byte", "#", libc::ENOEXEC),
            ("an empty file", "", libc::ENOEXEC),
        ];
        for (what, content, errno) in cases {
            install("script", content);
            assert_refused(what, "/tmp/script", errno);
        }
        let long = format!("#!/{}\n", "x".repeat(300));
        install("script", long);
        assert_refused("a path cut off by the buffer", "/tmp/script", libc::ENOEXEC);
        Elf::exiting(1).install("program");
        std::fs::set_permissions("program", std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("chmod");
        install("script", "#!/tmp/program\n");
        assert_refused("an interpreter that may not be executed", "/tmp/script", libc::EACCES);
    });
}

#[test]
fn execve_checks_the_file_before_its_content() {
    in_mount_namespace(|| {
        assert_refused("nothing", "/tmp/missing", libc::ENOENT);
        assert_refused("an empty path", "", libc::ENOENT);
        assert_refused("a directory", "/tmp", libc::EACCES);
        write("file", "x");
        assert_refused("no permission", "/tmp/file", libc::EACCES);
        assert_refused("below a file", "/tmp/file/x", libc::ENOTDIR);
        assert_refused("a long name", &"x".repeat(256), libc::ENAMETOOLONG);
        assert_refused("a device", "/dev/null", libc::EACCES);
        std::os::unix::fs::symlink("loop", "loop").expect("symlink");
        assert_refused("a loop", "/tmp/loop", libc::ELOOP);
        Elf::exiting(4).install("program");
        std::os::unix::fs::symlink("program", "link").expect("symlink");
        assert_eq!(run("/tmp/link", &[]), Status::Exited(4));
    });
}

#[test]
fn a_noexec_mount_executes_nothing() {
    in_mount_namespace(|| {
        mkdir("d");
        abi::world::mount("d", "/tmp/d", "tmpfs", libc::MS_NOEXEC, "").expect("mount");
        Elf::exiting(0).install("d/program");
        assert_refused("a program", "/tmp/d/program", libc::EACCES); // Rule L13
        install("d/text", "no program");
        assert_refused("what is no program", "/tmp/d/text", libc::EACCES);
    });
}

#[test]
fn a_file_open_for_writing_is_text_busy_and_a_running_one_cannot_be_written() {
    in_mount_namespace(|| {
        Elf::exiting(5).install("program");
        let writer = std::fs::File::options().append(true).open("program").expect("open");
        assert_refused("an open file", "/tmp/program", libc::ETXTBSY);
        drop(writer);
        assert_eq!(run("/tmp/program", &[]), Status::Exited(5));
        Elf::pausing().install("pauser");
        let child = spawn(|| {
            let _ = execve("/tmp/pauser", &[]);
        });
        let comm = format!("/proc/{}/comm", child.pid());
        abi::child::wait_until("it runs", || std::fs::read_to_string(&comm).is_ok_and(|name| name == "pauser\n"));
        assert_errno!(std::fs::File::options().append(true).open("pauser"), ETXTBSY);
        assert_errno!(syscall!(SYS_truncate, c"pauser", 0), ETXTBSY);
        std::fs::remove_file("pauser").expect("its name can go");
    });
}

#[test]
fn execveat_executes_a_descriptor() {
    in_mount_namespace(|| {
        Elf::exiting(6).install("program");
        let execveat = |directory: i32, path: &std::ffi::CStr, flags: i32| {
            let arguments = [c"name".as_ptr(), std::ptr::null()];
            syscall!(SYS_execveat, directory, path, arguments.as_ptr(), 0usize, flags)
        };
        let program = std::fs::File::open("program").expect("open");
        let here = std::fs::File::open(".").expect("open");
        let by_descriptor = spawn(|| {
            let _ = execveat(program.as_raw_fd(), c"", libc::AT_EMPTY_PATH);
        });
        assert_eq!(by_descriptor.status(), Status::Exited(6));
        let relative = spawn(|| {
            let _ = execveat(here.as_raw_fd(), c"program", 0);
        });
        assert_eq!(relative.status(), Status::Exited(6));
        spawn(|| {
            assert_errno!(execveat(program.as_raw_fd(), c"", 0), ENOENT);
            assert_errno!(execveat(here.as_raw_fd(), c"program", 0x40), EINVAL);
            assert_errno!(execveat(999, c"program", 0), EBADF);
            assert_errno!(execveat(program.as_raw_fd(), c"x", 0), ENOTDIR);
            std::os::unix::fs::symlink("program", "link").expect("symlink");
            assert_errno!(execveat(here.as_raw_fd(), c"link", libc::AT_SYMLINK_NOFOLLOW), ELOOP);
        })
        .join();
    });
}

#[test]
fn a_program_in_a_memfd_runs_without_a_name() {
    in_mount_namespace(|| {
        let file = rustix::fs::memfd_create("program", rustix::fs::MemfdFlags::CLOEXEC).expect("memfd_create");
        rustix::io::write(&file, &Elf::exiting(8).0).expect("write");
        // Linux refuses to execute what is open for writing, but a memfd reopened for reading alone counts the first.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let reader = std::fs::File::open(&path).expect("reopen");
        drop(file);
        assert_eq!(run(&format!("/proc/self/fd/{}", reader.as_raw_fd()), &[]), Status::Exited(8));
    });
}

#[test]
fn arguments_that_are_too_long_are_e2big() {
    in_mount_namespace(|| {
        Elf::exiting(0).install("program");
        let long = "x".repeat(131_071);
        assert_eq!(run("/tmp/program", &[&long]), Status::Exited(0), "32 pages with the NUL");
        let longer = "x".repeat(131_072);
        assert_errno!(execve("/tmp/program", &[&longer]), E2BIG);
        let many = vec![long.as_str(); 20];
        assert_errno!(execve("/tmp/program", &many), E2BIG);
    });
}

#[test]
fn null_argument_lists_are_taken_and_bad_pointers_refused() {
    in_mount_namespace(|| {
        Elf::exiting(9).install("program");
        let child = spawn(|| {
            let _ = syscall!(SYS_execve, c"/tmp/program", 0usize, 0usize);
        });
        assert_eq!(child.status(), Status::Exited(9));
        assert_errno!(syscall!(SYS_execve, 0x10usize, 0usize, 0usize), EFAULT);
        assert_errno!(syscall!(SYS_execve, c"/tmp/program", 0x10usize, 0usize), EFAULT);
        assert_errno!(syscall!(SYS_execve, c"/tmp/program", 0usize, 0x10usize), EFAULT);
        let broken = [0x10usize, 0];
        assert_errno!(syscall!(SYS_execve, c"/tmp/program", broken.as_ptr(), 0usize), EFAULT);
    });
}

#[test]
fn an_empty_argument_list_becomes_one_empty_string() {
    in_mount_namespace(|| {
        stack_dumper().install("program");
        let (mut reader, writer) = std::io::pipe().expect("pipe");
        let child = spawn(|| {
            syscall!(SYS_dup2, &writer, 1).expect("dup2");
            let _ = syscall!(SYS_execve, c"/tmp/program", [0usize].as_ptr(), [0usize].as_ptr());
        });
        drop(writer);
        let mut words = [0u8; 32];
        std::io::Read::read_exact(&mut reader, &mut words).expect("read");
        assert_eq!(words[0], 1, "argc");
        assert_eq!(child.status(), Status::Exited(0));
    });
}

/// Ways to break a program's headers, with the error number that Linux 6.12 gives.
#[test]
fn broken_elf_headers_are_refused_not_executed() {
    in_mount_namespace(|| {
        let whole = || Elf::exiting(0);
        let half = |offset: usize, value: u16| whole().patched(offset, &value.to_le_bytes());
        let word = |offset: usize, value: u64| whole().patched(offset, &value.to_le_bytes());
        let cases = [
            ("wrong magic", whole().patched(1, b"X"), libc::ENOEXEC),
            ("relocatable object", half(16, 1), libc::ENOEXEC),
            ("core file", half(16, 4), libc::ENOEXEC),
            ("type 0", half(16, 0), libc::ENOEXEC),
            ("machine 0", half(18, 0), libc::ENOEXEC),
            ("machine ARM", half(18, 40), libc::ENOEXEC),
            ("wrong program header size", half(54, 55), libc::ENOEXEC),
            ("no program headers", half(56, 0), libc::ENOEXEC),
            ("too many program headers", half(56, 0xffff), libc::ENOEXEC),
            ("magic only", whole().truncated(4), libc::ENOEXEC),
            ("half a header", whole().truncated(40), libc::ENOEXEC),
            ("header without program headers", whole().truncated(64), libc::ENOEXEC),
            ("half a program header", whole().truncated(90), libc::ENOEXEC),
            ("program headers far outside", word(32, 1 << 40), libc::ENOEXEC),
            ("program headers at the end of the numbers", word(32, u64::MAX - 8), libc::ENOEXEC),
        ];
        for (what, elf, errno) in cases {
            elf.install("broken");
            spawn(|| {
                let refusal = execve("/tmp/broken", &[]);
                assert_eq!(refusal, Err(Errno(errno)), "{what}");
            })
            .join();
        }
    });
}

/// Programs whose headers Linux takes or refuses only after the old program is gone: they must die, never run on.
#[test]
fn programs_that_cannot_live_are_killed() {
    in_mount_namespace(|| {
        let word = |offset: usize, value: u64| Elf::exiting(0).patched(offset, &value.to_le_bytes());
        let cases = [
            ("entry at 0", word(24, 0)),
            ("file offset and address differ within a page", word(64 + 8, 1)),
            ("more in the file than in memory", word(64 + 40, 1)),
            ("entry in the kernel half", word(24, 0xffff_8000_0000_0000)),
            ("entry not canonical", word(24, 0x8000_0000_0000_0000)),
            ("segment in the kernel half", word(64 + 16, 0xffff_8000_0000_0000)),
            ("segment larger than the address space", word(64 + 40, 0x7fff_ffff_ffff)),
            ("segment of 2^64 - 1 bytes", word(64 + 40, u64::MAX)),
            ("no segment to load", Elf::exiting(0).patched(64, &[6, 0, 0, 0])),
        ];
        for (what, elf) in cases {
            elf.install("broken");
            let status = run("/tmp/broken", &[]);
            assert!(matches!(status, Status::Killed(_)), "{what}: {status:?}");
        }
    });
}

#[test]
fn a_missing_or_broken_elf_interpreter_is_refused() {
    in_mount_namespace(|| {
        // One PT_INTERP header in the place of the PT_LOAD one; the string lies in the code.
        let with_interpreter = |path: &[u8]| {
            let mut elf = Elf::with_code(path);
            let len_bytes = path.len() as u64;
            elf = elf.patched(64, &3u32.to_le_bytes());
            elf = elf.patched(64 + 8, &120u64.to_le_bytes());
            elf.patched(64 + 32, &len_bytes.to_le_bytes())
        };
        with_interpreter(b"/tmp/missing\0").install("program");
        assert_refused("missing", "/tmp/program", libc::ENOENT);
        with_interpreter(b"/tmp/missing").install("program");
        assert_refused("no NUL at its end", "/tmp/program", libc::ENOEXEC);
        with_interpreter(b"x").install("program");
        assert_refused("too short", "/tmp/program", libc::ENOEXEC);
        install("text", "this is long enough to be read as the header of a program, but it is none of those: just text");
        with_interpreter(b"/tmp/text\0").install("program");
        assert_refused("no program", "/tmp/program", libc::ELIBBAD);
        install("short", "short");
        with_interpreter(b"/tmp/short\0").install("program");
        assert_refused("a short file", "/tmp/program", libc::EIO);
    });
}

#[test]
fn exec_closes_cloexec_descriptors_and_keeps_others() {
    in_mount_namespace(|| {
        // fcntl(20, F_GETFD) and fcntl(21, F_GETFD): exit with (first failed) * 2 + (second failed)
        let probe = |fd: u8| {
            let mut code = vec![0xbf, fd, 0, 0, 0, 0xbe, libc::F_GETFD as u8, 0, 0, 0, 0xb8, libc::SYS_fcntl as u8, 0, 0, 0];
            code.extend([0x0f, 0x05, 0x48, 0xc1, 0xe8, 0x3f]); // syscall; shr rax, 63
            code
        };
        let mut code = probe(20);
        code.extend([0x48, 0x8d, 0x1c, 0x00]); // lea rbx, [rax + rax]
        code.extend(probe(21));
        code.extend([0x48, 0x01, 0xd8, 0x89, 0xc7, 0xb8, libc::SYS_exit_group as u8, 0, 0, 0, 0x0f, 0x05]); // add rax, rbx; …
        Elf::with_code(&code).install("program");
        syscall!(SYS_dup3, 0, 20, libc::O_CLOEXEC).expect("dup3");
        syscall!(SYS_dup3, 0, 21, 0).expect("dup3");
        assert_eq!(run("/tmp/program", &[]), Status::Exited(2));
    });
}

#[test]
fn exec_resets_the_name_and_keeps_the_process() {
    in_mount_namespace(|| {
        Elf::pausing().install("a_long_program_name");
        let child = spawn(|| {
            syscall!(SYS_prctl, libc::PR_SET_NAME, c"before".as_ptr()).expect("prctl");
            std::env::set_current_dir("/proc").expect("chdir");
            let _ = execve("/tmp/a_long_program_name", &["two words", ""]);
        });
        let pid = child.pid();
        let file = |name: &str| format!("/proc/{pid}/{name}");
        let arguments = b"/tmp/a_long_program_name\0two words\0\0";
        abi::child::wait_until("it runs", || std::fs::read(file("cmdline")).is_ok_and(|line| line == arguments));
        assert_eq!(abi::world::read(&file("comm")), "a_long_program_\n");
        assert_eq!(abi::world::read(&file("environ")), "MARK=kept\0");
        assert_eq!(std::fs::read_link(file("exe")).expect("exe").to_str(), Some("/tmp/a_long_program_name"));
        assert_eq!(std::fs::read_link(file("cwd")).expect("cwd").to_str(), Some("/proc"));
        drop(child);
    });
}

#[test]
fn exec_from_a_thread_ends_the_others_and_keeps_the_process_id() {
    in_mount_namespace(|| {
        Elf::exiting(12).install("program");
        let child = spawn(|| {
            std::thread::spawn(|| {
                let _ = execve("/tmp/program", &[]);
            });
            loop {
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
        });
        assert_eq!(child.status(), Status::Exited(12));
    });
}

#[test]
fn set_user_id_programs_run_as_their_owner_unless_nosuid() {
    in_mount_namespace(|| {
        use std::os::unix::fs::PermissionsExt;
        // exit_group(geteuid() / 100): mov eax, geteuid; syscall; xor edx, edx; mov ecx, 100; div ecx; mov edi, eax
        let mut code = vec![0xb8, libc::SYS_geteuid as u8, 0, 0, 0, 0x0f, 0x05, 0x31, 0xd2, 0xb9, 100, 0, 0, 0, 0xf7, 0xf1, 0x89, 0xc7];
        code.extend([0xb8, libc::SYS_exit_group as u8, 0, 0, 0, 0x0f, 0x05]);
        Elf::with_code(&code).install("program");
        std::os::unix::fs::chown("program", Some(1200), None).expect("chown");
        assert_eq!(run("/tmp/program", &[]), Status::Exited(0));
        std::fs::set_permissions("program", std::fs::Permissions::from_mode(0o4755)).expect("chmod");
        assert_eq!(run("/tmp/program", &[]), Status::Exited(12));
        abi::world::mount("", "/tmp", "", libc::MS_REMOUNT | libc::MS_BIND | libc::MS_NOSUID, "").expect("remount");
        assert_eq!(run("/tmp/program", &[]), Status::Exited(0)); // Rule L13
        abi::world::mount("", "/tmp", "", libc::MS_REMOUNT | libc::MS_BIND, "").expect("remount");
        syscall!(SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).expect("prctl");
        assert_eq!(run("/tmp/program", &[]), Status::Exited(0));
    });
}

#[test]
fn std_process_command_spawns_through_vfork() {
    in_mount_namespace(|| {
        Elf::exiting(7).install("program");
        let status = std::process::Command::new("/tmp/program").arg("x").status().expect("spawn");
        assert_eq!(status.code(), Some(7));
        let error = std::process::Command::new("/tmp/missing").status().expect_err("no program");
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    });
}

#[test]
fn an_unreadable_program_can_be_executed() {
    in_mount_namespace(|| {
        use std::os::unix::fs::PermissionsExt;
        Elf::exiting(14).install("program");
        std::fs::set_permissions("program", std::fs::Permissions::from_mode(0o111)).expect("chmod");
        spawn(|| {
            syscall!(SYS_setresuid, 1000, 1000, 1000).expect("setresuid");
            assert_errno!(std::fs::File::open("/tmp/program"), EACCES);
            assert_eq!(run("/tmp/program", &[]), Status::Exited(14));
        })
        .join();
    });
}
