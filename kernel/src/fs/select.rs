//! poll(2) and select(2) over descriptors.
