//! inotify(7).
