//! The mount itself: open `/dev/fuse`, hand the descriptor to mount(2). See fuse(4) for the options.

use anyhow::{Context, Result, bail};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountFlags;
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The type that `/proc/self/mountinfo` shows: what follows the dot is ours to choose.
pub const TYPE: &str = "fuse.hellofs";
/// The source: any text will do for FUSE.
pub const SOURCE: &str = "hello";

/// Mounts on `directory`, and gives the descriptor through which the kernel asks. mount(2) does not wait for a server:
/// whoever looks before there is one waits.
///
/// # Errors
/// When `/dev/fuse` cannot be opened or mount(2) refuses, with what to do about it.
pub fn mount(directory: &Path, allow_other: bool) -> Result<OwnedFd> {
    // The kernel would stack a new mount on a dead one; then the dead one would be in the way for ever.
    if let Err(Errno::NOTCONN) = rustix::fs::stat(directory) {
        let path = directory.display();
        bail!("stat(\"{path}\"): {}; the server of the mount there died: `hellofs --umount {path}` takes it away", Errno::NOTCONN);
    }
    let device = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(|error| {
        let advice = match error {
            Errno::NOENT => "; make it with `mknod /dev/fuse c 10 229`",
            Errno::NODEV | Errno::NXIO => "; this kernel has no FUSE, or its module is not loaded: try `modprobe fuse`",
            _ => "",
        };
        anyhow::anyhow!("open(\"/dev/fuse\"): {error}{advice}")
    })?;
    let data = CString::new(options(&device, allow_other)).context("the options hold a NUL")?;
    rustix::mount::mount(SOURCE, directory, TYPE, MountFlags::NOSUID | MountFlags::NODEV, Some(data.as_c_str())).map_err(|error| {
        let advice = match error {
            Errno::PERM => "; it needs CAP_SYS_ADMIN: run it as root, or in a namespace of your own, `unshare -Urm hellofs …`",
            Errno::NOENT => "; make the directory first",
            Errno::NOTDIR => "; only a directory can carry it",
            Errno::NODEV => "; this kernel has no FUSE, or its module is not loaded: try `modprobe fuse`",
            _ => "",
        };
        anyhow::anyhow!("mount(\"{SOURCE}\", \"{}\", \"{TYPE}\", MS_NOSUID|MS_NODEV, {data:?}): {error}{advice}", directory.display())
    })?;
    Ok(device)
}

/// The options of mount(2): all but the last are required by every FUSE mount.
fn options(device: &OwnedFd, allow_other: bool) -> String {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let root_mode = rustix::fs::FileType::Directory.as_raw_mode();
    let others = if allow_other { ",allow_other" } else { "" };
    format!("fd={},rootmode={root_mode:o},user_id={uid},group_id={gid}{others}", device.as_raw_fd())
}

/// The absolute path of a mount point, without looking at the mount itself, whose server may be dead.
///
/// # Errors
/// When the directory that holds it cannot be found.
pub fn absolute(directory: &Path) -> Result<PathBuf> {
    let parent = match directory.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let parent = parent.canonicalize().with_context(|| format!("cannot find {}", parent.display()))?;
    // Without a last name (`/`, `..`) there is nothing to keep apart.
    Ok(directory.file_name().map_or_else(|| directory.canonicalize().unwrap_or(parent.clone()), |name| parent.join(name)))
}
