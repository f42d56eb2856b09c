//! The ids by which a kernel names mounts, peer groups and namespaces of a forest.

use core::fmt;

use crate::arena::{Arena, Slot};
use crate::group::Group;
use crate::mount::Mount;
use crate::namespace::Namespace;

pub(crate) type MountSlot<V> = Slot<Mount<V>>;
pub(crate) type GroupSlot<V> = Slot<Group<V>>;
pub(crate) type NamespaceSlot<V> = Slot<Namespace<V>>;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $letter:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name {
            index: u32,
            generation: u32,
        }

        impl $name {
            pub(crate) fn of<T>(arena: &Arena<T>, slot: Slot<T>) -> Self {
                Self { index: slot.index(), generation: arena.generation(slot) }
            }

            pub(crate) fn find<T>(self, arena: &Arena<T>) -> Option<Slot<T>> {
                arena.find(self.index, self.generation)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!($letter, "{}.{}"), self.index, self.generation)
            }
        }
    };
}

id! {
    /// Names a mount as long as it lives. Not the number that programs see: that is [`Forest::mount_number`](crate::Forest::mount_number).
    MountId, "m"
}
impl MountId {
    /// The mount itself: what every step of a path walk asks for.
    #[inline]
    pub(crate) fn get<T>(self, arena: &Arena<T>) -> Option<&T> {
        arena.get(self.index, self.generation)
    }
}

id! {
    /// Names a peer group as long as it has members. Not the number that programs see: that is [`Forest::group_number`](crate::Forest::group_number).
    GroupId, "g"
}
id! {
    /// Names a mount namespace as long as it lives.
    NamespaceId, "n"
}
