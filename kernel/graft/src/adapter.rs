//! What adapters between a forest and its [`Vfs`](crate::Vfs) have in common: passing questions on.

/// Implements the types of `Vfs` and those methods that an adapter only passes on to `self.inner`, after telling
/// `self.asked` the name of the question.
macro_rules! pass_on {
    () => {
        type Dentry = V::Dentry;
        type Superblock = V::Superblock;
        type UserNamespace = V::UserNamespace;
        type Credentials = V::Credentials;
        type Source = V::Source;
        type IdMap = V::IdMap;

        $crate::adapter::pass_on! {
            fn dentry_key(dentry: &V::Dentry) -> u64;
            fn dentry_kind(dentry: &V::Dentry) -> $crate::seam::DentryKind;
            fn is_unlinked(dentry: &V::Dentry) -> bool;
            fn is_below(dentry: &V::Dentry, ancestor: &V::Dentry) -> bool;
            fn visit_names(
                dentry: &V::Dentry, ancestor: Option<&V::Dentry>, visit: &mut dyn FnMut(&[u8])
            ) -> bool;
            fn is_superblock_root(dentry: &V::Dentry) -> bool;
            fn is_permanently_empty(dentry: &V::Dentry) -> bool;
            fn namespace_file(dentry: &V::Dentry) -> $crate::seam::NamespaceFile;
            fn superblock_key(superblock: &V::Superblock) -> u64;
            fn filesystem_key(superblock: &V::Superblock) -> u64;
            fn device(superblock: &V::Superblock) -> $crate::seam::Device;
            fn super_flags(superblock: &V::Superblock) -> $crate::flags::SuperFlags;
            fn superblock_traits(superblock: &V::Superblock) -> $crate::flags::SuperblockTraits;
            fn write_filesystem_type(
                superblock: &V::Superblock, sink: &mut dyn $crate::seam::Sink
            ) -> Result<(), $crate::seam::OutOfMemory>;
            fn write_options(
                superblock: &V::Superblock, root: &V::Dentry, sink: &mut dyn $crate::seam::Sink
            ) -> Result<(), $crate::seam::OutOfMemory>;
            fn write_statistics(
                superblock: &V::Superblock, sink: &mut dyn $crate::seam::Sink
            ) -> Result<(), $crate::seam::OutOfMemory>;
            fn write_root(
                root: &V::Dentry, sink: &mut dyn $crate::seam::Sink
            ) -> Result<bool, $crate::seam::OutOfMemory>;
            fn is_admin(credentials: &V::Credentials, over: &V::UserNamespace) -> bool;
            fn is_initial_admin(credentials: &V::Credentials) -> bool;
            fn is_superblock_admin(credentials: &V::Credentials, superblock: &V::Superblock) -> bool;
            fn is_initial_user_namespace(user_namespace: &V::UserNamespace) -> bool;
        }
    };
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        $(
            fn $name(&self, $($argument: $type),*) -> $result {
                self.asked(stringify!($name));
                self.inner.$name($($argument),*)
            }
        )*
    };
}

pub(crate) use pass_on;
