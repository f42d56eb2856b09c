//! memfd_create(2) and seals.
