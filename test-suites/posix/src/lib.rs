//! File systems for cases that hold on every one of them, and the words that the cases share.
//!
//! Each begins with the same files ([`GIVEN`]), which lie in the lower layer where there are layers: who changes them copies them up.

use abi::child::{exit_now, wait_until};
pub use abi::user::as_user;
use abi::world::{in_mount_namespace, mkdirs, mount, umount, write};
use abi::{Child, Errno, Status, mountinfo, spawn};
use fuse_volumes::serve::{BindMode, Content, Settings};
use rustix::fs::{Mode, OFlags};
use std::fmt::Debug;
use std::fs::File;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// A file system to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The kernel's own, in memory.
    Tmpfs,
    /// The kernel's layers, over two directories of a tmpfs.
    Overlayfs,
    /// `passthrough` of `user/fuse-volumes`, over a directory of a tmpfs.
    Passthrough,
    /// Debian's fuse-overlayfs, over two directories of a tmpfs.
    FuseOverlayfs,
}

impl Kind {
    /// By the name of the module that is about it.
    pub fn named(name: &str) -> Self {
        match name {
            "tmpfs" => Self::Tmpfs,
            "overlayfs" => Self::Overlayfs,
            "passthrough" => Self::Passthrough,
            "fuse_overlayfs" => Self::FuseOverlayfs,
            _ => panic!("no file system is called {name}"),
        }
    }

    /// Whether a program serves it.
    pub fn is_fuse(self) -> bool {
        matches!(self, Self::Passthrough | Self::FuseOverlayfs)
    }
}

/// The file that is there from the start, in `given-dir` too, and what `given-link` leads to.
pub const GIVEN: &str = "given";

/// Where it is mounted.
const POINT: &str = "/tmp/fs";

/// Debian's program.
const FUSE_OVERLAYFS: &str = "/usr/bin/fuse-overlayfs";

/// Runs a case in a mount namespace of its own, in the root of a fresh file system, which must not be busy afterwards.
pub fn in_file_system(kind: Kind, case: impl FnOnce()) {
    if kind == Kind::FuseOverlayfs && !std::path::Path::new(FUSE_OVERLAYFS).exists() {
        return abi::child::tell("not run: there is no fuse-overlayfs here");
    }
    in_mount_namespace(|| {
        mkdirs(&["/tmp/fs", "/tmp/lower", "/tmp/upper", "/tmp/work", "/tmp/run"]);
        let layers = "lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work";
        let server = match kind {
            Kind::Tmpfs => {
                mount("posix", POINT, "tmpfs", 0, "mode=755").expect("a tmpfs");
                fill(POINT);
                None
            }
            Kind::Overlayfs => {
                fill("/tmp/lower");
                mount("posix", POINT, "overlay", 0, layers).expect("an overlay");
                None
            }
            Kind::Passthrough => {
                fill("/tmp/lower");
                Some(spawn(|| exit_now(i32::from(fuse_volumes::serve::run(passthrough()).inspect_err(|e| println!("{e:#}")).is_err()))))
            }
            Kind::FuseOverlayfs => {
                fill("/tmp/lower");
                Some(spawn(move || panic!("{}", Command::new(FUSE_OVERLAYFS).args(["-f", "-o", layers, POINT]).exec())))
            }
        };
        if server.is_some() {
            wait_until("it is served", || mountinfo::is_mounted(POINT) && std::fs::metadata(POINT).is_ok());
        }
        std::env::set_current_dir(POINT).expect("its root");
        rustix::process::umask(Mode::from_raw_mode(0o022));
        case();
        std::env::set_current_dir("/").expect("away from it");
        end(server);
    });
}

fn fill(root: &str) {
    write(&format!("{root}/{GIVEN}"), "given\n");
    mkdirs(&[&format!("{root}/given-dir")]);
    write(&format!("{root}/given-dir/{GIVEN}"), "inside\n");
    symlink(GIVEN, format!("{root}/given-link")).expect("symlink");
}

fn passthrough() -> Settings {
    Settings {
        content: Content::Passthrough { root: "/tmp/lower".into() },
        mountpoint: POINT.into(),
        binds: Vec::new(),
        mode: Some(BindMode::Kernel),
        privileged: true,
        allow_other: true,
        mapping: None,
        name: None,
    }
}

/// Unmounts. A server ends with it, and ends well.
fn end(server: Option<Child>) {
    umount(POINT, 0).expect("nothing holds it");
    if let Some(server) = server {
        assert_eq!(server.status(), Status::Exited(0), "the server");
    }
}

/// The call must fail with this error.
#[track_caller]
pub fn fails<T: Debug, E: Into<Errno>>(result: Result<T, E>, errno: i32) {
    match result {
        Ok(value) => panic!("it succeeded with {value:?}, and should fail with {:?}", Errno(errno)),
        Err(error) => assert_eq!(error.into(), Errno(errno)),
    }
}

/// Makes a directory that belongs to a user and the user's group.
#[track_caller]
pub fn mkdir_of(id: u32, path: &str, mode: u32) {
    abi::world::mkdir(path);
    chown(path, id, id);
    chmod(path, mode).expect("chmod");
}

/// Makes a file that belongs to a user and the user's group.
#[track_caller]
pub fn file_of(id: u32, path: &str, mode: u32) {
    write(path, "content");
    chown(path, id, id);
    chmod(path, mode).expect("chmod");
}

/// Gives a file away.
#[track_caller]
pub fn chown(path: &str, uid: u32, gid: u32) {
    std::os::unix::fs::lchown(path, Some(uid), Some(gid)).unwrap_or_else(|error| panic!("chown {path}: {error}"));
}

/// `chmod(2)`.
pub fn chmod(path: &str, mode: u32) -> rustix::io::Result<()> {
    rustix::fs::chmod(path, Mode::from_raw_mode(mode))
}

/// The file itself, whatever it is.
#[track_caller]
pub fn stat(path: &str) -> std::fs::Metadata {
    std::fs::symlink_metadata(path).unwrap_or_else(|error| panic!("lstat {path}: {error}"))
}

/// The twelve mode bits.
#[track_caller]
pub fn mode(path: &str) -> u32 {
    stat(path).mode() & 0o7777
}

/// `open(2)`; a new file gets mode 666 less the umask.
pub fn open(path: &str, flags: OFlags) -> rustix::io::Result<File> {
    Ok(rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o666))?.into())
}
