//! The layers of one overlay: found by their paths, checked against each other, and held by mounts that nobody sees. `work` has the
//! directory where changes are prepared.

use super::node::Lower;
use super::options::{Options, Uuid, Xino, resolve, unescape};
use super::{Overlay, OverlaySuper, real, work};
use crate::errno::{Errno, Result};
use crate::fs::mount;
use crate::fs::superblock::AnonymousDevice;
use crate::fs::{Dentry, Inode, Path};
use crate::sync::SpinLock;
use crate::task::Credentials;
use alloc::collections::BTreeSet;
use alloc::{sync::Arc, vec::Vec};

/// So many filesystems may lie over each other.
const STACK_DEPTH_MAX: u32 = 2;

/// Directories that are the upper layer or directory for work of an overlay, by their inodes' addresses, which live as long as it does.
static IN_USE: SpinLock<BTreeSet<usize>> = SpinLock::new(BTreeSet::new());

/// The layer that takes changes.
pub struct Upper {
    /// Its top.
    pub root: Path,
    /// Where changes are prepared: `work` in the directory that was given.
    pub work: Path,
    /// The index, beside it, if there is one.
    pub index: Option<Path>,
}

/// A layer that is only read.
pub struct LowerLayer {
    /// Its top.
    pub path: Path,
    /// Which of [`Layers::file_systems`] it lies on.
    pub file_system: usize,
    /// It has content for metacopies only.
    pub is_data: bool,
}

/// A filesystem that layers lie on.
struct LayerFileSystem {
    superblock_key: u64,
    /// What `st_dev` of its files is, where the overlay cannot show its own.
    device: AnonymousDevice,
}

/// All layers.
pub struct Layers {
    /// None in a read-only overlay.
    pub upper: Option<Upper>,
    /// Topmost first.
    pub lowers: Vec<LowerLayer>,
    /// How many filesystems lie over each other, this one included.
    pub depth: u32,
    /// The first is the upper layer's, also where there is none.
    file_systems: Vec<LayerFileSystem>,
    /// Tops of layers, by their inodes' addresses: none may be met below another one.
    traps: BTreeSet<usize>,
    /// What ends when the overlay shuts down.
    held: SpinLock<Vec<Held>>,
}

/// Something that the overlay holds until it shuts down.
enum Held {
    /// A mount of a layer.
    Mount(Path),
    /// The mark that a directory is in use.
    InUse(usize),
}

impl Drop for Held {
    fn drop(&mut self) {
        match self {
            Self::Mount(path) => {
                let released = mount::forest().write().kern_unmount(path.mount());
                drop(released);
            }
            Self::InUse(address) => _ = IN_USE.lock().remove(address),
        }
    }
}

fn address_of(dentry: &Dentry) -> Result<usize> {
    Ok(Arc::as_ptr(&real::inode_of(dentry)?).addr())
}

fn depth_of(layer: &Path) -> u32 {
    let superblock = layer.inode().map(|inode| inode.superblock.clone());
    superblock.as_ref().and_then(|superblock| superblock.downcast::<OverlaySuper>()).map_or(0, |below| below.overlay.layers.depth)
}

impl Layers {
    /// Finds the layers for a mount, and settles the options that lean on them. `ENOENT` and its like for paths that lead nowhere,
    /// `EINVAL` for what cannot be a layer, `ELOOP` for layers that lie in each other, `EBUSY` for what another overlay writes to.
    pub fn open(options: &mut Options, credentials: &Arc<Credentials>) -> Result<Self> {
        let nothing = LayerFileSystem { superblock_key: 0, device: AnonymousDevice::take() };
        let mut layers = Self {
            upper: None,
            lowers: Vec::new(),
            depth: 0,
            file_systems: alloc::vec![nothing],
            traps: BTreeSet::new(),
            held: SpinLock::new(Vec::new()),
        };
        if let (Some(upper), Some(base)) = (&options.upper, &options.work) {
            let places = (resolve(&unescape(upper), true)?, resolve(&unescape(base), true)?);
            layers.add_upper(places, options, credentials)?;
        }
        layers.add_lowers(options)?;
        layers.check_overlaps(options)?;
        if options.uuid == Uuid::Off && layers.file_systems.len() - usize::from(layers.upper.is_none()) > 1 {
            options.uuid = Uuid::Null;
        }
        Ok(layers)
    }

    /// Lets go of what is held: the overlay shuts down.
    pub fn close(&self) {
        let held = core::mem::take(&mut *self.held.lock());
        drop(held);
    }

    /// The same place on a mount of its own, so that the layer's mount can be unmounted and changed.
    fn private(&self, layer: &Path) -> Result<Path> {
        let superblock = mount::superblock(layer.mount()).ok_or(Errno::INVAL)?;
        let top = mount::kernel_mount(superblock)?;
        self.held.lock().push(Held::Mount(top.clone()));
        Ok(top.at(layer.dentry().clone()))
    }

    /// Sets a trap; `ELOOP` if there is one.
    fn trap(&mut self, dentry: &Dentry) -> Result<()> {
        if self.traps.insert(address_of(dentry)?) { Ok(()) } else { Err(Errno::LOOP) }
    }

    /// Whether a directory that was found is the top of a layer.
    pub fn is_trap(&self, directory: &Dentry) -> bool {
        address_of(directory).is_ok_and(|address| self.traps.contains(&address))
    }

    /// `EBUSY` for a directory that another overlay uses, if this one has an index; without one Linux only warns.
    fn mark_in_use(&self, dentry: &Dentry, options: &Options) -> Result<()> {
        let address = address_of(dentry)?;
        if IN_USE.lock().insert(address) {
            self.held.lock().push(Held::InUse(address));
        } else if options.index {
            return Err(Errno::BUSY);
        } else {
            log::warn!("overlayfs: upperdir or workdir is in use by another overlay");
        }
        Ok(())
    }

    /// The upper layer and the directory for its work: on one mount, neither inside the other.
    fn add_upper(&mut self, (upper, base): (Path, Path), options: &Options, credentials: &Arc<Credentials>) -> Result<()> {
        self.trap(upper.dentry())?;
        self.mark_in_use(upper.dentry(), options)?;
        let overlap = upper.dentry().is_below(base.dentry()) || base.dentry().is_below(upper.dentry());
        if upper.mount() != base.mount() || overlap {
            return Err(Errno::INVAL);
        }
        self.mark_in_use(base.dentry(), options)?;
        self.trap(base.dentry())?;
        self.depth = depth_of(&upper);
        self.file_systems[0].superblock_key = real::inode_of(upper.dentry())?.superblock.key;
        let root = self.private(&upper)?;
        let base = root.at(base.dentry().clone());
        let work = work::prepare(&base, options, credentials)?;
        self.trap(work.dentry())?;
        let index = if options.index { Some(work::prepare_index(&base, credentials)?) } else { None };
        self.upper = Some(Upper { root, work, index });
        Ok(())
    }

    fn add_lowers(&mut self, options: &Options) -> Result<()> {
        if self.upper.is_none() && options.lower.len() == 1 {
            return Err(Errno::INVAL);
        }
        for layer in &options.lower {
            let place = resolve(&layer.path, false)?;
            self.depth = self.depth.max(depth_of(&place));
            self.trap(place.dentry())?;
            if options.index && IN_USE.lock().contains(&address_of(place.dentry())?) {
                return Err(Errno::BUSY);
            }
            let file_system = self.add_file_system(&place)?;
            let path = self.private(&place)?;
            self.lowers.push(LowerLayer { path, file_system, is_data: layer.is_data });
        }
        self.depth += 1;
        let has_names = self.lowers.first().is_some_and(|layer| !layer.is_data);
        if self.depth > STACK_DEPTH_MAX || !has_names { Err(Errno::INVAL) } else { Ok(()) }
    }

    /// The number of the filesystem of a place.
    fn add_file_system(&mut self, place: &Path) -> Result<usize> {
        let key = real::inode_of(place.dentry())?.superblock.key;
        if let Some(known) = self.file_systems.iter().position(|known| known.superblock_key == key) {
            return Ok(known);
        }
        self.file_systems.push(LayerFileSystem { superblock_key: key, device: AnonymousDevice::take() });
        Ok(self.file_systems.len() - 1)
    }

    /// No lower layer may lie below another layer, or, with an index, below what another overlay writes to. The upper one may: what a
    /// lookup meets of it is a trap.
    fn check_overlaps(&self, options: &Options) -> Result<()> {
        for lower in &self.lowers {
            let mut above = lower.path.dentry().parent();
            while let Some(directory) = above {
                if self.is_trap(&directory) {
                    return Err(Errno::LOOP);
                }
                if options.index && IN_USE.lock().contains(&address_of(&directory)?) {
                    return Err(Errno::BUSY);
                }
                above = directory.parent();
            }
        }
        Ok(())
    }

    /// Whether all layers lie on one filesystem: then the overlay's own device goes with their numbers.
    pub fn is_one_file_system(&self) -> bool {
        self.file_systems.len() - usize::from(self.upper.is_none()) == 1
    }
}

impl Overlay {
    /// The upper layer: `EROFS` without one.
    pub fn upper(&self) -> Result<&Upper> {
        self.layers.upper.as_ref().ok_or(Errno::ROFS)
    }

    /// A file of a lower layer as a place on the layer's mount.
    pub fn lower_place(&self, lower: &Lower) -> Result<Path> {
        Ok(self.layers.lowers.get(lower.layer).ok_or(Errno::STALE)?.path.at(lower.dentry.clone()))
    }

    /// The filesystem of a lower file, and its number there.
    pub fn number_of_lower(&self, lower: &Lower) -> Result<(usize, u64)> {
        let inode = real::inode_of(&lower.dentry)?;
        let file_system = self.layers.lowers.get(lower.layer).ok_or(Errno::STALE)?.file_system;
        Ok((file_system, inode.ops.shown_identity(&inode).1))
    }

    /// `st_dev` (`None`: the overlay's own) and `st_ino` of a file with this number on a layer's filesystem. `None` for a number that
    /// cannot be told from others on the overlay's device: directories get one of the overlay's own.
    pub fn mapped_number(&self, file_system: usize, number: u64, is_directory: bool) -> Option<(Option<u64>, u64)> {
        if self.layers.is_one_file_system() {
            return Some((None, number));
        }
        if self.options.xino == Xino::On {
            // One bit more than the filesystems need: Linux keeps it for numbers of its own.
            let others = self.layers.file_systems.len() as u64 - 1;
            let shift = u64::BITS - (others.max(1).ilog2() + 2);
            if number >> shift == 0 {
                return Some((None, number | (file_system as u64) << (shift + 1)));
            }
        }
        if is_directory {
            return None;
        }
        Some((self.layers.file_systems.get(file_system).map(|known| known.device.number()), number))
    }

    /// Whether directories show numbers of the layers, too.
    pub fn maps_directories(&self) -> bool {
        self.layers.is_one_file_system() || self.options.xino == Xino::On
    }

    /// The filesystem and number of a file of the upper layer.
    pub fn number_of_upper(&self, inode: &Inode) -> (usize, u64) {
        (0, inode.ops.shown_identity(inode).1)
    }
}
