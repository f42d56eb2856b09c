//! Linux error numbers as a type. Every fallible kernel function that a system call can reach returns [`Result`].

use core::fmt;
use linux_raw_sys::errno;

/// One Linux error number, always one of the positive values of `errno(3)` or a kernel-internal restart code.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(u16);

/// What a kernel operation gives: a value or the errno that the program sees.
pub type Result<T, E = Errno> = core::result::Result<T, E>;

macro_rules! errnos {
    ($($short:ident = $long:ident),* $(,)?) => {
        #[allow(missing_docs, reason = "errno(3) describes each")]
        impl Errno {
            $(pub const $short: Self = Self(errno::$long as u16);)*
        }

        impl fmt::Debug for Errno {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $(Self::$short => f.write_str(stringify!($long)),)*
                    Self(code) => write!(f, "errno {code}"),
                }
            }
        }
    };
}

errnos! {
    PERM = EPERM, NOENT = ENOENT, SRCH = ESRCH, INTR = EINTR, IO = EIO, NXIO = ENXIO, TOOBIG = E2BIG, NOEXEC = ENOEXEC,
    BADF = EBADF, CHILD = ECHILD, AGAIN = EAGAIN, NOMEM = ENOMEM, ACCES = EACCES, FAULT = EFAULT, NOTBLK = ENOTBLK,
    BUSY = EBUSY, EXIST = EEXIST, XDEV = EXDEV, NODEV = ENODEV, NOTDIR = ENOTDIR, ISDIR = EISDIR, INVAL = EINVAL,
    NFILE = ENFILE, MFILE = EMFILE, NOTTY = ENOTTY, TXTBSY = ETXTBSY, FBIG = EFBIG, NOSPC = ENOSPC, SPIPE = ESPIPE,
    ROFS = EROFS, MLINK = EMLINK, PIPE = EPIPE, DOM = EDOM, RANGE = ERANGE, DEADLK = EDEADLK, NAMETOOLONG = ENAMETOOLONG,
    NOLCK = ENOLCK, NOSYS = ENOSYS, NOTEMPTY = ENOTEMPTY, LOOP = ELOOP, NODATA = ENODATA, TIME = ETIME, OVERFLOW = EOVERFLOW,
    BADFD = EBADFD, LIBBAD = ELIBBAD, USERS = EUSERS, NOTSOCK = ENOTSOCK, DESTADDRREQ = EDESTADDRREQ, MSGSIZE = EMSGSIZE,
    PROTOTYPE = EPROTOTYPE, NOPROTOOPT = ENOPROTOOPT, PROTONOSUPPORT = EPROTONOSUPPORT, SOCKTNOSUPPORT = ESOCKTNOSUPPORT,
    OPNOTSUPP = EOPNOTSUPP, PFNOSUPPORT = EPFNOSUPPORT, AFNOSUPPORT = EAFNOSUPPORT, ADDRINUSE = EADDRINUSE,
    ADDRNOTAVAIL = EADDRNOTAVAIL, NETDOWN = ENETDOWN, NETUNREACH = ENETUNREACH, CONNABORTED = ECONNABORTED,
    CONNRESET = ECONNRESET, NOBUFS = ENOBUFS, ISCONN = EISCONN, NOTCONN = ENOTCONN, SHUTDOWN = ESHUTDOWN,
    TOOMANYREFS = ETOOMANYREFS, HOSTUNREACH = EHOSTUNREACH, TIMEDOUT = ETIMEDOUT, CONNREFUSED = ECONNREFUSED, ALREADY = EALREADY,
    INPROGRESS = EINPROGRESS, STALE = ESTALE, DQUOT = EDQUOT, CANCELED = ECANCELED, OWNERDEAD = EOWNERDEAD,
    NOTRECOVERABLE = ENOTRECOVERABLE, NOKEY = ENOKEY, KEYEXPIRED = EKEYEXPIRED, KEYREVOKED = EKEYREVOKED, PROTO = EPROTO, BADMSG = EBADMSG, NOTUNIQ = ENOTUNIQ, ILSEQ = EILSEQ,
    NOMSG = ENOMSG, IDRM = EIDRM,
}

/// The restart codes never reach a program: signal delivery turns each into `EINTR` or into a restart of the call,
/// as `signal(7)` ("Interruption of system calls") tells.
impl Errno {
    /// Restart when the handler has `SA_RESTART`, or when no handler runs; else `EINTR`.
    pub const RESTARTSYS: Self = Self(512);
    /// Restart always (the handler's flags do not matter).
    pub const RESTARTNOINTR: Self = Self(513);
    /// Restart only when no handler runs; else `EINTR` (poll, pause, sigsuspend, futex wait without timeout…).
    pub const RESTARTNOHAND: Self = Self(514);
    /// Restart through `restart_syscall(2)` with the remaining time when no handler runs; else `EINTR`.
    pub const RESTART_BLOCK: Self = Self(516);

    /// The positive number.
    pub const fn code(self) -> i32 {
        self.0 as i32
    }

    /// The value for `rax`.
    pub const fn as_return_value(self) -> u64 {
        -(self.0 as i64) as u64
    }

    /// An errno from graft's refusals or another table of positive codes.
    pub const fn from_code(code: i32) -> Self {
        Self(code as u16)
    }
}
