//! The life of a volume: made ready, mounted, unmounted.

use crate::volume::{Propagation, Volume};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount_bind_recursive, mount_change, mount_remount, unmount};
use std::fs::{self, DirBuilder, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use support::{Failure, Mount, MountTable, Outcome, Said};

/// A volume whose source and mount point are there.
#[derive(Debug)]
pub struct PreparedVolume {
    /// What was asked for.
    pub volume: Volume,
    /// The mount point as the host sees it: below the root file system.
    pub point: PathBuf,
    /// Which folders and files had to be made for the mount point, the outermost first.
    made: Vec<PathBuf>,
}

/// A volume that is mounted.
#[derive(Debug)]
pub struct MountedVolume {
    prepared: PreparedVolume,
}

impl MountedVolume {
    /// The mount point as the host sees it.
    pub fn point(&self) -> &Path {
        &self.prepared.point
    }
}

/// What to do about a volume that is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenBusy {
    /// Say who uses it, and leave it mounted.
    Tell,
    /// Take it out of the tree at once; the kernel ends it when its last user does.
    Detach,
}

/// Makes what is missing for a volume: the source, a folder, and the mount point in `rootfs`, of the kind that the source is.
///
/// Folders get mode 0755. What was made of the mount point is removed again if the rest fails; the source stays: it may be in use
/// by then.
pub fn setup_volume(rootfs: &Path, volume: &Volume) -> Outcome<PreparedVolume> {
    if !volume.source.exists() {
        make_folders(&volume.source)?;
    }
    let (point, missing) = mount_point(rootfs, &volume.target)?;
    let mut prepared = PreparedVolume { volume: volume.clone(), point, made: Vec::new() };
    let on_a_file = volume.source.is_file();
    for path in missing {
        let made =
            if on_a_file && path == prepared.point { File::create_new(&path).said("open", &path).map(drop) } else { make_folder(&path) };
        if let Err(failure) = made {
            // The first failure is the one to tell.
            let _ = remove_made(&prepared);
            return Err(failure);
        }
        prepared.made.push(path);
    }
    Ok(prepared)
}

/// What [`setup_volume`] would have to make in `rootfs`, the outermost first.
pub fn missing_mount_points(rootfs: &Path, volume: &Volume) -> Outcome<Vec<PathBuf>> {
    Ok(mount_point(rootfs, &volume.target)?.1)
}

/// Mounts a prepared volume: bind, propagation, read-only. If one of the steps fails nothing stays mounted, and what
/// [`setup_volume`] made is removed.
pub fn mount_volume(prepared: PreparedVolume) -> Outcome<MountedVolume> {
    let PreparedVolume { volume, point, .. } = &prepared;
    let bound = refuse_what_is_mounted(volume, point)
        // Recursive: what is mounted below the source belongs to the volume.
        .and_then(|()| mount_bind_recursive(&volume.source, point).said("mount", &volume.source));
    if let Err(failure) = bound {
        let _ = remove_made(&prepared);
        return Err(failure);
    }
    let set_up = mount_change(point, volume.propagation.flags()).said("mount", point);
    let set_up = set_up.and_then(|()| if volume.read_only { make_read_only(point) } else { Ok(()) });
    let mounted = MountedVolume { prepared };
    match set_up {
        Ok(()) => Ok(mounted),
        Err(failure) => {
            let _ = unmount_volume(&mounted, WhenBusy::Detach);
            Err(failure)
        }
    }
}

/// Unmounts a volume, and removes the mount points that were made for it.
///
/// A volume that is in use is EBUSY, with the names of those that use it; it stays mounted, and this can be called again.
pub fn unmount_volume(mounted: &MountedVolume, when_busy: WhenBusy) -> Outcome {
    let point = mounted.point();
    // Unmounting is an event like mounting: of a shared volume it would take the host's own submounts away.
    mount_change(point, MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).said("mount", point)?;
    let table = MountTable::own()?;
    // What lies in another mount goes before it.
    for mount in table.below(point).into_iter().rev() {
        match unmount(&mount.point, UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::BUSY) if when_busy == WhenBusy::Detach => {
                unmount(&mount.point, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH).said("umount2", &mount.point)?;
            }
            Err(Errno::BUSY) => return Err(busy(&mount.point)),
            Err(errno) => return Err(errno).said("umount2", &mount.point),
        }
    }
    remove_made(&mounted.prepared)
}

/// Sets up and mounts all the volumes of a container, in their order, or none of them.
pub fn setup_container_volumes(rootfs: &Path, volumes: &[Volume]) -> Outcome<Vec<MountedVolume>> {
    let mut mounted: Vec<MountedVolume> = Vec::new();
    for volume in volumes {
        match setup_volume(rootfs, volume).and_then(mount_volume) {
            Ok(one) => mounted.push(one),
            Err(failure) => {
                for one in mounted.iter().rev() {
                    // Nobody uses them yet; and the first failure is the one to tell.
                    let _ = unmount_volume(one, WhenBusy::Detach);
                }
                return Err(failure);
            }
        }
    }
    Ok(mounted)
}

/// Where a volume goes on the host's side, and which parts of that path are missing, the outermost first.
///
/// A link in the root file system means what it means inside: `/data -> /etc` must not lead to the host's `/etc`. The kernel itself
/// follows the part that exists (`RESOLVE_IN_ROOT`, openat2(2)); the rest is new, and has no links.
fn mount_point(rootfs: &Path, target: &Path) -> Outcome<(PathBuf, Vec<PathBuf>)> {
    let root = rustix::fs::open(rootfs, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).said("open", rootfs)?;
    for existing in target.ancestors() {
        match openat2(&root, existing, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT) {
            Ok(found) => {
                let link = PathBuf::from(format!("/proc/thread-self/fd/{}", found.as_raw_fd()));
                let mut point = fs::read_link(&link).said("readlink", &link)?;
                let mut missing = Vec::new();
                for component in target.strip_prefix(existing).into_iter().flatten() {
                    point.push(component);
                    missing.push(point.clone());
                }
                return Ok((point, missing));
            }
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).said("openat2", existing),
        }
    }
    Err(Failure::new("openat2", rootfs, Errno::NOENT, "the root file system went away"))
}

/// Looks at what is mounted already, before anything is changed.
fn refuse_what_is_mounted(volume: &Volume, point: &Path) -> Outcome {
    let table = MountTable::own()?;
    if let Some(mount) = table.at(point) {
        let advice = format!("{} ({}) is mounted there: unmount it, or choose another target", mount.source, mount.kind);
        return Err(Failure::new("mount", point, Errno::BUSY, advice));
    }
    // A bind copies the propagation of its source: nothing can come from a mount that is private, or reach one that is a slave.
    let (reached, wanted) = match (table.holding(&volume.source), volume.propagation) {
        (Some(mount), Propagation::Rshared) => (mount.shared, "shared"),
        (Some(mount), Propagation::Rslave) => (mount.shared || mount.slave, "shared or slave"),
        (None, _) | (_, Propagation::Rprivate) => (true, ""),
    };
    if reached {
        return Ok(());
    }
    let advice = format!("its mount is not {wanted}, so nothing would propagate: `mount --make-rshared` it first, or ask for rprivate");
    Err(Failure::new("mount", &volume.source, Errno::INVAL, advice))
}

/// Makes every mount of a volume read-only. The flags of mount(2) with `MS_BIND` are those of one mount, and replace all that it
/// had, so that each is given what it has and `ro`. (A mount that arrives later through rslave or rshared is not covered.)
fn make_read_only(point: &Path) -> Outcome {
    for mount in MountTable::own()?.below(point) {
        mount_remount(&mount.point, MountFlags::BIND | MountFlags::RDONLY | flags_of(mount), c"").said("mount", &mount.point)?;
    }
    Ok(())
}

/// The options of a mount as flags.
fn flags_of(mount: &Mount) -> MountFlags {
    let known = [
        ("ro", MountFlags::RDONLY),
        ("nosuid", MountFlags::NOSUID),
        ("nodev", MountFlags::NODEV),
        ("noexec", MountFlags::NOEXEC),
        ("noatime", MountFlags::NOATIME),
        ("nodiratime", MountFlags::NODIRATIME),
        ("relatime", MountFlags::RELATIME),
    ];
    let has = |name: &str| mount.options.iter().any(|option| option == name);
    known.iter().filter(|(name, _)| has(name)).fold(MountFlags::empty(), |flags, (_, flag)| flags | *flag)
}

/// The failure of unmounting what is in use.
fn busy(point: &Path) -> Failure {
    let names: Vec<String> = holders::of(point).unwrap_or_default().iter().map(ToString::to_string).collect();
    let who = if names.is_empty() { "nobody that /proc shows uses it".to_owned() } else { names.join(", ") };
    Failure::new("umount2", point, Errno::BUSY, format!("{who}: end that, or detach it lazily"))
}

/// Removes what was made for a mount point, the innermost first.
fn remove_made(prepared: &PreparedVolume) -> Outcome {
    for path in prepared.made.iter().rev() {
        if path.is_dir() { fs::remove_dir(path).said("rmdir", path) } else { fs::remove_file(path).said("unlink", path) }?;
    }
    Ok(())
}

fn make_folder(path: &Path) -> Outcome {
    DirBuilder::new().mode(0o755).create(path).said("mkdir", path)
}

fn make_folders(path: &Path) -> Outcome {
    DirBuilder::new().mode(0o755).recursive(true).create(path).said("mkdir", path)
}
