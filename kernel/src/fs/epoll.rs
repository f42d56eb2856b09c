//! epoll(7).
