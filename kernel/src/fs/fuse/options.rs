//! What mount(2) is told (`guest-fuse.md` section 2): every option that is not here, or has a bad value, is `EINVAL`.

use crate::errno::{Errno, Result};
use crate::fs::FileType;
use crate::task::UserNamespace;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The options of one mount.
#[derive(Debug, Default)]
#[allow(missing_docs, reason = "named as the options are")]
pub struct Options {
    pub fd: Option<i32>,
    pub root_mode: Option<u32>,
    /// Ids of the initial namespace.
    pub user_id: Option<u32>,
    pub group_id: Option<u32>,
    pub allow_other: bool,
    pub default_permissions: bool,
    pub max_read_bytes: Option<u32>,
    pub subtype: Option<String>,
}

fn number(value: Option<&[u8]>, radix: u32) -> Result<u32> {
    let text = value.and_then(|value| core::str::from_utf8(value).ok()).ok_or(Errno::INVAL)?;
    u32::from_str_radix(text, radix).map_err(|_| Errno::INVAL)
}

impl Options {
    /// Takes one option; ids are meant in `namespace`.
    pub fn take(&mut self, key: &str, value: Option<&[u8]>, namespace: &UserNamespace) -> Result<()> {
        match key {
            "fd" => self.fd = Some(i32::try_from(number(value, 10)?).map_err(|_| Errno::INVAL)?),
            "rootmode" => {
                let mode = number(value, 8)?;
                let has_type = mode & 0o170_000 != 0;
                FileType::from_mode(mode).filter(|_| has_type).ok_or(Errno::INVAL)?;
                self.root_mode = Some(mode);
            }
            "user_id" => self.user_id = Some(namespace.uid_to_global(number(value, 10)?).ok_or(Errno::INVAL)?),
            "group_id" => self.group_id = Some(namespace.gid_to_global(number(value, 10)?).ok_or(Errno::INVAL)?),
            "allow_other" if value.is_none() => self.allow_other = true,
            "default_permissions" if value.is_none() => self.default_permissions = true,
            "max_read" => self.max_read_bytes = Some(number(value, 10)?),
            "subtype" if self.subtype.is_none() => {
                let text = value.and_then(|value| core::str::from_utf8(value).ok()).ok_or(Errno::INVAL)?;
                self.subtype = Some(text.to_string());
            }
            _ => return Err(Errno::INVAL),
        }
        Ok(())
    }

    /// All of them.
    pub fn take_all(options: &[(String, Option<Vec<u8>>)], namespace: &UserNamespace) -> Result<Self> {
        let mut taken = Self::default();
        for (key, value) in options {
            taken.take(key, value.as_deref(), namespace)?;
        }
        Ok(taken)
    }
}
