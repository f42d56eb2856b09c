//! File seals (`fcntl(2)`, "File Sealing"): what may not be done with a file of memory any more.

use crate::errno::{Errno, Result};
use crate::fs::{OpenFile, tmpfs};
use linux_raw_sys::general as sys;

const KNOWN: u32 =
    sys::F_SEAL_SEAL | sys::F_SEAL_SHRINK | sys::F_SEAL_GROW | sys::F_SEAL_WRITE | sys::F_SEAL_FUTURE_WRITE | sys::F_SEAL_EXEC;
const NO_WRITING: u32 = sys::F_SEAL_SHRINK | sys::F_SEAL_GROW | sys::F_SEAL_WRITE | sys::F_SEAL_FUTURE_WRITE;

/// `F_GET_SEALS`. `EINVAL` for files that cannot be sealed.
pub fn get(file: &OpenFile) -> Result<u32> {
    tmpfs::content_of(&file.inode).map(|content| content.seals()).ok_or(Errno::INVAL)
}

/// `F_ADD_SEALS`. `EPERM` if the file is not open for writing or no seal may be added any more; `EBUSY` if it shall not be written
/// but is mapped writable.
pub fn add(file: &OpenFile, seals: u32) -> Result<()> {
    if !file.flags().writable() {
        return Err(Errno::PERM);
    }
    if seals & !KNOWN != 0 {
        return Err(Errno::INVAL);
    }
    let content = tmpfs::content_of(&file.inode).ok_or(Errno::INVAL)?;
    // No write is half way while the seals change.
    let _changes = file.inode.lock.lock();
    if content.seals() & sys::F_SEAL_SEAL != 0 {
        return Err(Errno::PERM);
    }
    // What can be executed is not to be changed any more.
    let executable = file.inode.attributes.lock().mode & 0o111 != 0;
    let implied = if seals & sys::F_SEAL_EXEC != 0 && executable { NO_WRITING } else { 0 };
    if seals & sys::F_SEAL_WRITE != 0 && file.inode.mappings.has_writable_shared() {
        return Err(Errno::BUSY);
    }
    content.add_seals(seals | implied);
    Ok(())
}
