//! The `newc` format (`cpio(5)`) as a stream: headers, names, contents, each padded to four bytes.

use super::unpack::Unpacker;
use alloc::vec::Vec;

const HEADER_BYTES: usize = 110;
const MAGIC_LEN_BYTES: usize = 6;
/// Longest name, with its NUL.
const NAME_MAX_BYTES: usize = 4096;
/// Longest target of a symbolic link.
const TARGET_MAX_BYTES: usize = 4096;
const TRAILER: &[u8] = b"TRAILER!!!";
const TYPE_MASK: u32 = 0o170_000;
const TYPE_SYMLINK: u32 = 0o120_000;
const TYPE_REGULAR: u32 = 0o100_000;

/// What the header of an entry says.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub(super) struct Header {
    pub inode: u32,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub links: u32,
    pub modified_s: u32,
    pub size_bytes: u32,
    pub major: u32,
    pub minor: u32,
    pub device_major: u32,
    pub device_minor: u32,
    pub name_len_bytes: u32,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        match &bytes[..MAGIC_LEN_BYTES] {
            b"070701" | b"070702" => {}
            b"070707" => return Err("incorrect cpio method used: use -H newc option"),
            _ => return Err("no cpio magic"),
        }
        let mut fields = [0; 13];
        for (field, text) in fields.iter_mut().zip(bytes[MAGIC_LEN_BYTES..].chunks_exact(8)) {
            let text = core::str::from_utf8(text).map_err(|_| "broken cpio header")?;
            *field = u32::from_str_radix(text, 16).map_err(|_| "broken cpio header")?;
        }
        let [inode, mode, uid, gid, links, modified_s, size_bytes, major, minor, device_major, device_minor, name_len_bytes, _] = fields;
        Ok(Self { inode, mode, uid, gid, links, modified_s, size_bytes, major, minor, device_major, device_minor, name_len_bytes })
    }

    fn is_type(&self, file_type: u32) -> bool {
        self.mode & TYPE_MASK == file_type
    }
}

/// Where in an archive the stream is.
enum State {
    /// Between archives or entries: a header, or padding of zeros.
    Header,
    Name(Header),
    Target(Header, Vec<u8>),
    Content {
        left_bytes: u32,
    },
    /// Bytes to be skipped, of an entry that is of no use or of padding.
    Skip {
        left_bytes: u64,
    },
    /// Behind the trailer: zeros until the next archive.
    AfterTrailer,
}

/// An archive that is being fed.
pub(super) struct Archive {
    state: State,
    /// What a header, name or target has of its bytes so far.
    gathered: Vec<u8>,
    /// Position in the archive, for the padding to four bytes.
    offset: u64,
    padding_bytes: usize,
    unpacker: Unpacker,
}

impl Archive {
    pub(super) fn new(unpacker: Unpacker) -> Self {
        Self { state: State::Header, gathered: Vec::new(), offset: 0, padding_bytes: 0, unpacker }
    }

    /// Takes the next bytes of an archive.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let used = self.step(rest)?;
            rest = &rest[used..];
        }
        Ok(())
    }

    /// Takes plain bytes up to the end of one archive: its trailer. Returns how many.
    pub(super) fn feed_plain(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let mut used = 0;
        while used < bytes.len() {
            used += self.step(&bytes[used..])?;
            if matches!(self.state, State::AfterTrailer) {
                self.restart();
                return Ok(used);
            }
        }
        Ok(used)
    }

    /// A compressed member has ended; an archive has to end with it.
    pub(super) fn end_of_member(&mut self) -> Result<(), &'static str> {
        self.finish()?;
        self.restart();
        Ok(())
    }

    fn restart(&mut self) {
        self.state = State::Header;
        self.offset = 0;
        self.padding_bytes = 0;
        self.gathered.clear();
    }

    /// The end of everything: an archive may not be in the middle of an entry. Directories get their times now.
    pub(super) fn finish(&mut self) -> Result<(), &'static str> {
        self.unpacker.finish();
        match self.state {
            State::Header if self.gathered.is_empty() => Ok(()),
            State::AfterTrailer => Ok(()),
            _ => Err("unexpected EOF"),
        }
    }

    /// Takes some bytes; how many depends on the state. Never 0 for a slice that is not empty.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        if self.padding_bytes > 0 {
            let skipped = self.padding_bytes.min(bytes.len());
            self.padding_bytes -= skipped;
            return Ok(self.advance(skipped));
        }
        match &mut self.state {
            State::Header | State::AfterTrailer => self.step_header(bytes),
            State::Name(header) => {
                let wanted = header.name_len_bytes as usize;
                let used = self.gather(bytes, wanted);
                if self.gathered.len() == wanted { self.name_complete().map(|()| used) } else { Ok(used) }
            }
            State::Target(header, _) => {
                let wanted = header.size_bytes as usize;
                let used = self.gather(bytes, wanted);
                if self.gathered.len() == wanted {
                    self.target_complete();
                }
                Ok(used)
            }
            State::Content { left_bytes } => {
                let used = bytes.len().min(*left_bytes as usize);
                *left_bytes -= used as u32;
                let done = *left_bytes == 0;
                self.unpacker.write(&bytes[..used])?;
                self.advance(used);
                if done {
                    self.unpacker.close();
                    self.entry_done();
                }
                Ok(used)
            }
            State::Skip { left_bytes } => {
                let used = usize::try_from(*left_bytes).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left_bytes -= used as u64;
                let done = *left_bytes == 0;
                self.advance(used);
                if done {
                    self.entry_done();
                }
                Ok(used)
            }
        }
    }

    fn step_header(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        if self.gathered.is_empty() && bytes[0] == 0 {
            let zeros = bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len());
            self.offset = 0;
            return Ok(zeros);
        }
        let used = self.gather(bytes, HEADER_BYTES);
        if self.gathered.len() == HEADER_BYTES {
            let header = Header::parse(&self.gathered)?;
            self.gathered.clear();
            let name_len = header.name_len_bytes as usize;
            if name_len == 0 || name_len > NAME_MAX_BYTES {
                return Err("name of an entry is too long");
            }
            self.state = State::Name(header);
        }
        Ok(used)
    }

    fn gather(&mut self, bytes: &[u8], wanted: usize) -> usize {
        let used = bytes.len().min(wanted - self.gathered.len());
        self.gathered.extend_from_slice(&bytes[..used]);
        self.advance(used)
    }

    fn advance(&mut self, bytes: usize) -> usize {
        self.offset += bytes as u64;
        bytes
    }

    /// Names and contents end at multiples of four.
    fn pad(&mut self) {
        self.padding_bytes = (self.offset.next_multiple_of(4) - self.offset) as usize;
    }

    fn entry_done(&mut self) {
        self.pad();
        self.state = State::Header;
    }

    fn name_complete(&mut self) -> Result<(), &'static str> {
        let State::Name(header) = core::mem::replace(&mut self.state, State::Header) else { return Ok(()) };
        let mut name = core::mem::take(&mut self.gathered);
        if name.pop() != Some(0) {
            return Err("name of an entry does not end");
        }
        self.pad();
        if name == TRAILER {
            self.unpacker.forget_links();
            self.state = State::AfterTrailer;
            return Ok(());
        }
        if header.is_type(TYPE_SYMLINK) {
            if header.size_bytes == 0 || header.size_bytes as usize > TARGET_MAX_BYTES {
                self.skip(header.size_bytes);
            } else {
                self.state = State::Target(header, name);
            }
            return Ok(());
        }
        let takes_content = self.unpacker.entry(&header, &name, None);
        if header.size_bytes == 0 {
            self.unpacker.close();
        } else if takes_content && header.is_type(TYPE_REGULAR) {
            self.state = State::Content { left_bytes: header.size_bytes };
        } else {
            self.skip(header.size_bytes);
        }
        Ok(())
    }

    /// The name's padding is skipped first, then the content.
    fn skip(&mut self, bytes: u32) {
        self.state = if bytes == 0 { State::Header } else { State::Skip { left_bytes: u64::from(bytes) } };
    }

    fn target_complete(&mut self) {
        let State::Target(header, name) = core::mem::replace(&mut self.state, State::Header) else { return };
        let target = core::mem::take(&mut self.gathered);
        self.unpacker.entry(&header, &name, Some(&target));
        self.pad();
    }
}
