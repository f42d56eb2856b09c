//! devpts: each mount is an instance with terminals of its own (mount(8), "Mount options for devpts").

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use abi::namespace::become_user;
use abi::world::{mkdir, mount, names, open, umount};
use abi::{Outcome, assert_errno, in_mount_namespace, spawn, syscall};
use libc::{O_NOCTTY, O_RDWR};

const TIOCGPTPEER: usize = 0x5441;

fn instance(path: &str, options: &str) {
    mkdir(path);
    mount("devpts", path, "devpts", 0, options).expect("mount");
}

/// A new terminal by the `ptmx` of an instance: the master, and its number.
fn terminal(instance: &str) -> (std::fs::File, u32) {
    let master = open(&format!("{instance}/ptmx"), O_RDWR | O_NOCTTY).expect("ptmx");
    let mut number = 0u32;
    syscall!(SYS_ioctl, &master, libc::TIOCGPTN, &raw mut number).expect("TIOCGPTN");
    syscall!(SYS_ioctl, &master, libc::TIOCSPTLCK, &raw const LOCK_OFF).expect("TIOCSPTLCK");
    (master, number)
}

static LOCK_OFF: i32 = 0;

/// Its other end, without a name.
fn peer(master: &std::fs::File) -> Outcome<OwnedFd> {
    let fd = syscall!(SYS_ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY)?;
    // SAFETY: the descriptor is new and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn stat(path: &str) -> (u32, u32, u32) {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::metadata(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    (found.mode() & 0o7777, found.uid(), found.gid())
}

#[test]
fn devpts_instances_have_terminals_of_their_own() {
    in_mount_namespace(|| {
        instance("one", "newinstance,ptmxmode=666,mode=620,gid=5");
        instance("two", "ptmxmode=600");
        let (first, number) = terminal("one");
        assert_eq!((number, names("one")), (0, vec!["0".to_owned(), "ptmx".to_owned()]));
        assert_eq!(names("two"), ["ptmx"]);
        let (_second, number) = terminal("one");
        assert_eq!(number, 1);
        let (other, number) = terminal("two");
        assert_eq!(number, 0);
        // The two terminals 0 are different ones.
        let [slave, stranger] = ["one/0", "two/0"].map(|path| open(path, O_RDWR | O_NOCTTY).expect("a terminal"));
        std::io::Write::write_all(&mut &slave, b"hello\n").expect("write");
        let mut bytes = [0u8; 16];
        assert_eq!(syscall!(SYS_read, &first, bytes.as_mut_ptr(), 16), Ok(7));
        assert_eq!(&bytes[..7], b"hello\r\n");
        syscall!(SYS_fcntl, &other, libc::F_SETFL, libc::O_NONBLOCK).expect("fcntl");
        assert_errno!(syscall!(SYS_read, &other, bytes.as_mut_ptr(), 16), EAGAIN);
        drop(stranger);
        // A terminal goes with its master.
        drop(first);
        assert_eq!(names("one"), ["1", "ptmx"]);
        assert_errno!(open("one/0", O_RDWR).map(drop), ENOENT);
    });
}

#[test]
fn devpts_modes_and_groups_are_options() {
    in_mount_namespace(|| {
        instance("one", "ptmxmode=666,mode=621,gid=5");
        let (_master, _) = terminal("one");
        assert_eq!([stat("one/ptmx"), stat("one/0")], [(0o666, 0, 0), (0o621, 0, 5)]);
        instance("two", "uid=7,max=1");
        // Without an option nobody opens ptmx but root, and terminals are their maker's.
        assert_eq!(stat("two/ptmx"), (0, 0, 0));
        let (_master, _) = terminal("two");
        assert_eq!(stat("two/0"), (0o600, 7, 0));
        assert_errno!(open("two/ptmx", O_RDWR | O_NOCTTY).map(drop), ENOSPC);
        spawn(|| {
            become_user(1000);
            assert_errno!(open("/tmp/two/ptmx", O_RDWR | O_NOCTTY).map(drop), EACCES);
            let (_master, _) = terminal("/tmp/one");
            assert_eq!(stat("/tmp/one/1"), (0o621, 1000, 5));
        })
        .join();
        mount("devpts", "two", "devpts", libc::MS_REMOUNT, "ptmxmode=640").expect("remount");
        assert_eq!(stat("two/ptmx"), (0o640, 0, 0));
        mkdir("three");
        assert_errno!(mount("devpts", "three", "devpts", 0, "wrong=1"), EINVAL);
    });
}

#[test]
fn devpts_a_peer_is_opened_without_a_name() {
    in_mount_namespace(|| {
        instance("one", "ptmxmode=666");
        let (master, _) = terminal("one");
        let slave = peer(&master).expect("TIOCGPTPEER");
        let link = std::fs::read_link(format!("/proc/self/fd/{}", slave.as_raw_fd())).expect("readlink");
        assert_eq!(link.to_str(), Some("/tmp/one/0"));
        // What is open keeps its instance, mounted or not.
        assert_errno!(umount("one", 0), EBUSY);
        umount("one", libc::MNT_DETACH).expect("umount");
        syscall!(SYS_write, &slave, "x".as_ptr(), 1).expect("write");
        let mut byte = [0u8; 4];
        assert_eq!(syscall!(SYS_read, &master, byte.as_mut_ptr(), 4), Ok(1));
    });
}
