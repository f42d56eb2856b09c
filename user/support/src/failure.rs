//! Errors for a person: the call that failed, on what, with which errno, and what can be done about it.

use rustix::io::Errno;
use std::fmt;
use std::path::{Path, PathBuf};

/// What a step gives that may fail.
pub type Outcome<T = ()> = Result<T, Failure>;

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The system call, as in section 2 of the manual.
    pub call: &'static str,
    /// What it was called on.
    pub path: PathBuf,
    /// Its error.
    pub errno: Errno,
    /// What to do.
    pub advice: String,
}

impl Failure {
    /// A failure with advice of its own.
    pub fn new(call: &'static str, path: impl Into<PathBuf>, errno: Errno, advice: impl Into<String>) -> Self {
        Self { call, path: path.into(), errno, advice: advice.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let error = std::io::Error::from(self.errno);
        write!(formatter, "{}({}): {} {error}; {}", self.call, self.path.display(), name_of(self.errno), self.advice)
    }
}

impl std::error::Error for Failure {}

/// Turns the plain results of calls into failures that say what was done on what.
pub trait Said<T> {
    /// Names the call and what it was called on. The advice follows from the errno.
    fn said(self, call: &'static str, path: &Path) -> Outcome<T>;
}

impl<T> Said<T> for rustix::io::Result<T> {
    fn said(self, call: &'static str, path: &Path) -> Outcome<T> {
        self.map_err(|errno| Failure::new(call, path, errno, advice_for(errno)))
    }
}

impl<T> Said<T> for std::io::Result<T> {
    fn said(self, call: &'static str, path: &Path) -> Outcome<T> {
        // An error without an errno comes from the library: it did not get what it expected.
        self.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)).said(call, path)
    }
}

/// The errors that these programs meet: name, and what a person can do.
const KNOWN: [(Errno, &str, &str); 13] = [
    (Errno::PERM, "EPERM", "run it as root (CAP_SYS_ADMIN is needed)"),
    (Errno::ACCESS, "EACCES", "see the permissions of the folders on the way"),
    (Errno::NOENT, "ENOENT", "make it first, or see that the path is right"),
    (Errno::BUSY, "EBUSY", "end what uses it, or choose another place"),
    (Errno::INVAL, "EINVAL", "see that it is a mount point, and not unbindable or locked"),
    (Errno::NODEV, "ENODEV", "this kernel does not know that kind of file system"),
    (Errno::NOSYS, "ENOSYS", "this kernel does not have the call"),
    (Errno::NOTDIR, "ENOTDIR", "a file can only be mounted on a file, a folder on a folder"),
    (Errno::ROFS, "EROFS", "make the file system writable, or make the mount point in it beforehand"),
    (Errno::NOSPC, "ENOSPC", "there are too many mounts (fs.mount-max) or no room: take some away"),
    (Errno::LOOP, "ELOOP", "a symbolic link leads in a circle or out of the root file system"),
    (Errno::EXIST, "EEXIST", "take away what is there, or choose another place"),
    (Errno::NOTEMPTY, "ENOTEMPTY", "look what is in it: it was not put there by this program"),
];

fn name_of(errno: Errno) -> &'static str {
    KNOWN.iter().find(|known| known.0 == errno).map_or("errno", |known| known.1)
}

fn advice_for(errno: Errno) -> &'static str {
    KNOWN.iter().find(|known| known.0 == errno).map_or("errno(3) explains it", |known| known.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_call_path_errno_and_advice() {
        let result: rustix::io::Result<()> = Err(Errno::PERM);
        let words = result.said("mount", Path::new("/mnt")).unwrap_err().to_string();
        assert_eq!(words, "mount(/mnt): EPERM Operation not permitted (os error 1); run it as root (CAP_SYS_ADMIN is needed)");
    }

    #[test]
    fn an_error_of_the_library_keeps_its_errno() {
        let failure = std::fs::File::open("/no/such/file").said("open", Path::new("/no/such/file")).unwrap_err();
        assert_eq!(failure.errno, Errno::NOENT);
    }
}
