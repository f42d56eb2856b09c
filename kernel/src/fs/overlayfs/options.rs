//! Mount options of overlayfs: what each word means, and which go together. `shown` has how the tables show them.

use crate::errno::{Errno, Result};
use crate::fs::superblock::FileSystemType;
use crate::fs::walk::{self, LookupFlags};
use crate::fs::{Path, mount};
use alloc::{string::String, vec::Vec};
use linux_raw_sys::general::AT_FDCWD;

/// Most lower layers (`OVL_MAX_STACK`).
const LOWER_LAYERS_MAX: usize = 500;

/// `redirect_dir=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redirects {
    /// Not made and not followed.
    NoFollow,
    /// Followed where they are; the rename of a directory with lower parts is `EXDEV`.
    #[default]
    Follow,
    /// Made and followed.
    On,
}

/// `xino=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Xino {
    /// The layer's file system goes into the upper bits of inode numbers.
    On,
    /// Where the layers' inode numbers are known to have 32 bits: nowhere here.
    Auto,
    /// Never.
    #[default]
    Off,
}

/// `uuid=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Uuid {
    /// On for a new upper layer, null for one that was used before.
    #[default]
    Auto,
    /// A number of the overlay's own, kept in the upper layer.
    On,
    /// No number.
    Null,
    /// No number, and those of the layers do not count either.
    Off,
}

/// `verity=`: digests of content that lies in a layer for data. No file system here has fs-verity, so that there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verity {
    /// Digests are not looked at.
    #[default]
    Off,
    /// Those that are there must hold.
    On,
    /// A metacopy without one is an error.
    Require,
}

/// A lower layer as it was named.
#[derive(Clone, Debug)]
pub struct LowerName {
    /// Its path.
    pub path: Vec<u8>,
    /// It has content for metacopies only: its names are not seen.
    pub is_data: bool,
}

/// The options of one mount, as they were given and, after [`Options::settle`], as they hold.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The text of `lowerdir=`.
    pub lower_text: Option<Vec<u8>>,
    /// The layers of `lowerdir=`, or of `lowerdir+=` and `datadir+=`, topmost first.
    pub lower: Vec<LowerName>,
    /// The layer that takes changes, as it was written.
    pub upper: Option<Vec<u8>>,
    /// Where changes are prepared, as it was written.
    pub work: Option<Vec<u8>>,
    /// `default_permissions`.
    pub default_permissions: bool,
    /// `redirect_dir=`.
    pub redirects: Redirects,
    /// `index=`: hard links of lower layers stay together, and the upper layer knows its lower one.
    pub index: bool,
    /// `uuid=`.
    pub uuid: Uuid,
    /// `nfs_export=`: handles lead back to files.
    pub nfs_export: bool,
    /// `xino=`.
    pub xino: Xino,
    /// `metacopy=`: attributes come up without content.
    pub metacopy: bool,
    /// `volatile`: nothing is written back for safety.
    pub volatile: bool,
    /// `userxattr`: marks are `user.overlay.*`, for mounts without privilege.
    pub user_marks: bool,
    /// `verity=`.
    pub verity: Verity,
    /// Which of them somebody asked for.
    asked: Asked,
}

#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    redirects: bool,
    index: bool,
    nfs_export: bool,
    metacopy: bool,
}

fn on_or_off(value: Option<&[u8]>) -> Result<bool> {
    match value {
        Some(b"on") => Ok(true),
        Some(b"off") => Ok(false),
        _ => Err(Errno::INVAL),
    }
}

/// A name without the backslashes that kept its commas and colons from meaning something.
pub fn unescape(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut escaped = false;
    for &byte in name {
        escaped = byte == b'\\' && !escaped;
        if !escaped {
            plain.push(byte);
        }
    }
    plain
}

/// The layers of `lowerdir=`: a colon before each next one, two before one for data. `EINVAL` for colons anywhere else, too many
/// layers, and a layer with names below one for data.
fn split_lower(text: &[u8]) -> Result<Vec<LowerName>> {
    let mut escaped = false;
    let parts = text.split(|&byte| {
        let separates = byte == b':' && !escaped;
        escaped = byte == b'\\' && !escaped;
        separates
    });
    let mut layers: Vec<LowerName> = Vec::new();
    let mut colons = 0;
    for part in parts {
        colons += 1;
        if part.is_empty() {
            continue;
        }
        let is_data = colons == 2;
        let is_misplaced = match layers.last() {
            None => colons > 1,
            Some(above) => colons > 2 || (above.is_data && !is_data),
        };
        if is_misplaced || layers.len() == LOWER_LAYERS_MAX {
            return Err(Errno::INVAL);
        }
        layers.push(LowerName { path: unescape(part), is_data });
        colons = 0;
    }
    if colons == 0 { Ok(layers) } else { Err(Errno::INVAL) }
}

/// The directory of a layer: `EINVAL` for other files, and for an upper or work directory that is an overlay's or read-only.
pub fn resolve(name: &[u8], is_upper: bool) -> Result<Path> {
    if name.is_empty() {
        return Err(Errno::INVAL);
    }
    let place = walk::lookup(AT_FDCWD, name, LookupFlags::FOLLOW)?;
    if !place.dentry().is_directory() {
        return Err(Errno::INVAL);
    }
    let is_overlay = place.inode().is_some_and(|inode| inode.superblock.file_system.name() == super::TYPE.name());
    if is_upper && (is_overlay || mount::is_read_only(&place)) { Err(Errno::INVAL) } else { Ok(place) }
}

impl Options {
    /// Checks one option behind others: layers are looked up where they are named.
    pub fn check_next(before: &[(String, Option<Vec<u8>>)], key: &str, value: Option<&[u8]>) -> Result<()> {
        let mut options = Self::default();
        for (key, value) in before {
            options.take(key, value.as_deref())?;
        }
        options.take(key, value)?;
        match (key, value) {
            ("lowerdir", Some(_)) => options.lower.iter().try_for_each(|layer| resolve(&layer.path, false).map(drop)),
            ("lowerdir+" | "datadir+", Some(name)) => resolve(name, false).map(drop),
            ("upperdir" | "workdir", Some(name)) => resolve(&unescape(name), true).map(drop),
            _ => Ok(()),
        }
    }

    /// Takes one option: `EINVAL` for an unknown one or a bad value.
    pub fn take(&mut self, key: &str, value: Option<&[u8]>) -> Result<()> {
        match (key, value) {
            ("lowerdir", Some(text)) => {
                self.lower = if text.is_empty() { Vec::new() } else { split_lower(text)? };
                self.lower_text = (!text.is_empty()).then(|| text.to_vec());
            }
            ("lowerdir+", Some(name)) => return self.add_lower(name, false),
            ("datadir+", Some(name)) => return self.add_lower(name, true),
            ("upperdir", Some(name)) => self.upper = Some(name.to_vec()),
            ("workdir", Some(name)) => self.work = Some(name.to_vec()),
            ("default_permissions", None) => self.default_permissions = true,
            ("userxattr", None) => self.user_marks = true,
            ("volatile", None) => self.volatile = true,
            ("index", value) => (self.index, self.asked.index) = (on_or_off(value)?, true),
            ("nfs_export", value) => (self.nfs_export, self.asked.nfs_export) = (on_or_off(value)?, true),
            ("metacopy", value) => (self.metacopy, self.asked.metacopy) = (on_or_off(value)?, true),
            (key, Some(value)) => return self.take_mode(key, value),
            _ => return Err(Errno::INVAL),
        }
        Ok(())
    }

    fn take_mode(&mut self, key: &str, value: &[u8]) -> Result<()> {
        match (key, value) {
            ("redirect_dir", b"on") => self.redirects = Redirects::On,
            // Debian's kernels follow redirects always, so that "off" follows too.
            ("redirect_dir", b"off" | b"follow") => self.redirects = Redirects::Follow,
            ("redirect_dir", b"nofollow") => self.redirects = Redirects::NoFollow,
            ("xino", b"on") => self.xino = Xino::On,
            ("xino", b"off") => self.xino = Xino::Off,
            ("xino", b"auto") => self.xino = Xino::Auto,
            ("uuid", b"on") => self.uuid = Uuid::On,
            ("uuid", b"off") => self.uuid = Uuid::Off,
            ("uuid", b"null") => self.uuid = Uuid::Null,
            ("uuid", b"auto") => self.uuid = Uuid::Auto,
            ("verity", b"on") => self.verity = Verity::On,
            ("verity", b"off") => self.verity = Verity::Off,
            ("verity", b"require") => self.verity = Verity::Require,
            _ => return Err(Errno::INVAL),
        }
        self.asked.redirects |= key == "redirect_dir";
        Ok(())
    }

    /// `lowerdir+` and `datadir+` (Linux 6.8): one more layer below the others. Nothing is escaped in it.
    fn add_lower(&mut self, name: &[u8], is_data: bool) -> Result<()> {
        let is_below_data = self.lower.last().is_some_and(|above| above.is_data) && !is_data;
        if self.lower_text.is_some() || is_below_data || self.lower.len() == LOWER_LAYERS_MAX {
            return Err(Errno::INVAL);
        }
        self.lower.push(LowerName { path: name.to_vec(), is_data });
        Ok(())
    }

    /// Whether lower layers may be changed while nobody looks: those who ask for what leans on them know better.
    pub fn allows_offline_changes(&self) -> bool {
        !(self.index || self.metacopy || self.redirects == Redirects::On || self.xino == Xino::On)
    }

    /// Makes the options hold together: `EINVAL` for what contradicts itself, or lacks a layer.
    pub fn settle(&mut self) -> Result<()> {
        if self.lower.iter().any(|layer| layer.is_data) && !self.metacopy {
            return Err(Errno::INVAL);
        }
        self.settle_without_upper();
        self.settle_metacopy()?;
        self.settle_export()?;
        self.settle_user_marks()?;
        let is_whole = !self.lower.is_empty() && (self.upper.is_none() || self.work.is_some());
        if is_whole { Ok(()) } else { Err(Errno::INVAL) }
    }

    /// What means nothing when nothing can be written.
    fn settle_without_upper(&mut self) {
        if self.upper.is_some() {
            return;
        }
        self.work = None;
        if self.redirects == Redirects::Follow {
            self.redirects = Redirects::On;
        }
        (self.index, self.asked.index) = (false, false);
        self.volatile = false;
        if self.uuid == Uuid::On {
            self.uuid = Uuid::Null;
        }
    }

    fn settle_metacopy(&mut self) -> Result<()> {
        if self.verity != Verity::Off && !self.metacopy {
            if self.asked.metacopy {
                return Err(Errno::INVAL);
            }
            self.metacopy = true;
        }
        if self.metacopy && self.redirects != Redirects::On {
            match (self.asked.metacopy || self.verity != Verity::Off, self.asked.redirects) {
                (true, true) => return Err(Errno::INVAL),
                (_, true) => self.metacopy = false,
                (_, false) => self.redirects = Redirects::On,
            }
        }
        Ok(())
    }

    fn settle_export(&mut self) -> Result<()> {
        if self.nfs_export && !self.index {
            if self.upper.is_none() && self.redirects != Redirects::NoFollow {
                self.nfs_export = false;
            } else if self.asked.index {
                return Err(Errno::INVAL);
            } else {
                self.index = true;
            }
        }
        if self.nfs_export && self.metacopy {
            if self.asked.metacopy || self.verity != Verity::Off {
                return Err(Errno::INVAL);
            }
            self.metacopy = false;
        }
        Ok(())
    }

    /// Marks of users are never followed to other places, for anybody could have made them.
    fn settle_user_marks(&mut self) -> Result<()> {
        if !self.user_marks {
            return Ok(());
        }
        let redirects = self.asked.redirects && self.redirects != Redirects::NoFollow;
        if redirects || self.metacopy {
            return Err(Errno::INVAL);
        }
        self.redirects = Redirects::NoFollow;
        Ok(())
    }
}
