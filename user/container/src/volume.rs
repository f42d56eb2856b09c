//! What a volume is, and how it is written on the command line: `host:container[:ro][:rshared|rslave|rprivate]`.

use rustix::mount::MountPropagationFlags;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

/// A folder or file of the host that a container sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// On the host, absolute.
    pub source: PathBuf,
    /// In the container, absolute.
    pub target: PathBuf,
    /// Whether the container may only read it.
    pub read_only: bool,
    /// What becomes of mounts that are made below it later.
    pub propagation: Propagation,
}

/// What becomes of mounts that are made below a volume after the container has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Propagation {
    /// Each side keeps its own to itself.
    #[default]
    Rprivate,
    /// The host's are seen in the container, the container's not on the host.
    Rslave,
    /// Each side sees the other's.
    Rshared,
}

impl Propagation {
    /// The flags for mount(2).
    pub fn flags(self) -> MountPropagationFlags {
        let kind = match self {
            Self::Rprivate => MountPropagationFlags::PRIVATE,
            Self::Rslave => MountPropagationFlags::DOWNSTREAM,
            Self::Rshared => MountPropagationFlags::SHARED,
        };
        kind | MountPropagationFlags::REC
    }
}

impl FromStr for Volume {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split(':');
        let (Some(source), Some(target)) = (words.next(), words.next()) else {
            return Err(format!("{text}: a volume is host:container, with :ro and :rshared, :rslave or :rprivate after it if wanted"));
        };
        let mut volume =
            Self { source: absolute(source)?, target: absolute(target)?, read_only: false, propagation: Propagation::default() };
        for word in words {
            match word {
                "ro" => volume.read_only = true,
                "rw" => volume.read_only = false,
                "rprivate" => volume.propagation = Propagation::Rprivate,
                "rslave" => volume.propagation = Propagation::Rslave,
                "rshared" => volume.propagation = Propagation::Rshared,
                _ => return Err(format!("{word}: the options of a volume are ro, rw, rshared, rslave and rprivate")),
            }
        }
        Ok(volume)
    }
}

/// A path that says where it leads whatever the working directory, and nowhere back up.
fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let plain = path.components().all(|component| matches!(component, Component::RootDir | Component::Normal(_)));
    if path.is_absolute() && plain { Ok(path.to_path_buf()) } else { Err(format!("{text}: a volume's paths are absolute, without `..`")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_read_from_words() {
        let volume: Volume = "/host/data:/data:ro:rslave".parse().unwrap();
        assert_eq!((volume.source.as_path(), volume.target.as_path()), (Path::new("/host/data"), Path::new("/data")));
        assert_eq!((volume.read_only, volume.propagation), (true, Propagation::Rslave));
        let plain: Volume = "/a:/b".parse().unwrap();
        assert_eq!((plain.read_only, plain.propagation), (false, Propagation::Rprivate));
    }

    #[test]
    fn what_is_no_volume_is_refused() {
        for text in ["/a", "a:/b", "/a:b", "/a:/../b", "/a:/b:sometimes"] {
            assert!(text.parse::<Volume>().is_err(), "{text}");
        }
    }
}
