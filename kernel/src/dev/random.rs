//! random and urandom.
