//! A list as programs and FUSE servers see it: a version, then eight bytes an entry (`xattr(7)`, `linux/posix_acl_xattr.h`).

use super::{Acl, Entry, Who};
use crate::errno::{Errno, Result};
use crate::task::UserNamespace;
use alloc::vec::Vec;

const VERSION: u32 = 2;
const VERSION_BYTES: usize = 4;
const ENTRY_BYTES: usize = 8;

const TAG_OWNER: u16 = 0x01;
const TAG_USER: u16 = 0x02;
const TAG_OWNING_GROUP: u16 = 0x04;
const TAG_GROUP: u16 = 0x08;
const TAG_MASK: u16 = 0x10;
const TAG_OTHERS: u16 = 0x20;
/// The id of who has none, and of who is nobody in the reader's namespace.
const NO_ID: u32 = u32::MAX;

impl Acl {
    /// From a value whose ids are meant in `namespace`; `None` for one without entries, which stands for no list. `EINVAL` for a length
    /// that does not fit, an unknown tag, an id that is nobody's; `EOPNOTSUPP` for another version.
    pub fn decode(value: &[u8], namespace: &UserNamespace) -> Result<Option<Self>> {
        let (version, rest) = value.split_first_chunk::<VERSION_BYTES>().ok_or(Errno::INVAL)?;
        if u32::from_le_bytes(*version) != VERSION {
            return Err(Errno::OPNOTSUPP);
        }
        let (lines, []) = rest.as_chunks::<ENTRY_BYTES>() else { return Err(Errno::INVAL) };
        let mut entries = Vec::new();
        entries.try_reserve_exact(lines.len()).map_err(|_| Errno::NOMEM)?;
        for line in lines {
            entries.push(decode_entry(*line, namespace)?);
        }
        Ok((!entries.is_empty()).then_some(Self { entries }))
    }

    /// For a reader whose ids are meant in `namespace`.
    pub fn encode(&self, namespace: &UserNamespace) -> Result<Vec<u8>> {
        let mut value = Vec::new();
        value.try_reserve_exact(self.len_bytes()).map_err(|_| Errno::NOMEM)?;
        value.extend_from_slice(&VERSION.to_le_bytes());
        for entry in &self.entries {
            let (tag, id) = match entry.who {
                Who::Owner => (TAG_OWNER, NO_ID),
                Who::User(uid) => (TAG_USER, namespace.uid_from_global(uid).unwrap_or(NO_ID)),
                Who::OwningGroup => (TAG_OWNING_GROUP, NO_ID),
                Who::Group(gid) => (TAG_GROUP, namespace.gid_from_global(gid).unwrap_or(NO_ID)),
                Who::Mask => (TAG_MASK, NO_ID),
                Who::Others => (TAG_OTHERS, NO_ID),
            };
            value.extend_from_slice(&tag.to_le_bytes());
            value.extend_from_slice(&(entry.permissions as u16).to_le_bytes());
            value.extend_from_slice(&id.to_le_bytes());
        }
        Ok(value)
    }

    /// How long [`Self::encode`]'s answer is.
    pub fn len_bytes(&self) -> usize {
        VERSION_BYTES + self.entries.len() * ENTRY_BYTES
    }
}

fn decode_entry(line: [u8; ENTRY_BYTES], namespace: &UserNamespace) -> Result<Entry> {
    let [tag_low, tag_high, low, high, id @ ..] = line;
    let id = u32::from_le_bytes(id);
    let who = match u16::from_le_bytes([tag_low, tag_high]) {
        TAG_OWNER => Who::Owner,
        TAG_USER => Who::User(namespace.uid_to_global(id).ok_or(Errno::INVAL)?),
        TAG_OWNING_GROUP => Who::OwningGroup,
        TAG_GROUP => Who::Group(namespace.gid_to_global(id).ok_or(Errno::INVAL)?),
        TAG_MASK => Who::Mask,
        TAG_OTHERS => Who::Others,
        _ => return Err(Errno::INVAL),
    };
    Ok(Entry { who, permissions: u32::from(u16::from_le_bytes([low, high])) })
}
