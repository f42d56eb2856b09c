//! Access control lists (`acl(5)`) in a short form: `u::rw- u:1000:r-- g::r-- m::rw- o::---`, as the extended attributes that stand for
//! them (`xattr(7)`).

use crate::world::c;
use crate::{Errno, Outcome, syscall};

/// The attribute of the list that says who may what.
pub const ACCESS: &str = "system.posix_acl_access";
/// The attribute of what files made in a directory begin with.
pub const DEFAULT: &str = "system.posix_acl_default";

const VERSION: u32 = 2;
const NO_ID: u32 = u32::MAX;
/// Tags by the letters of the short form, without and with an id.
const TAGS: [(&str, u16, u16); 4] = [("u", 0x01, 0x02), ("g", 0x04, 0x08), ("m", 0x10, 0), ("o", 0x20, 0)];

/// A list as a value.
#[track_caller]
pub fn value(list: &str) -> Vec<u8> {
    let mut bytes = VERSION.to_le_bytes().to_vec();
    for entry in list.split_whitespace() {
        let [letter, id, bits] = entry.split(':').collect::<Vec<_>>()[..] else { panic!("an entry has three parts: {entry}") };
        let (_, plain, named) = TAGS.into_iter().find(|(tag, ..)| *tag == letter).expect("a letter");
        let permissions = bits.chars().zip([4, 2, 1]).filter(|(bit, _)| *bit != '-').map(|(_, value)| value).sum();
        bytes.extend(line(if id.is_empty() { plain } else { named }, permissions, id.parse().unwrap_or(NO_ID)));
    }
    bytes
}

/// One entry of a value.
pub fn line(tag: u16, permissions: u16, id: u32) -> Vec<u8> {
    [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
}

/// The short form of a value.
#[track_caller]
pub fn shown(value: &[u8]) -> String {
    assert_eq!(value[..4], VERSION.to_le_bytes(), "the version");
    let entries = value[4..].chunks(8).map(|entry| {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let permissions = u16::from_le_bytes([entry[2], entry[3]]);
        let id = u32::from_le_bytes(entry[4..].try_into().expect("four bytes"));
        let (letter, plain, _) = TAGS.into_iter().find(|(_, plain, named)| [*plain, *named].contains(&tag)).expect("a tag");
        assert!(tag != plain || id == NO_ID, "an id where there is none");
        let id = if tag == plain { String::new() } else { id.to_string() };
        let bit = |value: u16, letter| if permissions & value != 0 { letter } else { '-' };
        format!("{letter}:{id}:{}{}{}", bit(4, 'r'), bit(2, 'w'), bit(1, 'x'))
    });
    entries.collect::<Vec<_>>().join(" ")
}

/// `setxattr(2)` of a list.
pub fn set(path: &str, attribute: &str, list: &str) -> Outcome<()> {
    set_value(path, attribute, &value(list))
}

/// `setxattr(2)` of any value.
pub fn set_value(path: &str, attribute: &str, value: &[u8]) -> Outcome<()> {
    syscall!(SYS_setxattr, c(path).as_ptr(), c(attribute).as_ptr(), value.as_ptr(), value.len(), 0).map(drop)
}

/// `getxattr(2)` of a list.
pub fn get(path: &str, attribute: &str) -> Outcome<String> {
    let mut value = [0_u8; 512];
    let len = syscall!(SYS_getxattr, c(path).as_ptr(), c(attribute).as_ptr(), value.as_mut_ptr(), value.len())?;
    Ok(shown(&value[..len]))
}

/// `removexattr(2)`.
pub fn remove(path: &str, attribute: &str) -> Outcome<()> {
    syscall!(SYS_removexattr, c(path).as_ptr(), c(attribute).as_ptr()).map(drop)
}

/// The list must be this, or not be there.
#[track_caller]
pub fn is(path: &str, attribute: &str, list: Option<&str>) {
    assert_eq!(get(path, attribute), list.map(str::to_owned).ok_or(Errno(libc::ENODATA)), "{attribute} of {path}");
}
