//! Process groups and sessions, controlling terminals.
