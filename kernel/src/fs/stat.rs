//! What `stat(2)` and `statx(2)` ask of a filesystem, and what they are told.

use super::Attributes;

/// What a caller wants to know, and at what price.
#[derive(Clone, Copy, Debug, Default)]
pub struct StatRequest {
    /// The birth time, too (`STATX_BTIME`).
    pub birth_time: bool,
    /// `AT_STATX_SYNC_TYPE`.
    pub freshness: Freshness,
}

/// How new the attributes must be where they are kept elsewhere (`statx(2)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// As `stat(2)` has them: `AT_STATX_SYNC_AS_STAT`.
    #[default]
    AsStat,
    /// Asked for anew: `AT_STATX_FORCE_SYNC`.
    Asked,
    /// What is known will do: `AT_STATX_DONT_SYNC`.
    Known,
}

bitflags::bitflags! {
    /// Parts of an answer that are known beyond doubt, as `stx_mask` has them.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Known: u32 {
        /// All that `stat(2)` shows.
        const BASIC = linux_raw_sys::general::STATX_BASIC_STATS;
        /// Birth.
        const BIRTH_TIME = linux_raw_sys::general::STATX_BTIME;
        const _ = !0;
    }
}

/// The answer.
pub struct Stat {
    /// What is shown.
    pub attributes: Attributes,
    /// Which of it is known.
    pub known: Known,
}

impl Stat {
    /// With everything known, and the birth time where there is one and it was asked for.
    pub fn of(attributes: Attributes, request: StatRequest) -> Self {
        let has_birth_time = request.birth_time && attributes.created.is_some();
        Self { attributes, known: Known::BASIC | if has_birth_time { Known::BIRTH_TIME } else { Known::empty() } }
    }
}
