//! Access control lists (`acl(5)`): `lists` is what can be set and what is shown, `checks` whom a list lets in, `inherited` what new
//! files get of a directory's default list.

mod checks;
mod inherited;
mod lists;

use super::{kind, on};
