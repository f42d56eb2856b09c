//! System calls: fcntl and ioctl.

use super::file_io::file;
use super::{Arguments, Entry};
use crate::errno::{Errno, Result};
use crate::fs::owner::{Owner, OwnerKind};
use crate::fs::{FileType, OpenFile, OpenFlags, io, permission, pipe, seals};
use crate::mm::UserPointer;
use crate::task::current;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use linux_raw_sys::general as sys;
use linux_raw_sys::ioctl;

pub(super) const TABLE: &[Entry] = &[Entry(sys::__NR_fcntl, "fcntl", fcntl), Entry(sys::__NR_ioctl, "ioctl", ioctl_call)];

/// The highest signal (`signal(7)`).
const MAX_SIGNAL: u64 = 64;

fn fcntl(arguments: &Arguments) -> Result<u64> {
    let (fd, command, argument) = (arguments[0] as i32, arguments[1] as u32, arguments[2]);
    let files = current().files();
    let file = files.get(fd)?;
    match command {
        sys::F_DUPFD => return duplicate(fd, argument, false),
        sys::F_DUPFD_CLOEXEC => return duplicate(fd, argument, true),
        sys::F_GETFD => return files.close_on_exec(fd).map(u64::from),
        sys::F_SETFD => return files.set_close_on_exec(fd, argument as u32 & sys::FD_CLOEXEC != 0).map(|()| 0),
        sys::F_GETFL => return Ok(u64::from(file.flags().bits())),
        // The rest is not for O_PATH.
        _ if file.is_path_only() => return Err(Errno::BADF),
        _ => {}
    }
    if let Some(answer) = super::lock::fcntl(&file, command, argument) {
        return answer;
    }
    match command {
        sys::F_SETFL => set_status(&file, argument as u32).map(|()| 0),
        sys::F_GETOWN => {
            let owner = file.owner.lock().clone();
            let number = owner.as_ref().map_or(0, Owner::number);
            let is_group = owner.is_some_and(|owner| owner.kind() == OwnerKind::Group);
            Ok(i64::from(if is_group { -number } else { number }) as u64)
        }
        sys::F_SETOWN => {
            let number = argument as i32;
            let kind = if number < 0 { OwnerKind::Group } else { OwnerKind::Process };
            set_owner(&file, kind, number.checked_abs().ok_or(Errno::INVAL)?)
        }
        sys::F_SETOWN_EX => {
            let [kind, id] = UserPointer::<[i32; 2]>::new(argument).read()?;
            let kind = match kind as u32 {
                sys::F_OWNER_TID => OwnerKind::Thread,
                sys::F_OWNER_PID => OwnerKind::Process,
                sys::F_OWNER_PGRP => OwnerKind::Group,
                _ => return Err(Errno::INVAL),
            };
            set_owner(&file, kind, id)
        }
        sys::F_GETOWN_EX => {
            let owner = file.owner.lock().clone();
            let kind = match owner.as_ref().map(Owner::kind) {
                None | Some(OwnerKind::Thread) => sys::F_OWNER_TID,
                Some(OwnerKind::Process) => sys::F_OWNER_PID,
                Some(OwnerKind::Group) => sys::F_OWNER_PGRP,
            };
            let number = owner.as_ref().map_or(0, Owner::number);
            UserPointer::<[i32; 2]>::new(argument).write([kind as i32, number]).map(|()| 0)
        }
        sys::F_GETSIG => Ok(u64::from(file.signal.load(Ordering::Relaxed))),
        sys::F_SETSIG if argument <= MAX_SIGNAL => {
            file.signal.store(argument as u32, Ordering::Relaxed);
            Ok(0)
        }
        sys::F_GETPIPE_SZ => pipe::of(&file).map(|pipe| pipe.size_bytes() as u64).ok_or(Errno::BADF),
        sys::F_SETPIPE_SZ => {
            let pipe = pipe::of(&file).ok_or(Errno::BADF)?;
            pipe.set_size(argument, &current().credentials()).map(|size| size as u64)
        }
        sys::F_ADD_SEALS => seals::add(&file, argument as u32).map(|()| 0),
        sys::F_GET_SEALS => seals::get(&file).map(u64::from),
        _ => Err(Errno::INVAL),
    }
}

fn set_owner(file: &OpenFile, kind: OwnerKind, number: i32) -> Result<u64> {
    let owner = Owner::from_number(kind, number)?;
    let old = core::mem::replace(&mut *file.owner.lock(), owner);
    drop(old);
    Ok(0)
}

fn duplicate(fd: i32, minimum: u64, close_on_exec: bool) -> Result<u64> {
    let minimum = i32::try_from(minimum as u32).ok().filter(|&minimum| (minimum as u64) < io::descriptor_limit()).ok_or(Errno::INVAL)?;
    io::duplicate(fd, minimum, close_on_exec)
}

/// `F_SETFL`: access mode and creation flags are ignored. `O_NOATIME` is for owners.
fn set_status(file: &OpenFile, flags: u32) -> Result<()> {
    let settable = OpenFlags::APPEND | OpenFlags::NONBLOCK | OpenFlags::ASYNC | OpenFlags::DIRECT | OpenFlags::NOATIME;
    let wanted = OpenFlags::from_bits_truncate(flags) & settable;
    if wanted.contains(OpenFlags::NOATIME) && !file.flags().contains(OpenFlags::NOATIME) {
        let attributes = file.inode.ops.attributes(&file.inode)?;
        if !permission::is_owner_or_capable(&current().credentials(), &attributes) {
            return Err(Errno::PERM);
        }
    }
    let is_pipe = file.inode.file_type == FileType::Fifo;
    if wanted.contains(OpenFlags::DIRECT) && !is_pipe && !file.can_be_direct() {
        return Err(Errno::INVAL);
    }
    file.change_flags(settable, wanted);
    Ok(())
}

fn ioctl_call(arguments: &Arguments) -> Result<u64> {
    let (fd, request, argument) = (arguments[0] as i32, arguments[1] as u32, arguments[2]);
    let file = file(arguments[0])?;
    match request {
        ioctl::FIOCLEX => current().files().set_close_on_exec(fd, true).map(|()| 0),
        ioctl::FIONCLEX => current().files().set_close_on_exec(fd, false).map(|()| 0),
        ioctl::FIONBIO => switch(&file, OpenFlags::NONBLOCK, argument),
        ioctl::FIOASYNC => switch(&file, OpenFlags::ASYNC, argument),
        ioctl::FIONREAD if file.inode.file_type == FileType::Regular => unread(&file, argument),
        ioctl::FIGETBSZ if matches!(file.inode.file_type, FileType::Regular | FileType::Directory) => {
            let block_size = file.inode.superblock.ops.statistics(&file.inode.superblock).block_size_bytes;
            UserPointer::<u32>::new(argument).write(block_size as u32).map(|()| 0)
        }
        ioctl::FIOQSIZE if matches!(file.inode.file_type, FileType::Regular | FileType::Directory | FileType::Symlink) => {
            // What `stat` shows as blocks, in bytes.
            let blocks = file.inode.ops.attributes(&file.inode)?.blocks;
            UserPointer::<u64>::new(argument).write(blocks * 512).map(|()| 0)
        }
        _ => file.ops.ioctl(&file, request, argument).map(|answer| answer as u64),
    }
}

/// Sets or clears a status flag as the `int` behind `argument` says.
fn switch(file: &Arc<OpenFile>, flag: OpenFlags, argument: u64) -> Result<u64> {
    let on = UserPointer::<i32>::new(argument).read()? != 0;
    file.change_flags(flag, if on { flag } else { OpenFlags::empty() });
    Ok(0)
}

/// Bytes between the position and the end.
fn unread(file: &OpenFile, argument: u64) -> Result<u64> {
    let size = file.inode.ops.attributes(&file.inode)?.size_bytes;
    let unread = size as i64 - *file.position.lock() as i64;
    UserPointer::<i32>::new(argument).write(unread as i32).map(|()| 0)
}
