//! Reading and changing attributes: stat, chmod, chown, utimes, truncate.
