//! The filesystem types that the kernel knows (`/proc/filesystems`).

use crate::errno::{Errno, Result};
use crate::fs::superblock::FileSystemType;
use crate::sync::SpinLock;
use alloc::vec::Vec;
use core::fmt::Write;

static TYPES: SpinLock<Vec<&'static dyn FileSystemType>> = SpinLock::new(Vec::new());

/// Makes a type known. A name that is there already is left alone.
pub fn register(file_system: &'static dyn FileSystemType) {
    let mut types = TYPES.lock();
    if types.iter().all(|known| known.name() != file_system.name()) {
        types.push(file_system);
    }
}

/// Finds a type by the name that `mount(2)` gives, and the subtype behind its dot (F7). `ENODEV` for an unknown one, and for a dot where
/// there are no subtypes; `EINVAL` for an empty subtype.
pub fn find(name: &str) -> Result<(&'static dyn FileSystemType, Option<&str>)> {
    let (base, subtype) = match name.split_once('.') {
        Some((base, subtype)) => (base, Some(subtype)),
        None => (name, None),
    };
    let found = TYPES.lock().iter().copied().find(|known| known.name() == base).ok_or(Errno::NODEV)?;
    match subtype {
        Some(_) if !found.has_subtype() => Err(Errno::NODEV),
        Some("") => Err(Errno::INVAL),
        subtype => Ok((found, subtype)),
    }
}

/// `/proc/filesystems`: one line each.
pub fn list(out: &mut dyn Write) -> core::fmt::Result {
    let types = TYPES.lock().clone();
    for file_system in types {
        let device = if file_system.needs_device() { "" } else { "nodev" };
        writeln!(out, "{device}\t{}", file_system.name())?;
    }
    Ok(())
}
