//! Process numbers, per pid namespace.
