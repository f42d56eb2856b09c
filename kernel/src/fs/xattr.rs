//! Extended attributes: names, permissions.
