//! Mount options: splitting a data string, and the words that every filesystem understands (rules F8 and A15).

use crate::errno::{Errno, Result};
use crate::fs::superblock::FileSystemType;
use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use linux_raw_sys::general as sys;

/// Options in order: key, and value if there was one.
pub type OptionList = Vec<(String, Option<Vec<u8>>)>;

/// What a word in the options does to the superblock's flags: bits to set, bits to clear.
fn common_word(key: &str) -> Option<(u32, u32)> {
    Some(match key {
        "ro" => (sys::MS_RDONLY, 0),
        "rw" => (0, sys::MS_RDONLY),
        "sync" => (sys::MS_SYNCHRONOUS, 0),
        "async" => (0, sys::MS_SYNCHRONOUS),
        "dirsync" => (sys::MS_DIRSYNC, 0),
        "lazytime" => (sys::MS_LAZYTIME, 0),
        "nolazytime" => (0, sys::MS_LAZYTIME),
        "mand" => (sys::MS_MANDLOCK, 0),
        "nomand" => (0, sys::MS_MANDLOCK),
        _ => return None,
    })
}

/// Options as they are collected: those of the filesystem, and what the common words say of the superblock's flags.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    /// For the filesystem.
    pub options: OptionList,
    /// Superblock flags that a word set.
    pub set_flags: u32,
    /// Superblock flags that a word cleared.
    pub cleared_flags: u32,
    /// `source=`.
    pub source: Option<Vec<u8>>,
}

impl Collected {
    /// Takes one option, checked by the filesystem. `EINVAL` for one that nobody knows, and for a second source.
    pub fn take(&mut self, file_system: &dyn FileSystemType, key: &str, value: Option<&[u8]>) -> Result<()> {
        if self.take_common(key).is_ok() {
            return Ok(());
        }
        match file_system.check_next_option(&self.options, key, value) {
            Ok(()) => {
                self.options.push((key.to_string(), value.map(<[u8]>::to_vec)));
                Ok(())
            }
            Err(Errno::INVAL) if key == "source" => self.take_source(value),
            Err(error) => Err(error),
        }
    }

    /// Takes a word that every filesystem understands: `EINVAL` for others.
    pub fn take_common(&mut self, key: &str) -> Result<()> {
        let (set, clear) = common_word(key).ok_or(Errno::INVAL)?;
        self.set_flags = (self.set_flags & !clear) | set;
        self.cleared_flags = (self.cleared_flags & !set) | clear;
        Ok(())
    }

    fn take_source(&mut self, value: Option<&[u8]>) -> Result<()> {
        match value {
            Some(value) if self.source.is_none() => {
                self.source = Some(value.to_vec());
                Ok(())
            }
            _ => Err(Errno::INVAL),
        }
    }

    /// The data string of `mount(2)`: words between commas, empty ones skipped. With `mount(2)` the source is an argument: a word
    /// `source=` is refused as a second one.
    pub fn from_data(file_system: &dyn FileSystemType, data: &[u8]) -> Result<Self> {
        let mut collected = Self { source: Some(Vec::new()), ..Self::default() };
        for word in split_words(data, file_system.escapes_commas()).filter(|word| !word.is_empty()) {
            let (key, value) = match word.iter().position(|&byte| byte == b'=') {
                // A word that begins with "=" has no key: Linux skips it.
                Some(0) => continue,
                Some(at) => (&word[..at], Some(&word[at + 1..])),
                None => (word, None),
            };
            let key = core::str::from_utf8(key).map_err(|_| Errno::INVAL)?;
            collected.take(file_system, key, value)?;
        }
        collected.source = None;
        Ok(collected)
    }

    /// The data string of a remount by `mount(2)`: some filesystems hear only the common words.
    pub fn from_remount_data(file_system: &dyn FileSystemType, data: &[u8]) -> Result<Self> {
        if file_system.has_remount_options() {
            return Self::from_data(file_system, data);
        }
        let mut collected = Self::default();
        for word in split_words(data, file_system.escapes_commas()).filter_map(|word| core::str::from_utf8(word).ok()) {
            // What is no common word is not heard.
            let _ = collected.take_common(word);
        }
        Ok(collected)
    }

    /// Superblock flags as asked for by the call and changed by the words.
    pub fn apply_to(&self, flags: u32) -> u32 {
        (flags | self.set_flags) & !self.cleared_flags
    }
}

/// The words between commas. With `escapes` a backslash takes away the meaning of what follows it, and stays for the filesystem.
fn split_words(data: &[u8], escapes: bool) -> impl Iterator<Item = &[u8]> {
    let mut escaped = false;
    data.split(move |&byte| {
        let separates = byte == b',' && !escaped;
        escaped = escapes && byte == b'\\' && !escaped;
        separates
    })
}
