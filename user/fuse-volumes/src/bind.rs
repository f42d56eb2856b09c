//! What is asked of a bind mount, as `--bind target:source[:options]` says it.

use anyhow::{Context, Result, bail, ensure};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

/// A file or directory of the host that is to appear below the root of a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindMount {
    /// Where, relative to the root, without `.` and `..`.
    pub target: PathBuf,
    /// What, an absolute path of the host.
    pub source: PathBuf,
    /// How.
    pub options: BindOptions,
}

/// The options behind the second colon. None of them: what is mounted below the source stays away, and mounts and unmounts
/// of the host on the source's own mount arrive ([`Propagation::Slave`]), never the other way round.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BindOptions {
    /// `ro`: nothing can be changed through it.
    pub read_only: bool,
    /// `rec`: with all that is mounted below the source.
    pub recursive: bool,
    /// `nosuid`: set-id bits do not count.
    pub nosuid: bool,
    /// `nodev`: device nodes cannot be opened.
    pub nodev: bool,
    /// `noexec`: nothing can be run.
    pub noexec: bool,
    /// How mounts below source and target reach each other.
    pub propagation: Propagation,
    /// The propagation is for all mounts of a recursive bind: `rslave` and its like.
    pub propagation_recursive: bool,
}

/// See mount_namespaces(7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Propagation {
    /// `private`: neither way.
    Private,
    /// `slave`: from the host to here.
    #[default]
    Slave,
    /// `shared`: both ways.
    Shared,
}

impl FromStr for BindMount {
    type Err = anyhow::Error;

    /// # Errors
    /// When a part is missing, empty or unknown, with the form that is expected.
    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let (target, source, options) = match parts[..] {
            [target, source] => (target, source, ""),
            [target, source, options] => (target, source, options),
            _ => bail!("`{text}` is no bind: the form is TARGET:SOURCE[:OPTIONS], as in etc/resolv.conf:/etc/resolv.conf:ro"),
        };
        Self::new(target, source, options.parse()?).with_context(|| format!("in `{text}`"))
    }
}

impl BindMount {
    /// Checks and tidies what can be checked without looking at any file.
    ///
    /// # Errors
    /// When the target is empty or has `..`, or the source is relative.
    pub fn new(target: impl AsRef<Path>, source: impl Into<PathBuf>, options: BindOptions) -> Result<Self> {
        let (asked, source) = (target.as_ref(), source.into());
        let mut target = PathBuf::new();
        for component in asked.components() {
            match component {
                Component::Normal(name) => target.push(name),
                Component::RootDir | Component::CurDir => {}
                Component::ParentDir | Component::Prefix(_) => {
                    bail!("the target `{}` leaves the root with `..`: give it relative to the root", asked.display())
                }
            }
        }
        ensure!(target != Path::new(""), "the target is the root itself: name a file or directory below it");
        ensure!(source.is_absolute(), "the source `{}` is relative: give its absolute path on the host", source.display());
        Ok(Self { target, source, options })
    }
}

impl FromStr for BindOptions {
    type Err = anyhow::Error;

    /// # Errors
    /// For an unknown word, or two words that contradict each other.
    fn from_str(text: &str) -> Result<Self> {
        let mut options = Self::default();
        let mut propagation = None;
        for word in text.split(',').filter(|word| !word.is_empty()) {
            let plain = word.strip_prefix('r').filter(|rest| propagation_of(rest).is_some());
            match word {
                "ro" => options.read_only = true,
                "rec" => options.recursive = true,
                "nosuid" => options.nosuid = true,
                "nodev" => options.nodev = true,
                "noexec" => options.noexec = true,
                _ => {
                    let Some(kind) = propagation_of(plain.unwrap_or(word)) else {
                        bail!("unknown option `{word}`: there are ro, rec, nosuid, nodev, noexec, [r]private, [r]slave, [r]shared");
                    };
                    ensure!(propagation.is_none(), "`{text}` asks for two propagations: give one");
                    propagation = Some(kind);
                    options.propagation_recursive = plain.is_some();
                }
            }
        }
        options.propagation = propagation.unwrap_or_default();
        Ok(options)
    }
}

fn propagation_of(word: &str) -> Option<Propagation> {
    match word {
        "private" => Some(Propagation::Private),
        "slave" => Some(Propagation::Slave),
        "shared" => Some(Propagation::Shared),
        _ => None,
    }
}

/// Refuses a target that is given twice: the second bind would hide the first.
///
/// # Errors
/// With the target.
pub fn check_distinct(binds: &[BindMount]) -> Result<()> {
    for (index, bind) in binds.iter().enumerate() {
        ensure!(
            binds[..index].iter().all(|earlier| earlier.target != bind.target),
            "the target `{}` is given twice: the second bind would hide the first",
            bind.target.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> String {
        format!("{:#}", text.parse::<BindMount>().expect_err("a bad bind"))
    }

    #[test]
    fn target_comes_first_and_is_made_relative() {
        for text in ["dev/pts:/dev/pts", "/dev/pts:/dev/pts", "./dev//pts/:/dev/pts:"] {
            let bind: BindMount = text.parse().expect(text);
            assert_eq!((bind.target.as_path(), bind.source.as_path()), (Path::new("dev/pts"), Path::new("/dev/pts")));
            assert_eq!(bind.options, BindOptions::default());
        }
    }

    #[test]
    fn options_stand_behind_the_second_colon() {
        let bind: BindMount = "a:/b:ro,rec,nosuid,nodev,noexec,rshared".parse().expect("good");
        let expected = BindOptions {
            read_only: true,
            recursive: true,
            nosuid: true,
            nodev: true,
            noexec: true,
            propagation: Propagation::Shared,
            propagation_recursive: true,
        };
        assert_eq!(bind.options, expected);
    }

    #[test]
    fn bad_binds_are_told_apart() {
        assert!(complaint("a").contains("TARGET:SOURCE"));
        assert!(complaint("a:/b:ro:x").contains("TARGET:SOURCE"));
        assert!(complaint("a:b").contains("relative"));
        assert!(complaint("a/../../b:/b").contains("leaves the root"));
        assert!(complaint("/:/b").contains("the root itself"));
        assert!(complaint(":/b").contains("the root itself"));
        assert!(complaint("a:/b:rw").contains("unknown option `rw`"));
        assert!(complaint("a:/b:slave,rprivate").contains("two propagations"));
    }

    #[test]
    fn a_target_given_twice_is_refused() {
        let binds = ["a/b:/x", "c:/x", "/a//b/:/y"].map(|text| text.parse().expect("good"));
        assert!(check_distinct(&binds).expect_err("twice").to_string().contains("`a/b` is given twice"));
        assert!(check_distinct(&binds[..2]).is_ok());
    }
}
