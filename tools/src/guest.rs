//! Images for the purposes of this workspace, put together from Debian's packages and the scripts in `tools/guest`.

use crate::image::Image;
use crate::packages::{PackageCache, Unpacked, output_of};
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::path::Path;
use std::process::Command;

/// The line with which each of our guests says that it has done all it should.
pub const CLOSING_LINE: &str = "graft-tools: done";

/// What a guest needs no copy of: it would only make the image larger.
const UNWANTED: [&str; 8] = [
    "usr/share/doc/",
    "usr/share/man/",
    "usr/share/info/",
    "usr/share/locale/",
    "usr/share/lintian/",
    "usr/share/doc-base/",
    "usr/share/bash-completion/",
    "usr/share/perl5/",
];

/// An image with Debian's busybox in it, a link for each of its applets, and a few users' names.
pub fn busybox_image(packages: &PackageCache, progress: &dyn Fn(&str)) -> Result<Image> {
    let unpacked = packages.with_dependencies(&["busybox-static"], progress)?;
    let mut image = Image::new();
    add_packages(&mut image, &["busybox-static"], &unpacked)?;
    for applet in applets(&unpacked)? {
        // The program under the name `busybox` is there already.
        if applet != "busybox" {
            image.link(&format!("usr/bin/{applet}"), "busybox");
        }
    }
    add_users(&mut image);
    Ok(image)
}

/// An image with the named packages, the shared libraries that they depend on, and nothing of ours but the users' names.
pub fn package_image(packages: &PackageCache, names: &[&str], progress: &dyn Fn(&str)) -> Result<Image> {
    let unpacked = packages.with_dependencies(names, progress)?;
    let mut image = Image::new();
    add_packages(&mut image, names, &unpacked)?;
    add_users(&mut image);
    Ok(image)
}

/// An image with the named packages (busybox-static among them) that stands for a whole host: an applet of busybox for each
/// command that no package brings, and the names of two users beside root.
pub fn host_image(packages: &PackageCache, names: &[&str], progress: &dyn Fn(&str)) -> Result<Image> {
    let unpacked = packages.with_dependencies(names, progress)?;
    let mut image = Image::new();
    add_packages(&mut image, names, &unpacked)?;
    for applet in applets(&unpacked)? {
        if !["usr/bin", "usr/sbin"].iter().any(|folder| image.has(&format!("{folder}/{applet}"))) {
            image.link(&format!("usr/bin/{applet}"), "busybox");
        }
    }
    add_users(&mut image);
    Ok(image)
}

/// Reads a script of this package or of the test suites.
pub fn script(workspace: &Workspace, path: &str) -> Result<String> {
    let file = workspace.source(path);
    std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
}

fn add_users(image: &mut Image) {
    let users = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\nother:x:1001:1001::/:/bin/sh\n";
    image.file("etc/passwd", 0o644, format!("{users}nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"));
    image.file("etc/group", 0o644, "root:x:0:\ndaemon:x:1:\ntty:x:5:\nuser:x:1000:\nother:x:1001:\nnogroup:x:65534:\n");
}

/// The named packages whole; of the others the shared libraries and the loader.
fn add_packages(image: &mut Image, names: &[&str], unpacked: &[Unpacked]) -> Result<()> {
    for Unpacked { package, folder } in unpacked {
        let whole = names.contains(&package.name.as_str());
        image.tree(folder, &|path| {
            if whole { !UNWANTED.iter().any(|unwanted| path.starts_with(unwanted)) } else { is_shared_library(path) }
        })?;
    }
    Ok(())
}

/// Whether a path is that of a shared library or the loader, as against a plug-in in a folder of its own.
fn is_shared_library(path: &str) -> bool {
    let path = path.strip_prefix("usr/").unwrap_or(path);
    let Some((folder, name)) = path.rsplit_once('/') else {
        return false;
    };
    ["lib", "lib64", "lib/x86_64-linux-gnu"].contains(&folder) && name.contains(".so")
}

/// The applets that the unpacked busybox has, as it tells itself: it is a static program and runs on the host too.
fn applets(unpacked: &[Unpacked]) -> Result<Vec<String>> {
    let busybox = unpacked.iter().find(|one| one.package.name == "busybox-static").context("busybox-static is missing")?;
    let candidates = ["bin/busybox", "usr/bin/busybox"].map(|path| busybox.folder.join(path));
    let program: &Path = candidates.iter().find(|path| path.is_file()).context("busybox-static holds no busybox")?;
    Ok(output_of(Command::new(program).arg("--list"))?.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_libraries_come_along_from_dependencies() {
        assert!(is_shared_library("lib/x86_64-linux-gnu/libc.so.6"));
        assert!(is_shared_library("usr/lib/x86_64-linux-gnu/libgmp.so.10.4.1"));
        assert!(is_shared_library("lib64/ld-linux-x86-64.so.2"));
        assert!(!is_shared_library("usr/lib/x86_64-linux-gnu/gconv/UTF-16.so"));
        assert!(!is_shared_library("usr/bin/perl"));
        assert!(!is_shared_library("usr/share/doc/libc6/copyright"));
    }
}
