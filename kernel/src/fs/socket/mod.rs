//! Unix sockets (`unix(7)`).
