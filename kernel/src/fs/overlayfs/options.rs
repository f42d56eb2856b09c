//! What a mount of overlayfs asks for, and how the tables show it.

use crate::errno::{Errno, Result};
use alloc::{string::String, vec::Vec};
use core::fmt::Write;

/// How directories of lower layers are renamed (`redirect_dir=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirects {
    /// Not made and not followed.
    NoFollow,
    /// Followed where they are; the rename of such a directory is `EXDEV`.
    Follow,
    /// Made and followed.
    On,
}

/// The options, whole.
#[derive(Clone, Debug)]
pub struct Options {
    /// The layers below as they were given: colons between them, backslashes before colons and backslashes of names.
    pub lower: Option<Vec<u8>>,
    /// The layer that takes changes.
    pub upper: Option<Vec<u8>>,
    /// Where changes are prepared.
    pub work: Option<Vec<u8>>,
    /// `redirect_dir=`.
    pub redirects: Option<Redirects>,
    /// `metacopy=on`: content may be copied later than attributes. Here it is copied with them, which nobody can tell from outside.
    pub metacopy: bool,
    /// `volatile`: nothing is written back for safety. (Nothing ever needs to be, with layers in memory.)
    pub volatile: bool,
    /// `userxattr`: marks are `user.overlay.*`, for mounts without privilege.
    pub user_marks: bool,
    /// `default_permissions`.
    pub default_permissions: bool,
}

impl Options {
    /// None given.
    pub fn new() -> Self {
        Self {
            lower: None,
            upper: None,
            work: None,
            redirects: None,
            metacopy: false,
            volatile: false,
            user_marks: false,
            default_permissions: false,
        }
    }

    /// Takes one option: `EINVAL` for an unknown one or a bad value, and for what asks for an index, which there is not.
    pub fn take(&mut self, key: &str, value: Option<&[u8]>) -> Result<()> {
        match (key, value) {
            ("lowerdir", Some(value)) => self.lower = Some(path(value)?),
            ("upperdir", Some(value)) => self.upper = Some(path(value)?),
            ("workdir", Some(value)) => self.work = Some(path(value)?),
            ("redirect_dir", Some(b"on")) => self.redirects = Some(Redirects::On),
            ("redirect_dir", Some(b"off" | b"follow")) => self.redirects = Some(Redirects::Follow),
            ("redirect_dir", Some(b"nofollow")) => self.redirects = Some(Redirects::NoFollow),
            ("metacopy", Some(value)) => self.metacopy = switch(value)?,
            // Numbers of files are the same under every setting of xino; without an index there is no export, and no need of a uuid.
            ("xino", Some(b"on" | b"off" | b"auto")) | ("index" | "nfs_export", Some(b"off")) => {}
            ("uuid", Some(b"auto" | b"null" | b"off" | b"on")) | ("verity", Some(b"off")) => {}
            ("volatile", None) => self.volatile = true,
            ("userxattr", None) => self.user_marks = true,
            ("default_permissions", None) => self.default_permissions = true,
            _ => return Err(Errno::INVAL),
        }
        Ok(())
    }

    /// What does not go together is `EINVAL`.
    pub fn check(&self) -> Result<()> {
        let marks_need_trust = self.redirects == Some(Redirects::On) || self.metacopy;
        if self.lower.is_none() || (self.upper.is_some() && self.work.is_none()) || (self.user_marks && marks_need_trust) {
            return Err(Errno::INVAL);
        }
        Ok(())
    }

    /// How redirects are treated: marks of users are never followed, for anybody could have made them.
    pub fn redirects(&self) -> Redirects {
        if self.user_marks { Redirects::NoFollow } else { self.redirects.unwrap_or(Redirects::Follow) }
    }

    /// The lower layers' paths, topmost first. `EINVAL` for an empty one.
    pub fn lower_paths(&self) -> Result<Vec<Vec<u8>>> {
        let mut paths = Vec::new();
        let mut path = Vec::new();
        let mut bytes = self.lower.iter().flatten().copied();
        loop {
            match bytes.next() {
                Some(b'\\') => path.extend(bytes.next()),
                Some(b':') => paths.push(core::mem::take(&mut path)),
                Some(byte) => path.push(byte),
                None => break,
            }
        }
        paths.push(path);
        if paths.iter().any(Vec::is_empty) { Err(Errno::INVAL) } else { Ok(paths) }
    }

    /// As mountinfo and mounts show them, each with its comma in front.
    pub fn show(&self, out: &mut dyn Write) -> core::fmt::Result {
        for (key, value) in [("lowerdir", &self.lower), ("upperdir", &self.upper), ("workdir", &self.work)] {
            if let Some(value) = value {
                write!(out, ",{key}={}", shown(value))?;
            }
        }
        if self.default_permissions {
            out.write_str(",default_permissions")?;
        }
        match self.redirects() {
            Redirects::NoFollow => out.write_str(",redirect_dir=nofollow")?,
            Redirects::On => out.write_str(",redirect_dir=on")?,
            Redirects::Follow => {}
        }
        if self.metacopy {
            out.write_str(",metacopy=on")?;
        }
        if self.volatile {
            out.write_str(",volatile")?;
        }
        if self.user_marks {
            out.write_str(",userxattr")?;
        }
        Ok(())
    }
}

fn path(value: &[u8]) -> Result<Vec<u8>> {
    if value.is_empty() { Err(Errno::INVAL) } else { Ok(value.to_vec()) }
}

fn switch(value: &[u8]) -> Result<bool> {
    match value {
        b"on" => Ok(true),
        b"off" => Ok(false),
        _ => Err(Errno::INVAL),
    }
}

/// A value in a table: what would break the line or the list stands as a backslash and three octal digits.
fn shown(value: &[u8]) -> String {
    let mut text = String::new();
    for &byte in value {
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\\' | b',') || !(0x20..0x7f).contains(&byte) {
            let _ = write!(text, "\\{byte:03o}");
        } else {
            text.push(char::from(byte));
        }
    }
    text
}
