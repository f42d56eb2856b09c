//! The path walk: names into paths (`path_resolution(7)`).
