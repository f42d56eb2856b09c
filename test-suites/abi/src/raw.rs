//! System calls by number, for the arguments that no typed wrapper lets through: wrong pointers, unknown flags, null strings.

use std::ffi::CStr;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

/// An error number as Linux gives it; its `Debug` form shows number and text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

impl std::fmt::Debug for Errno {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", std::io::Error::from_raw_os_error(self.0))
    }
}

impl From<rustix::io::Errno> for Errno {
    fn from(error: rustix::io::Errno) -> Self {
        Errno(error.raw_os_error())
    }
}

impl From<std::io::Error> for Errno {
    fn from(error: std::io::Error) -> Self {
        Errno(error.raw_os_error().expect("an error of the kernel"))
    }
}

/// What a system call gave.
pub type Outcome<T = usize> = Result<T, Errno>;

/// A value that can stand in an argument register.
pub trait Argument {
    /// The register's content.
    fn word(self) -> usize;
}

macro_rules! integer_arguments {
    ($($integer:ty),*) => {$(
        impl Argument for $integer {
            fn word(self) -> usize {
                self as usize
            }
        }
    )*};
}
integer_arguments!(i32, u32, i64, u64, isize, usize);

impl<T> Argument for *const T {
    fn word(self) -> usize {
        self as usize
    }
}

impl<T> Argument for *mut T {
    fn word(self) -> usize {
        self as usize
    }
}

impl Argument for &CStr {
    fn word(self) -> usize {
        self.as_ptr() as usize
    }
}

impl Argument for BorrowedFd<'_> {
    fn word(self) -> usize {
        self.as_raw_fd() as usize
    }
}

macro_rules! descriptor_arguments {
    ($($owner:ty),*) => {$(
        impl Argument for &$owner {
            fn word(self) -> usize {
                self.as_raw_fd() as usize
            }
        }
    )*};
}
descriptor_arguments!(OwnedFd, std::fs::File, std::io::PipeReader, std::io::PipeWriter, UnixStream, UnixDatagram, UnixListener);
descriptor_arguments!(TcpStream, TcpListener, UdpSocket);

/// The six argument registers of a call that names fewer.
pub fn registers(named: &[usize]) -> [usize; 6] {
    let mut all = [0; 6];
    all[..named.len()].copy_from_slice(named);
    all
}

/// Makes the system call.
///
/// # Safety
/// The call must not change memory that Rust relies on, or the process must be one that may die of it.
pub unsafe fn call(number: i64, arguments: [usize; 6]) -> Outcome {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    // SAFETY: the caller answers for what the call does.
    let result = unsafe { libc::syscall(number, first, second, third, fourth, fifth, sixth) };
    if result == -1 {
        return Err(Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)));
    }
    Ok(result as usize)
}

/// `syscall!(SYS_read, fd, pointer, len)`: the system call with these arguments, as an [`Outcome`].
#[macro_export]
macro_rules! syscall {
    ($number:ident $(, $argument:expr)* $(,)?) => {
        // A match, so that temporaries in the arguments live until the call is made.
        match $crate::raw::registers(&[$($crate::raw::Argument::word($argument)),*]) {
            // SAFETY: pointers in the arguments are live or wrong on purpose; the kernel is what is being tested, and the
            // caller is a test process that may die.
            arguments => unsafe { $crate::raw::call(::libc::$number, arguments) },
        }
    };
}

/// Asserts that an expression failed with the named error number.
#[macro_export]
macro_rules! assert_errno {
    ($expression:expr, $errno:ident) => {
        match $expression {
            Ok(value) => panic!("{} gave {:?}, not {}", stringify!($expression), value, stringify!($errno)),
            Err(error) => {
                let errno = $crate::Errno::from(error);
                assert!(errno.0 == ::libc::$errno, "{} gave {:?}, not {}", stringify!($expression), errno, stringify!($errno));
            }
        }
    };
}
