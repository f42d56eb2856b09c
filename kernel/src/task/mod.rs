//! Processes and threads, the scheduler, signals, credentials, namespaces, exec.

pub mod accounting;
pub mod capability;
pub mod clone;
pub mod credentials;
pub mod exec;
pub mod exit;
pub mod futex;
pub mod identity;
pub mod init;
pub mod itimer;
pub mod namespaces;
pub mod oom;
pub mod pid;
pub mod pidfd;
pub mod posix_timer;
pub mod prctl;
pub mod process;
pub mod rlimit;
pub mod run;
pub mod scheduler;
pub mod session;
pub mod signal;
pub mod sleep_mutex;
pub mod thread;
pub mod unshare;
pub mod user_namespace;
pub mod wait;
pub mod wait_queue;

pub use credentials::{Capabilities, Credentials};
pub use namespaces::Namespaces;
pub use process::Process;
pub use scheduler::current;
pub use sleep_mutex::SleepMutex;
pub use thread::Thread;
pub use user_namespace::UserNamespace;
pub use wait_queue::{Deadline, WaitQueue, Wake};
