//! Where suites run: a guest of one of the kernels, or a private mount namespace of the host. Both run the same script over the
//! same programs, so that what they show is read in the same way.

use super::report::Tests;
use crate::boot::{Limits, Machine, Recording, Watcher, boot, watch};
use crate::guest::{CLOSING_LINE, host_image, script};
use crate::image::{Compression, Image};
use crate::kernel::Kernel;
use crate::packages::PackageCache;
use crate::progress::Progress;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The script that runs the programs in a folder.
const SCRIPT: &str = "tools/guest/run-suites.sh";

/// What a guest has of Debian's: the script's busybox, and a file system that the suite `posix` asks.
const PACKAGES: [&str; 2] = ["busybox-static", "fuse-overlayfs"];

/// A place to run suites in, ready.
pub struct Stage {
    workspace: Workspace,
    /// For people, and in the names of its image and logs.
    name: String,
    kind: Kind,
}

enum Kind {
    Guest { file: PathBuf, base: Image },
    Host,
}

impl Stage {
    /// A guest of `kernel`, which lies in `file`, under a name.
    pub fn guest(workspace: &Workspace, name: &str, kernel: Kernel, file: PathBuf, progress: &Progress) -> Result<Self> {
        let packages = PackageCache::open(workspace)?;
        let mut base = host_image(&packages, &PACKAGES, &|text| progress.say(text))?;
        base.file("init", 0o755, script(workspace, "tools/guest/suites-init.sh")?);
        base.file("run-suites", 0o755, script(workspace, SCRIPT)?);
        if kernel == Kernel::Linux {
            // Debian's kernel has overlayfs as a module only (FUSE is built in); init loads what lies here.
            let module = packages.linux_module("fs/overlayfs/overlay.ko", &|text| progress.say(text))?;
            base.file("modules/overlay.ko", 0o644, module);
        }
        Ok(Self { workspace: workspace.clone(), name: name.to_owned(), kind: Kind::Guest { file, base } })
    }

    /// The host, whatever its kernel is.
    pub fn host(workspace: &Workspace) -> Result<Self> {
        let probe = private_namespaces().arg("true").output().context("cannot run unshare")?;
        let words = String::from_utf8_lossy(&probe.stderr).trim().to_owned();
        anyhow::ensure!(probe.status.success(), "this machine gives us no private mount namespace, which takes root: {words}");
        Ok(Self { workspace: workspace.clone(), name: "host".to_owned(), kind: Kind::Host })
    }

    /// The name for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs the tests that are left; `all` if those are all. `attempt` numbers the logs.
    pub(super) fn run(&self, left: &[Tests], all: bool, attempt: usize, limits: Limits, watcher: &mut dyn Watcher) -> Result<Recording> {
        let closing = |line: &str| line.ends_with(CLOSING_LINE);
        let recording = match &self.kind {
            Kind::Guest { file, base } => {
                let initramfs = self.workspace.product(&format!("images/suites-{}.cpio", self.name))?;
                suite_image(base, left, all).write(&initramfs, Compression::None)?;
                let mut machine = Machine::new(file.clone(), Some(initramfs));
                machine.arguments = "quiet".to_owned();
                // The suites lie in memory twice while they are unpacked, and half of it at most may be files.
                machine.memory_mib = 1024;
                boot(&machine, limits, &closing, watcher)?
            }
            Kind::Host => {
                let folder = self.workspace.product("host-suites")?;
                fill_folder(&folder, left, all)?;
                let mut command = private_namespaces();
                // One pipe for both outputs, as one console has both: what a test says stands between its name and its verdict.
                command.args(["sh", "-c", "exec sh \"$0\" \"$1\" 2>&1"]).arg(self.workspace.source(SCRIPT)).arg(&folder);
                command.env("RUST_BACKTRACE", "0");
                watch(&mut command, limits, &closing, watcher).context("cannot run unshare")?
            }
        };
        self.workspace.keep_log(&format!("suites-{}-{attempt}", self.name), &recording.lines)?;
        Ok(recording)
    }
}

/// `unshare`, so that nothing of what the tests mount is seen outside, and nothing of what they start outlives them.
fn private_namespaces() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command
}

/// The base with the suites in it, and beside each its arguments.
fn suite_image(base: &Image, left: &[Tests], all: bool) -> Image {
    let mut image = base.clone();
    for tests in left {
        image.program(&format!("suites/{}", tests.suite.name), &tests.suite.program);
        for program in &tests.suite.programs {
            image.program(&program.to_string_lossy(), program);
        }
        image.file(&format!("suites/{}.arguments", tests.suite.name), 0o644, tests.arguments(all));
    }
    image
}

/// The same as a folder of the host.
fn fill_folder(folder: &Path, left: &[Tests], all: bool) -> Result<()> {
    let fill = || {
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        std::fs::create_dir_all(folder)?;
        for tests in left {
            symlink(&tests.suite.program, folder.join(&tests.suite.name))?;
            std::fs::write(folder.join(format!("{}.arguments", tests.suite.name)), tests.arguments(all))?;
        }
        Ok::<_, std::io::Error>(())
    };
    fill().with_context(|| format!("cannot fill the folder {}", folder.display()))
}
