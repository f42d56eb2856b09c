//! devpts: pseudoterminal nodes.
