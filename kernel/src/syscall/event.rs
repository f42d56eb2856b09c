//! System calls: eventfd, signalfd, timerfd, epoll, inotify, memfd.

use super::Entry;

pub(super) const TABLE: &[Entry] = &[];
