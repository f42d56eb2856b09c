//! setitimer, alarm, POSIX timers.
