//! What both sides agree upon: the terms of the mount, what INIT offers, and what becomes of its answer.

use super::protocol::{Features, Fields, MAJOR, MINOR, Message};
use crate::mm::PAGE_SIZE_BYTES;
use crate::task::pid::PidNamespace;
use crate::task::{Credentials, UserNamespace};
use alloc::sync::Arc;

/// Readahead that is offered, in bytes.
const OFFERED_READAHEAD_BYTES: u32 = 128 * 1024;
/// Pages of a request without MAX_PAGES.
const DEFAULT_MAX_PAGES: usize = 32;
/// Pages of a request at most.
const MAX_PAGES: usize = 256;
/// `max_background` and its threshold unless the server says otherwise.
pub const DEFAULT_MAX_BACKGROUND: u32 = 12;
/// See above.
pub const DEFAULT_CONGESTION_THRESHOLD: u32 = 9;

/// What a connection was mounted with.
pub struct Terms {
    /// Ids are meant in it.
    pub user_namespace: Arc<UserNamespace>,
    /// So are pids.
    pub pid_namespace: Arc<PidNamespace>,
    /// `user_id`, as an id of the initial namespace.
    pub uid: u32,
    /// `group_id`, likewise.
    pub gid: u32,
    /// Everybody may use the mount.
    pub allow_other: bool,
    /// The kernel checks modes.
    pub default_permissions: bool,
    /// `max_read`.
    pub max_read_bytes: Option<u32>,
}

/// What INIT agreed upon.
#[derive(Clone, Copy)]
pub struct Settings {
    /// The lower of both minor versions.
    pub minor: u32,
    /// Features that were offered and taken.
    pub features: Features,
    /// Most bytes of a WRITE.
    pub max_write_bytes: usize,
    /// Most pages of a READ or WRITE.
    pub max_pages: usize,
    /// Most bytes read ahead.
    pub readahead_bytes: usize,
}

impl Settings {
    /// Before INIT is answered.
    pub const NONE: Self = Self {
        minor: MINOR,
        features: Features::empty(),
        max_write_bytes: PAGE_SIZE_BYTES,
        max_pages: DEFAULT_MAX_PAGES,
        readahead_bytes: OFFERED_READAHEAD_BYTES as usize,
    };

    /// Whether a feature was agreed upon.
    pub fn has(&self, feature: Features) -> bool {
        self.features.contains(feature)
    }
}

/// Features that are all here.
const OFFERED: Features = Features::ASYNC_READ
    .union(Features::POSIX_LOCKS)
    .union(Features::FLOCK_LOCKS)
    .union(Features::ATOMIC_O_TRUNC)
    .union(Features::EXPORT_SUPPORT)
    .union(Features::BIG_WRITES)
    .union(Features::DONT_MASK)
    .union(Features::SPLICE_WRITE)
    .union(Features::SPLICE_MOVE)
    .union(Features::SPLICE_READ)
    .union(Features::HAS_IOCTL_DIR)
    .union(Features::AUTO_INVAL_DATA)
    .union(Features::DO_READDIRPLUS)
    .union(Features::READDIRPLUS_AUTO)
    .union(Features::ASYNC_DIO)
    .union(Features::WRITEBACK_CACHE)
    .union(Features::NO_OPEN_SUPPORT)
    .union(Features::PARALLEL_DIROPS)
    .union(Features::HANDLE_KILLPRIV)
    .union(Features::POSIX_ACL)
    .union(Features::ABORT_ERROR)
    .union(Features::MAX_PAGES)
    .union(Features::CACHE_SYMLINKS)
    .union(Features::NO_OPENDIR_SUPPORT)
    .union(Features::EXPLICIT_INVAL_DATA)
    .union(Features::HANDLE_KILLPRIV_V2)
    .union(Features::SETXATTR_EXT)
    .union(Features::INIT_EXT)
    .union(Features::CREATE_SUPP_GROUP)
    .union(Features::HAS_EXPIRE_ONLY)
    .union(Features::DIRECT_IO_ALLOW_MMAP);

/// INIT's body.
pub fn offer() -> Message {
    let mut body = Message::default().u32(MAJOR).u32(MINOR).u32(OFFERED_READAHEAD_BYTES);
    body = body.u32(OFFERED.bits() as u32).u32((OFFERED.bits() >> 32) as u32);
    body.0.resize(64, 0);
    body
}

/// INIT's answer, taken as far as it goes with what was offered.
pub struct Agreement {
    /// What holds from now on.
    pub settings: Settings,
    /// Limits that the server asked for.
    pub max_background: Option<u32>,
    /// See above.
    pub congestion_threshold: Option<u32>,
}

impl Agreement {
    /// From the fields behind the version.
    pub fn new(terms: &Terms, minor: u32, fields: &mut Fields<'_>) -> Self {
        let (readahead, flags) = (fields.u32(), fields.u32());
        let (max_background, threshold, max_write) = (fields.u16(), fields.u16(), fields.u32());
        fields.u32();
        let max_pages = fields.u16();
        fields.u16();
        let flags2 = fields.u32();
        let mut features = Features::from_bits_truncate(u64::from(flags)) & OFFERED;
        if features.contains(Features::INIT_EXT) {
            features |= Features::from_bits_truncate(u64::from(flags2) << 32) & OFFERED;
        }
        if minor < 6 {
            features = Features::empty();
        }
        let pages = if features.contains(Features::MAX_PAGES) { usize::from(max_pages).clamp(1, MAX_PAGES) } else { DEFAULT_MAX_PAGES };
        let readahead = readahead.min(OFFERED_READAHEAD_BYTES).min(terms.max_read_bytes.unwrap_or(u32::MAX));
        let settings = Settings {
            minor: minor.min(MINOR),
            features,
            max_write_bytes: if minor < 5 { PAGE_SIZE_BYTES } else { (max_write as usize).max(PAGE_SIZE_BYTES) },
            max_pages: pages,
            readahead_bytes: readahead as usize / PAGE_SIZE_BYTES * PAGE_SIZE_BYTES,
        };
        let given = |limit: u16| (limit != 0).then(|| u32::from(limit));
        Self { settings, max_background: given(max_background), congestion_threshold: given(threshold) }
    }
}

impl Terms {
    /// Whether somebody may use the mount at all: the owner by all his ids, or with `allow_other` everybody of the user namespace.
    pub fn allows(&self, credentials: &Credentials) -> bool {
        if self.allow_other {
            return credentials.user_namespace.is_within(&self.user_namespace);
        }
        [credentials.uid, credentials.effective_uid, credentials.saved_uid] == [self.uid; 3]
            && [credentials.gid, credentials.effective_gid, credentials.saved_gid] == [self.gid; 3]
    }
}
