//! Debian packages as a source of programs for the guest: resolved and downloaded through apt, unpacked below
//! `target/cache`, never installed and never committed.
//!
//! A package is unpacked into a folder named after its version, so a second run finds it there and asks nobody.

use crate::workspace::{Workspace, create_folder};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The packages that may hold Linux 6.12, the one that the comparisons are held against, in order of preference.
const LINUX_PACKAGES: [&str; 2] = ["linux-image-6.12-cloud-amd64", "linux-image-cloud-amd64"];

/// Packages that stand in for others which no guest needs: without `usr-is-merged`, perl would come along.
const STAND_INS: [&str; 1] = ["usr-is-merged"];

/// One version of one Debian package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// The name that apt knows it by.
    pub name: String,
    /// The whole version, with epoch and revision.
    pub version: String,
    /// The architecture part of the file name: `amd64` or `all`.
    pub architecture: String,
}

impl Package {
    /// Reads the name of an archive as apt writes it, `name_version_architecture.deb` with `%3a` for a colon.
    fn from_file_name(file_name: &str) -> Option<Self> {
        let stem = file_name.strip_suffix(".deb")?.replace("%3a", ":").replace("%2b", "+");
        let mut parts = stem.split('_');
        let package = Self { name: parts.next()?.to_owned(), version: parts.next()?.to_owned(), architecture: parts.next()?.to_owned() };
        parts.next().is_none().then_some(package)
    }

    /// The name of the archive as `apt-get download` writes it.
    fn file_name(&self) -> String {
        format!("{}_{}_{}.deb", self.name, self.version.replace(':', "%3a"), self.architecture)
    }

    /// The name of the folder that it is unpacked into.
    fn folder_name(&self) -> String {
        format!("{}_{}", self.name, self.version.replace(':', "%3a"))
    }
}

/// A package together with the folder that it was unpacked into.
#[derive(Debug, Clone)]
pub struct Unpacked {
    /// Which package it is.
    pub package: Package,
    /// The folder that holds its files, as they would lie below `/`.
    pub folder: PathBuf,
}

/// The packages that were downloaded and unpacked before, and the way to more.
#[derive(Debug)]
pub struct PackageCache {
    folder: PathBuf,
}

impl PackageCache {
    /// Opens the cache of a workspace.
    pub fn open(workspace: &Workspace) -> Result<Self> {
        Ok(Self { folder: workspace.folder("cache")? })
    }

    /// The named packages and all that they depend on, unpacked.
    ///
    /// `progress` is told what is being done, for a person who waits.
    pub fn with_dependencies(&self, names: &[&str], progress: &dyn Fn(&str)) -> Result<Vec<Unpacked>> {
        let packages = self.resolve(names, progress)?;
        self.download(&packages, progress)?;
        packages.into_iter().map(|package| self.unpack(package, progress)).collect()
    }

    /// The file of a real Linux kernel that QEMU boots, and the version of its package.
    pub fn linux_kernel(&self, progress: &dyn Fn(&str)) -> Result<(PathBuf, String)> {
        let package = self.resolve_linux(progress)?;
        self.download(std::slice::from_ref(&package), progress)?;
        let unpacked = self.unpack(package, progress)?;
        let boot = unpacked.folder.join("boot");
        let entries = std::fs::read_dir(&boot)
            .with_context(|| format!("{} holds no boot folder: remove it and try again", unpacked.folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz")) {
                return Ok((path, unpacked.package.version));
            }
        }
        bail!("{} holds no vmlinuz: remove {} and try again", boot.display(), unpacked.folder.display())
    }

    /// A module of the real Linux kernel, decompressed, by its path below the kernel's `modules/<version>/kernel`, without `.xz`.
    pub fn linux_module(&self, path: &str, progress: &dyn Fn(&str)) -> Result<Vec<u8>> {
        let package = self.resolve_linux(progress)?;
        self.download(std::slice::from_ref(&package), progress)?;
        let folder = self.unpack(package, progress)?.folder.join("lib/modules");
        let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
        for entry in entries {
            let file = entry?.path().join("kernel").join(format!("{path}.xz"));
            if file.is_file() {
                let output = Command::new("xz").args(["--decompress", "--stdout"]).arg(&file).output().context("cannot run xz")?;
                if !output.status.success() {
                    bail!("xz cannot decompress {}", file.display());
                }
                return Ok(output.stdout);
            }
        }
        bail!("{} holds no {path}.xz", folder.display())
    }

    /// Finds the versions that apt would install on an empty system.
    ///
    /// The answer is kept, and holds until the package lists of the machine change.
    fn resolve(&self, names: &[&str], progress: &dyn Fn(&str)) -> Result<Vec<Package>> {
        let key = names.join("+");
        self.remembered(&key, || {
            progress(&format!("asking apt what {} need", names.join(", ")));
            let status = self.folder.join("empty-status");
            std::fs::write(&status, "").with_context(|| format!("cannot write {}", status.display()))?;
            let mut command = Command::new("apt-get");
            command.args(["--print-uris", "--yes", "--no-install-recommends", "-o", "Debug::NoLocking=1", "-o"]);
            command.arg(format!("Dir::State::status={}", status.display()));
            command.arg("install").args(names).args(STAND_INS);
            let printed = output_of(&mut command).context(
                "apt does not know the packages for the guest: run `apt-get update` (as root), and see that \
                 /etc/apt/sources.list names Debian's main archive",
            )?;
            Ok(packages_in(&printed).into_iter().filter(|package| !STAND_INS.contains(&package.name.as_str())).collect())
        })
    }

    /// Finds the package that holds Linux 6.12 itself: the named ones only depend on it.
    fn resolve_linux(&self, progress: &dyn Fn(&str)) -> Result<Package> {
        let packages = self.remembered("linux", || {
            progress("asking apt for Linux 6.12");
            for name in LINUX_PACKAGES {
                let Ok(depends) = output_of(Command::new("apt-cache").args(["depends", name])) else { continue };
                let versioned = depends
                    .lines()
                    .filter_map(|line| line.trim().strip_prefix("Depends: "))
                    .find(|dependency| dependency.starts_with("linux-image-6.12"));
                if let Some(versioned) = versioned {
                    let printed = output_of(Command::new("apt-get").args(["--print-uris", "download", versioned]))?;
                    return Ok(packages_in(&printed));
                }
            }
            bail!(
                "apt knows none of {}: run `apt-get update` (as root), and see that apt's sources name the archive \
                 of Debian 12 (with its security updates) or 13",
                LINUX_PACKAGES.join(", ")
            )
        })?;
        packages.into_iter().next().context("apt named no file for Linux 6.12: run `apt-get update`")
    }

    /// The answer kept under `key`, or the one that `ask` gives, which is then kept.
    fn remembered(&self, key: &str, ask: impl FnOnce() -> Result<Vec<Package>>) -> Result<Vec<Package>> {
        let folder = self.folder.join("resolved");
        create_folder(&folder)?;
        let file = folder.join(key);
        let lists_stamp = package_lists_stamp();
        if let Ok(kept) = std::fs::read_to_string(&file)
            && let Some((stamp, names)) = kept.split_once('\n')
            && (lists_stamp.is_empty() || stamp == lists_stamp)
        {
            return Ok(names.lines().filter_map(Package::from_file_name).collect());
        }
        let packages = ask()?;
        if packages.is_empty() {
            bail!("apt named no package for {key}: run `apt-get update` (as root) and try again");
        }
        let names: Vec<String> = packages.iter().map(Package::file_name).collect();
        std::fs::write(&file, format!("{lists_stamp}\n{}\n", names.join("\n")))
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(packages)
    }

    /// Downloads those of the packages that are not in the cache yet.
    fn download(&self, packages: &[Package], progress: &dyn Fn(&str)) -> Result<()> {
        let archives = self.folder.join("archives");
        create_folder(&archives)?;
        let missing: Vec<&Package> = packages
            .iter()
            .filter(|package| !self.unpacked_folder(package).is_dir() && !archives.join(package.file_name()).is_file())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = missing.iter().map(|package| package.name.as_str()).collect();
        progress(&format!("downloading {}", names.join(", ")));
        let mut command = Command::new("apt-get");
        // As root, apt would download as a user that cannot write here.
        command.args(["-q", "-o", "APT::Sandbox::User=root", "download"]).current_dir(&archives);
        command.args(missing.iter().map(|package| format!("{}={}", package.name, package.version)));
        output_of(&mut command).context("the download failed: see that the network is there, run `apt-get update` (as root), try again")?;
        Ok(())
    }

    /// Unpacks a downloaded package, unless that was done before.
    fn unpack(&self, package: Package, progress: &dyn Fn(&str)) -> Result<Unpacked> {
        let folder = self.unpacked_folder(&package);
        if !folder.is_dir() {
            progress(&format!("unpacking {}", package.name));
            let archive = self.folder.join("archives").join(package.file_name());
            // Unpacked beside and then renamed, so that an interrupted run leaves nothing half there.
            let partial = folder.with_extension("partial");
            if partial.exists() {
                std::fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))?;
            }
            create_folder(&partial)?;
            output_of(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&partial))
                .with_context(|| format!("{} is damaged: remove it and try again", archive.display()))?;
            std::fs::rename(&partial, &folder).with_context(|| format!("cannot create {}", folder.display()))?;
            std::fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))?;
        }
        Ok(Unpacked { package, folder })
    }

    fn unpacked_folder(&self, package: &Package) -> PathBuf {
        self.folder.join("unpacked").join(package.folder_name())
    }
}

/// The archives in what `apt-get --print-uris` prints: `'URI' FILE_NAME SIZE HASH`, a line each.
fn packages_in(printed: &str) -> Vec<Package> {
    let lines = printed.lines().filter(|line| line.starts_with('\''));
    let packages: BTreeSet<Package> = lines.filter_map(|line| line.split_whitespace().nth(1)).filter_map(Package::from_file_name).collect();
    packages.into_iter().collect()
}

/// Changes whenever `apt-get update` brought something new; empty on a machine without package lists.
fn package_lists_stamp() -> String {
    let modified = std::fs::metadata(Path::new("/var/lib/apt/lists")).and_then(|metadata| metadata.modified());
    let since_epoch = modified.ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    since_epoch.map(|time| time.as_nanos().to_string()).unwrap_or_default()
}

/// Runs a command to its end and gives what it printed; its complaints are in the error if it failed.
pub fn output_of(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .env("LC_ALL", "C")
        .output()
        .with_context(|| format!("cannot run {program}: run `tools/setup.sh`, which installs what is missing"))?;
    if !output.status.success() {
        bail!("{program} failed ({}):\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archive_names_are_read_and_written() {
        let package = Package::from_file_name("gawk_1%3a5.2.1-2_amd64.deb").unwrap();
        assert_eq!((package.name.as_str(), package.version.as_str()), ("gawk", "1:5.2.1-2"));
        assert_eq!(package.file_name(), "gawk_1%3a5.2.1-2_amd64.deb");
        assert_eq!(Package::from_file_name("Packages.xz"), None);
        assert_eq!(Package::from_file_name("a_b_c_d.deb"), None);
    }

    #[test]
    fn only_uri_lines_name_packages() {
        let printed = "Reading package lists...\nThe following NEW packages will be installed:\n  sed\n\
            'http://deb.debian.org/debian/pool/main/s/sed/sed_4.9-1%2bdeb12u1_amd64.deb' sed_4.9-1+deb12u1_amd64.deb 329092 MD5Sum:0\n";
        let packages = packages_in(printed);
        assert_eq!(packages.len(), 1);
        assert_eq!(packages[0].version, "4.9-1+deb12u1");
    }
}
