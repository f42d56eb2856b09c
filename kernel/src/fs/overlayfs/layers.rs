//! The layers of one overlay: found by their paths, checked, and held by mounts that nobody sees.

use super::options::Options;
use super::real::{self, New};
use super::{Overlay, OverlaySuper};
use crate::errno::{Errno, Result};
use crate::fs::mount;
use crate::fs::walk::{self, LookupFlags};
use crate::fs::{Attributes, Dentry, Path};
use crate::task::Credentials;
use alloc::{sync::Arc, vec::Vec};
use linux_raw_sys::general as sys;

/// So many filesystems may lie over each other.
const STACK_DEPTH_MAX: u32 = 2;
/// So many lower layers may there be.
const LOWER_LAYERS_MAX: usize = 500;

/// The layer that takes changes.
pub struct Upper {
    /// Its top.
    pub root: Path,
    /// Where changes are prepared: `work` in the directory that was given.
    pub work: Path,
}

/// All layers.
pub struct Layers {
    /// None in a read-only overlay.
    pub upper: Option<Upper>,
    /// Topmost first.
    pub lowers: Vec<Path>,
    /// How many filesystems lie over each other, this one included.
    pub depth: u32,
}

/// Finds the layers for a mount. `ENOENT` and its like for paths that lead nowhere, `EINVAL` for what cannot be a layer, `ELOOP` for
/// layers that lie in each other, `EROFS`…
pub fn open(options: &Options, credentials: &Arc<Credentials>) -> Result<Layers> {
    let upper = match (&options.upper, &options.work) {
        (Some(upper), Some(work)) => Some(found_upper(upper, work)?),
        _ => None,
    };
    let lower_paths = options.lower_paths()?;
    if lower_paths.len() > LOWER_LAYERS_MAX || (upper.is_none() && lower_paths.len() < 2) {
        return Err(Errno::INVAL);
    }
    let lowers = lower_paths.iter().map(|path| directory(path)).collect::<Result<Vec<Path>>>()?;
    check_apart(upper.as_ref(), &lowers)?;
    let depth = upper.iter().map(|(root, _)| root).chain(&lowers).map(depth_of).max().unwrap_or(0) + 1;
    if depth > STACK_DEPTH_MAX {
        return Err(Errno::INVAL);
    }
    let upper = match upper {
        Some((root, base)) => {
            let root = private(&root)?;
            let base = root.at(base.dentry().clone());
            let work = fresh_work_directory(&base, credentials)?;
            Some(Upper { root, work })
        }
        None => None,
    };
    let lowers = lowers.iter().map(private).collect::<Result<Vec<Path>>>()?;
    Ok(Layers { upper, lowers, depth })
}

/// Lets go of the mounts of the layers: the overlay shuts down.
pub fn close(layers: &Layers) {
    for path in layers.upper.iter().map(|upper| &upper.root).chain(&layers.lowers) {
        let released = mount::forest().write().kern_unmount(path.mount());
        drop(released);
    }
}

fn directory(path: &[u8]) -> Result<Path> {
    let found = walk::lookup(sys::AT_FDCWD, path, LookupFlags::FOLLOW)?;
    if found.dentry().is_directory() { Ok(found) } else { Err(Errno::INVAL) }
}

/// The upper layer and the directory for its work: on one mount that can be written to, neither inside the other.
fn found_upper(upper: &[u8], work: &[u8]) -> Result<(Path, Path)> {
    let (upper, work) = (directory(upper)?, directory(work)?);
    let overlap = upper.dentry().is_below(work.dentry()) || work.dentry().is_below(upper.dentry());
    if upper.mount() != work.mount() || overlap || mount::is_read_only(&upper) {
        return Err(Errno::INVAL);
    }
    Ok((upper, work))
}

/// No layer may lie in another one.
fn check_apart(upper: Option<&(Path, Path)>, lowers: &[Path]) -> Result<()> {
    let roots: Vec<&Arc<Dentry>> = upper.into_iter().flat_map(|(root, work)| [root, work]).chain(lowers).map(Path::dentry).collect();
    for (index, one) in roots.iter().enumerate() {
        for other in &roots[index + 1..] {
            if one.is_below(other) || other.is_below(one) {
                return Err(Errno::LOOP);
            }
        }
    }
    Ok(())
}

fn depth_of(layer: &Path) -> u32 {
    let superblock = layer.inode().map(|inode| inode.superblock.clone());
    superblock.as_ref().and_then(|superblock| superblock.downcast::<OverlaySuper>()).map_or(0, |below| below.overlay.layers.depth)
}

/// The same place on a mount of its own, so that the layer's mount can be unmounted and changed.
fn private(layer: &Path) -> Result<Path> {
    let superblock = mount::superblock(layer.mount()).ok_or(Errno::INVAL)?;
    let top = mount::kernel_mount(superblock)?;
    Ok(top.at(layer.dentry().clone()))
}

/// `work` in the directory for work, empty: what an overlay left there that ended in the middle of a change goes.
fn fresh_work_directory(base: &Path, credentials: &Arc<Credentials>) -> Result<Path> {
    const NAME: &[u8] = b"work";
    let old = walk::look_up(base.dentry(), NAME)?;
    if old.inode().is_some() {
        remove_all(&base.at(old), base, credentials)?;
    }
    let attributes = Attributes::new(0, credentials.filesystem_uid, credentials.filesystem_gid);
    Ok(base.at(real::make(base.dentry(), NAME, &New::Directory, attributes)?))
}

/// Removes a file of a layer with all that is below it.
pub fn remove_all(place: &Path, parent: &Path, credentials: &Arc<Credentials>) -> Result<()> {
    // Each with its directory; what was found last goes first, so that directories are empty when their turn comes.
    let mut pending = alloc::vec![(parent.clone(), place.clone())];
    let mut index = 0;
    while let Some((_, here)) = pending.get(index) {
        let here = here.clone();
        index += 1;
        if here.dentry().is_directory() {
            for entry in real::list(here.clone(), credentials)? {
                let child = walk::look_up(here.dentry(), &entry.name)?;
                pending.push((here.clone(), here.at(child)));
            }
        }
    }
    pending.iter().rev().try_for_each(|(directory, file)| real::remove(directory.dentry(), file.dentry()))
}

impl Overlay {
    /// The upper layer: `EROFS` without one.
    pub fn upper(&self) -> Result<&Upper> {
        self.layers.upper.as_ref().ok_or(Errno::ROFS)
    }
}
