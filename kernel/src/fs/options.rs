//! Mount options: splitting a data string, common superblock flags (F8).
