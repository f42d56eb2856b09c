//! statmount and listmount: mounts by their unique ids. Linux 6.6 has neither; here they answer as in 6.12 (rules A23 and X16).

use abi::mountinfo::{at, table};
use abi::world::{make, mkdir, mount, new_tmpfs, umount};
use abi::{Outcome, assert_errno, in_mount_namespace, syscall};
use libc::MS_SHARED;

const SYS_STATMOUNT: i64 = 457;
const SYS_LISTMOUNT: i64 = 458;
/// `LSMT_ROOT`.
const ROOT: u64 = u64::MAX;
/// Everything that statmount tells of since 6.8.
const ALL: u64 = 0x3f;

/// `struct mnt_id_req` with size and reserved word in the first one.
fn request(size: u32, mount: u64, parameter: u64) -> [u64; 4] {
    [u64::from(size), mount, parameter, 0]
}

fn call(number: i64, request: usize, buffer: usize, room: usize, flags: usize) -> Outcome {
    // SAFETY: the kernel writes to the buffer at most, which is live or wrong on purpose.
    unsafe { abi::raw::call(number, abi::raw::registers(&[request, buffer, room, flags])) }
}

fn list(mount: u64, after: u64, room: usize) -> Outcome<Vec<u64>> {
    let mut ids = vec![0u64; room];
    let found = call(SYS_LISTMOUNT, request(24, mount, after).as_ptr() as usize, ids.as_mut_ptr() as usize, room, 0)?;
    ids.truncate(found);
    Ok(ids)
}

/// The unique id of the mount that a path leads to: `STATX_MNT_ID_UNIQUE`.
fn unique_id(path: &str) -> u64 {
    let mut answer = [0u64; 32];
    syscall!(SYS_statx, libc::AT_FDCWD, abi::world::c(path).as_c_str(), 0, 0x4000, answer.as_mut_ptr()).expect("statx");
    assert!(answer[0] & 0x4000 != 0, "the mask says so");
    answer[18]
}

struct Stat(Vec<u8>);

impl Stat {
    fn of(mount: u64, mask: u64) -> Outcome<Self> {
        let mut buffer = vec![0u8; 4096];
        call(SYS_STATMOUNT, request(24, mount, mask).as_ptr() as usize, buffer.as_mut_ptr() as usize, 4096, 0).map(|_| Self(buffer))
    }

    fn word(&self, offset: usize) -> u32 {
        u32::from_ne_bytes(self.0[offset..offset + 4].try_into().expect("four bytes"))
    }

    fn long(&self, offset: usize) -> u64 {
        u64::from_ne_bytes(self.0[offset..offset + 8].try_into().expect("eight bytes"))
    }

    fn text(&self, offset: usize) -> String {
        let from = 512 + self.word(offset) as usize;
        let len = self.0[from..].iter().position(|&byte| byte == 0).expect("terminated");
        String::from_utf8(self.0[from..from + len].to_vec()).expect("text")
    }
}

#[test]
fn statmount_tells_what_mountinfo_tells() {
    in_mount_namespace(|| {
        mkdir("d");
        mount("source", "d", "tmpfs", libc::MS_NOSUID, "size=64k").expect("mount");
        make("d", MS_SHARED).expect("shared");
        let shown = at("/tmp/d");
        let stat = Stat::of(unique_id("d"), ALL).expect("statmount");
        assert_eq!(stat.long(8), ALL);
        assert_eq!((stat.word(56), stat.word(60)), (shown.id, shown.parent));
        assert_eq!((stat.long(40), stat.long(48)), (unique_id("d"), unique_id("/tmp")));
        assert_eq!(format!("{}:{}", stat.word(16), stat.word(20)), shown.device);
        assert_eq!(stat.long(24), 0x0102_1994, "TMPFS_MAGIC");
        assert_eq!(stat.long(64), 2, "MOUNT_ATTR_NOSUID");
        assert_eq!((stat.long(72), stat.long(80)), (MS_SHARED, u64::from(shown.shared.expect("a group"))));
        assert_eq!((stat.text(36), stat.text(104), stat.text(108)), ("tmpfs".to_string(), "/".to_string(), "/tmp/d".to_string()));
        let few = Stat::of(unique_id("d"), 0x2).expect("statmount");
        assert_eq!((few.long(8), few.word(0)), (0x2, 512));
    });
}

#[test]
fn listmount_goes_down_from_a_mount() {
    in_mount_namespace(|| {
        for name in ["a", "a/b", "c"] {
            new_tmpfs(&format!("/tmp/{name}"));
        }
        let mut expected = vec![unique_id("a"), unique_id("a/b"), unique_id("c")];
        expected.sort_unstable();
        assert_eq!(list(unique_id("/tmp"), 0, 100), Ok(expected.clone()));
        assert_eq!(list(unique_id("a"), 0, 100), Ok(vec![unique_id("a/b")]));
        assert_eq!(list(unique_id("/tmp"), 0, 2), Ok(expected[..2].to_vec()));
        assert_eq!(list(unique_id("/tmp"), expected[1], 2), Ok(expected[2..].to_vec()));
        assert_eq!(list(unique_id("c"), 0, 4), Ok(vec![]));
        let everything = list(ROOT, 0, 1000).expect("listmount");
        assert!(expected.iter().all(|id| everything.contains(id)));
        assert!(everything.is_sorted());
        let gone = unique_id("c");
        umount("c", 0).expect("umount");
        assert_errno!(list(gone, 0, 4), ENOENT);
        assert_errno!(Stat::of(gone, ALL).map(|_| ()), ENOENT);
    });
}

#[test]
fn bad_requests_are_refused() {
    in_mount_namespace(|| {
        let id = unique_id("/tmp");
        let before = table();
        let mut buffer = vec![0u8; 8192];
        let space = buffer.as_mut_ptr() as usize;
        for number in [SYS_STATMOUNT, SYS_LISTMOUNT] {
            let asked = |request: [u64; 4], room: usize| call(number, request.as_ptr() as usize, space, room, 0);
            assert_errno!(call(number, 8, space, 16, 0), EFAULT);
            assert_errno!(call(number, request(24, id, 0).as_ptr() as usize, space, 16, 2), EINVAL);
            for size in [0, 1, 23] {
                assert_errno!(asked(request(size, id, 0), 16), EINVAL);
            }
            for size in [4097, 1 << 20, u32::MAX] {
                assert_errno!(asked(request(size, id, 0), 16), E2BIG);
            }
            assert_errno!(asked([24 | 1 << 32, id, 0, 0], 16), EINVAL);
            // Unique ids are above those of mountinfo.
            for no_unique_id in [0, 1, 1 << 31] {
                assert_errno!(asked(request(24, no_unique_id, 0), 16), EINVAL);
            }
            assert_errno!(asked(request(24, id - 1 + (1 << 60), 0), 16), ENOENT);
        }
        assert_errno!(Stat::of(ROOT, ALL).map(|_| ()), ENOENT);
        assert_errno!(list(ROOT, 5, 10), EINVAL);
        let asked = request(24, id, ALL);
        assert_errno!(call(SYS_STATMOUNT, asked.as_ptr() as usize, 8, 4096, 0), EFAULT);
        assert_errno!(call(SYS_STATMOUNT, asked.as_ptr() as usize, space, 520, 0), EOVERFLOW);
        assert_errno!(call(SYS_LISTMOUNT, request(24, ROOT, 0).as_ptr() as usize, 8, 16, 0), EFAULT);
        assert_errno!(call(SYS_LISTMOUNT, request(24, ROOT, 0).as_ptr() as usize, space, usize::MAX, 0), EOVERFLOW);
        assert_eq!(table(), before);
    });
}
