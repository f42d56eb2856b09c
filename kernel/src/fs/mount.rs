//! The one forest of mounts, and the seam through which graft asks about dentries.

use crate::sync::{Lazy, RwLock};
