//! What every Linux program relies on.
