//! Initramfs images: a tree of files in memory, written as a `newc` cpio archive, plain or gzipped.
//!
//! The tree follows the merged `/usr` of every current Debian: `/bin`, `/sbin`, `/lib` and `/lib64` are symbolic links,
//! and what a package puts below them lands below `/usr`.

use anyhow::{Context, Result, bail};
use cpio::newc::{Builder, ModeFileType};
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The folders that a merged `/usr` replaces by links.
const MERGED_FOLDERS: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

/// What a node of the tree is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Folder,
    Bytes(Vec<u8>),
    FileOnHost(PathBuf),
    Link(String),
    CharacterDevice { major: u32, minor: u32 },
}

#[derive(Debug, Clone)]
struct Node {
    permissions: u32,
    content: Content,
}

/// How an image is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Plain cpio: the quickest to boot from.
    None,
    /// One gzip member around the whole archive.
    Gzip,
}

/// A tree of files that becomes the guest's first root. All belongs to root, and all times are the epoch, so that the
/// same tree always gives the same bytes.
#[derive(Debug, Clone)]
pub struct Image {
    nodes: BTreeMap<String, Node>,
}

impl Default for Image {
    fn default() -> Self {
        Self::new()
    }
}

impl Image {
    /// An image with the folders and links that every image has, and `/dev/console`, which init is started on.
    pub fn new() -> Self {
        let mut image = Self { nodes: BTreeMap::new() };
        for folder in ["dev", "etc", "proc", "root", "run", "sys", "usr/bin", "usr/lib", "usr/lib64", "usr/sbin", "var"] {
            image.folder(folder, 0o755);
        }
        image.folder("tmp", 0o1777);
        for folder in MERGED_FOLDERS {
            image.insert(folder.to_owned(), 0o777, Content::Link(format!("usr/{folder}")));
        }
        image.insert("dev/console".to_owned(), 0o600, Content::CharacterDevice { major: 5, minor: 1 });
        image
    }

    /// Puts a folder at `path`, and the folders above it.
    pub fn folder(&mut self, path: &str, permissions: u32) -> &mut Self {
        self.insert(merged(path), permissions, Content::Folder);
        self
    }

    /// Puts a file with the given contents at `path`.
    pub fn file(&mut self, path: &str, permissions: u32, contents: impl Into<Vec<u8>>) -> &mut Self {
        self.insert(merged(path), permissions, Content::Bytes(contents.into()));
        self
    }

    /// Puts a copy of a file of the host at `path`, executable.
    pub fn program(&mut self, path: &str, on_host: &Path) -> &mut Self {
        self.insert(merged(path), 0o755, Content::FileOnHost(on_host.to_path_buf()));
        self
    }

    /// Puts a symbolic link to `target` at `path`.
    pub fn link(&mut self, path: &str, target: &str) -> &mut Self {
        self.insert(merged(path), 0o777, Content::Link(target.to_owned()));
        self
    }

    /// Whether something was put at `path`.
    pub fn has(&self, path: &str) -> bool {
        self.nodes.contains_key(&merged(path))
    }

    /// Adds those files of a host folder, with their permissions, whose path below it `wanted` accepts.
    pub fn tree(&mut self, folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<&mut Self> {
        self.tree_at("", folder, wanted)
    }

    /// The same, with all of them below `path`.
    pub fn tree_at(&mut self, path: &str, folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<&mut Self> {
        self.subtree(path, folder, folder, wanted)?;
        Ok(self)
    }

    fn subtree(&mut self, path: &str, top: &Path, folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<()> {
        let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
        for entry in entries {
            let on_host = entry?.path();
            let below = on_host.strip_prefix(top)?.to_str().context("a file name that is not UTF-8")?.to_owned();
            let place = if path.is_empty() { below.clone() } else { format!("{path}/{below}") };
            let metadata = on_host.symlink_metadata()?;
            let permissions = metadata.permissions().mode() & 0o7777;
            if metadata.is_dir() {
                self.subtree(path, top, &on_host, wanted)?;
            } else if !wanted(&below) {
                continue;
            } else if metadata.is_symlink() {
                let target = std::fs::read_link(&on_host)?;
                self.link(&place, target.to_str().context("a link that is not UTF-8")?);
            } else if metadata.is_file() {
                self.insert(merged(&place), permissions, Content::FileOnHost(on_host));
            }
        }
        Ok(())
    }

    fn insert(&mut self, path: String, permissions: u32, content: Content) {
        if let Some((parent, _)) = path.rsplit_once('/')
            && !self.nodes.contains_key(parent)
        {
            self.insert(parent.to_owned(), 0o755, Content::Folder);
        }
        self.nodes.insert(path, Node { permissions, content });
    }

    /// The archive in memory.
    pub fn to_cpio(&self) -> Result<Vec<u8>> {
        let mut archive = Vec::new();
        // Sorted by name, so a folder always stands before what is in it.
        for (inode, (path, node)) in (1..).zip(&self.nodes) {
            archive = append(archive, inode, path, node).with_context(|| format!("cannot put /{path} into the image"))?;
        }
        Ok(cpio::newc::trailer(archive)?)
    }

    /// Writes the archive to a file of the host.
    pub fn write(&self, file: &Path, compression: Compression) -> Result<()> {
        let archive = self.to_cpio()?;
        let bytes = match compression {
            Compression::None => archive,
            Compression::Gzip => gzip(&archive)?,
        };
        std::fs::write(file, bytes).with_context(|| format!("cannot write the image {}", file.display()))
    }
}

/// One gzip member that holds `bytes`.
pub fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// Where a path lands when `/bin` and its like are links into `/usr`.
fn merged(path: &str) -> String {
    let path = path.trim_start_matches("./").trim_start_matches('/');
    let first = path.split('/').next().unwrap_or_default();
    if path != first && MERGED_FOLDERS.contains(&first) { format!("usr/{path}") } else { path.to_owned() }
}

fn append(archive: Vec<u8>, inode: u32, path: &str, node: &Node) -> Result<Vec<u8>> {
    let entry = Builder::new(path).ino(inode).uid(0).gid(0).mtime(0).mode(node.permissions);
    let (entry, data) = match &node.content {
        Content::Folder => (entry.nlink(2).set_mode_file_type(ModeFileType::Directory), Vec::new()),
        Content::Bytes(bytes) => (entry.nlink(1).set_mode_file_type(ModeFileType::Regular), bytes.clone()),
        Content::FileOnHost(file) => {
            let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            (entry.nlink(1).set_mode_file_type(ModeFileType::Regular), bytes)
        }
        Content::Link(target) => (entry.nlink(1).set_mode_file_type(ModeFileType::Symlink), target.clone().into_bytes()),
        Content::CharacterDevice { major, minor } => {
            let device = entry.nlink(1).rdev_major(*major).rdev_minor(*minor);
            (device.set_mode_file_type(ModeFileType::Char), Vec::new())
        }
    };
    let Ok(len_bytes) = u32::try_from(data.len()) else { bail!("a cpio archive holds no file of 4 GiB or more") };
    let mut writer = entry.write(archive, len_bytes);
    writer.write_all(&data)?;
    Ok(writer.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// The entries of an archive: name, mode, contents.
    fn entries(archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut rest = archive;
        let mut found = Vec::new();
        loop {
            let mut reader = cpio::newc::Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                return found;
            }
            let mut contents = Vec::new();
            reader.read_to_end(&mut contents).unwrap();
            found.push((reader.entry().name().to_owned(), reader.entry().mode(), contents));
            rest = reader.finish().unwrap();
        }
    }

    #[test]
    fn folders_stand_before_their_files() {
        let mut image = Image::new();
        image.file("/a/b/c", 0o644, "text");
        let entries = entries(&image.to_cpio().unwrap());
        let place = |name: &str| entries.iter().position(|entry| entry.0 == name).unwrap();
        assert!(place("a") < place("a/b") && place("a/b") < place("a/b/c"));
        assert_eq!(entries[place("a/b/c")].2, b"text");
        assert_eq!(entries[place("a/b/c")].1, 0o100644);
        assert_eq!(entries[place("a/b")].1, 0o040755);
        assert_eq!(entries[place("dev/console")].1, 0o020600);
    }

    #[test]
    fn old_folders_land_in_usr() {
        let mut image = Image::new();
        image.file("./bin/tool", 0o755, "x").link("/sbin/other", "../bin/tool");
        let entries = entries(&image.to_cpio().unwrap());
        let of = |name: &str| entries.iter().find(|entry| entry.0 == name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(of("usr/bin/tool").1, 0o100755);
        assert_eq!(of("usr/sbin/other").2, b"../bin/tool");
        assert_eq!((of("bin").1, of("bin").2.as_slice()), (0o120777, b"usr/bin".as_slice()));
        assert!(!entries.iter().any(|entry| entry.0 == "bin/tool"));
    }

    #[test]
    fn a_host_tree_comes_with_its_permissions_and_links() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("usr/share/doc")).unwrap();
        std::fs::write(folder.path().join("usr/tool"), "tool").unwrap();
        std::fs::write(folder.path().join("usr/share/doc/readme"), "no").unwrap();
        std::fs::set_permissions(folder.path().join("usr/tool"), std::fs::Permissions::from_mode(0o4711)).unwrap();
        std::os::unix::fs::symlink("tool", folder.path().join("usr/alias")).unwrap();
        let mut image = Image::new();
        image.tree(folder.path(), &|path| !path.starts_with("usr/share/doc")).unwrap();
        let entries = entries(&image.to_cpio().unwrap());
        assert!(entries.iter().any(|entry| entry.0 == "usr/tool" && entry.1 == 0o104711 && entry.2 == b"tool"));
        assert!(entries.iter().any(|entry| entry.0 == "usr/alias" && entry.2 == b"tool"));
        assert!(!entries.iter().any(|entry| entry.0.contains("doc")));
    }

    #[test]
    fn the_same_tree_gives_the_same_bytes_and_gzip_keeps_them() {
        let image = Image::new();
        let archive = image.to_cpio().unwrap();
        assert_eq!(archive, Image::new().to_cpio().unwrap());
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(gzip(&archive).unwrap().as_slice()).read_to_end(&mut plain).unwrap();
        assert_eq!(plain, archive);
    }
}
