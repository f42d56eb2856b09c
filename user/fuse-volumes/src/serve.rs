//! The life of a server: clean up behind a former one, make the binds, mount, wait, unmount, undo.

use crate::bind::{BindMount, check_distinct};
use crate::journal::{Deed, Journal};
use crate::kernel_binds::{KernelBinds, check};
use crate::layers::{Mounting, mount, overlay, passthrough};
use crate::namespace;
use crate::target::{is_directory, open_or_make, open_path};
use crate::user_binds::Volumes;
use anyhow::{Context, Result, bail, ensure};
use asyncfuse::raw::{Filesystem, MountHandle};
use clap::ValueEnum;
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::MountTable;
use tokio::signal::unix::{SignalKind, signal};

/// Who makes the binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BindMode {
    /// The kernel, where the server is: needs CAP_SYS_ADMIN.
    Kernel,
    /// The kernel, in a user and mount namespace of the server's own: the file system is seen only from within.
    Namespace,
    /// The server itself: no mount is made for a bind.
    User,
}

/// What is shown.
#[derive(Debug, Clone)]
pub enum Content {
    /// A directory as it is.
    Passthrough {
        /// The directory.
        root: PathBuf,
    },
    /// Layers over each other.
    Overlay {
        /// Takes the changes.
        upper: PathBuf,
        /// Topmost first.
        lowers: Vec<PathBuf>,
    },
}

/// All that a server is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What is shown.
    pub content: Content,
    /// Where: an empty directory.
    pub mountpoint: PathBuf,
    /// The binds, in order: a later one may lie inside an earlier one.
    pub binds: Vec<BindMount>,
    /// Who makes them; `None`: the kernel where that is allowed, else in a namespace, else the server.
    pub mode: Option<BindMode>,
    /// By mount(2); otherwise by fusermount3(1).
    pub privileged: bool,
    /// Let other users in.
    pub allow_other: bool,
    /// The mapping of ids.
    pub mapping: Option<String>,
    /// The source that mountinfo shows.
    pub name: Option<String>,
}

impl Content {
    /// Where the targets of binds are: the directory, or the upper layer.
    fn root(&self) -> &Path {
        match self {
            Self::Passthrough { root } => root,
            Self::Overlay { upper, .. } => upper,
        }
    }

    fn lowers(&self) -> &[PathBuf] {
        match self {
            Self::Passthrough { .. } => &[],
            Self::Overlay { lowers, .. } => lowers,
        }
    }
}

/// Serves until the file system is unmounted, by SIGINT, SIGTERM or somebody else. Must be called before any other thread
/// runs, because it may enter a namespace.
///
/// # Errors
/// When anything cannot be done; nothing is left behind then.
pub fn run(mut settings: Settings) -> Result<()> {
    settings.mountpoint = checked_mountpoint(&settings.mountpoint)?;
    let canonical = |path: &Path| path.canonicalize().with_context(|| format!("cannot find {}", path.display()));
    settings.content = match settings.content {
        Content::Passthrough { root } => Content::Passthrough { root: canonical(&root)? },
        Content::Overlay { upper, lowers } => {
            Content::Overlay { upper: canonical(&upper)?, lowers: lowers.iter().map(|lower| canonical(lower)).collect::<Result<_>>()? }
        }
    };
    check_distinct(&settings.binds)?;
    let mode = choose_mode(&settings)?;
    let (root, lowers) = (settings.content.root().to_owned(), settings.content.lowers().to_vec());
    let journal = Journal::open(&settings.mountpoint)?;
    let mut binds = match mode {
        BindMode::Kernel | BindMode::Namespace => KernelBinds::make(&root, &lowers, &settings.binds, journal)?,
        BindMode::User => make_targets(&root, &lowers, &settings.binds, journal)?,
    };
    // The mount point again: a dead server's mount was in the way of looking, and is gone by now.
    let empty = settings.mountpoint.read_dir().map(|mut entries| entries.next().is_none());
    ensure!(
        empty.with_context(|| format!("reading {}", settings.mountpoint.display()))?,
        "{} is in use: it is not empty",
        settings.mountpoint.display()
    );
    binds.journal().enter(Deed::Served(settings.mountpoint.clone()))?;
    let runtime = tokio::runtime::Runtime::new().context("starting threads")?;
    let served = runtime.block_on(serve(&settings, mode));
    runtime.shutdown_background();
    let undone = binds.undo().context("cleaning up");
    served.and(undone)
}

/// The mount point's absolute path, without asking a file system there, whose server may be dead.
fn checked_mountpoint(asked: &Path) -> Result<PathBuf> {
    let (parent, name) = match (asked.parent(), asked.file_name()) {
        (Some(parent), Some(name)) => (if parent == Path::new("") { Path::new(".") } else { parent }, name),
        _ => bail!("{} cannot be a mountpoint: name a directory below one", asked.display()),
    };
    let parent = parent.canonicalize().with_context(|| format!("cannot find {}", parent.display()))?;
    let mountpoint = parent.join(name);
    // Not stat: the kernel may remember a dead server's answer to that.
    match rustix::fs::statfs(&mountpoint).map(drop) {
        // A dead server's: it is cleaned up below.
        Err(Errno::NOTCONN | Errno::CONNABORTED) => Ok(mountpoint),
        Err(error) => bail!("{}: {error}; make the directory first", mountpoint.display()),
        Ok(()) if MountTable::own().is_ok_and(|table| table.at(&mountpoint).is_some()) => {
            bail!("{} is in use: something is mounted there; `umount {0}` it, or take another directory", mountpoint.display())
        }
        Ok(()) => Ok(mountpoint),
    }
}

/// Chooses who makes the binds, and enters the namespace if one is needed.
fn choose_mode(settings: &Settings) -> Result<BindMode> {
    let mode = match settings.mode {
        Some(BindMode::Namespace) => {
            namespace::enter()?;
            BindMode::Namespace
        }
        Some(mode) => mode,
        None if settings.binds.is_empty() || namespace::may_mount() => BindMode::Kernel,
        None => match namespace::enter() {
            Ok(()) => BindMode::Namespace,
            Err(error) => {
                eprintln!("no namespace to be had ({error:#}): the server itself answers for the binds");
                BindMode::User
            }
        },
    };
    if mode == BindMode::Namespace {
        println!(
            "the file system is seen only in the server's namespaces; enter them with: nsenter -t {} -U -m --preserve-credentials",
            std::process::id()
        );
    }
    Ok(mode)
}

/// For binds without mounts: checks them and makes the names that are missing, no more.
fn make_targets(root: &Path, lowers: &[PathBuf], binds: &[BindMount], journal: Journal) -> Result<KernelBinds> {
    let mut made = KernelBinds::make(root, lowers, &[], journal)?;
    check(root, lowers, binds)?;
    for bind in binds {
        // A name inside an earlier bind belongs into that one's source.
        let around = binds.iter().take_while(|other| *other != bind).filter(|other| bind.target.starts_with(&other.target));
        if around.count() > 0 {
            continue;
        }
        let there = lowers.iter().any(|lower| open_path(lower).is_ok_and(|lower| found(&lower, &bind.target)));
        if !there {
            open_or_make(open_path(root)?, &bind.target, is_directory(open_path(&bind.source)?)?, made.journal())?;
        }
    }
    Ok(made)
}

fn found(root: &std::os::fd::OwnedFd, target: &Path) -> bool {
    matches!(crate::target::find(root, target), Ok(crate::target::Found::Whole(_)))
}

async fn serve(settings: &Settings, mode: BindMode) -> Result<()> {
    let mapping = settings.mapping.as_deref();
    let mounting = Mounting {
        // In a namespace of one's own there is the privilege, and fusermount3 would mount in the other one.
        privileged: settings.privileged || mode == BindMode::Namespace,
        allow_other: settings.allow_other,
        name: settings.name.clone(),
    };
    let point = &settings.mountpoint;
    // Before the mount, so that no signal finds it without a way to end.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut handle = match &settings.content {
        Content::Passthrough { root } => mount_volumes(passthrough(root, mapping).await?, mode, settings, &mounting).await?,
        Content::Overlay { upper, lowers } => {
            mount_volumes(overlay(point, upper, lowers, mapping).await?, mode, settings, &mounting).await?
        }
    };
    println!("serving {} on {} with {} binds; Ctrl-C unmounts", settings.content.root().display(), point.display(), settings.binds.len());
    tokio::select! {
        ended = &mut handle => return ended.context("serving /dev/fuse"),
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    unmount(point, mounting.privileged)?;
    // Who is still inside is served to the end; a second signal ends it for them too.
    tokio::select! {
        ended = &mut handle => ended.context("serving /dev/fuse"),
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

/// Each bind is a layer of its own, whoever made it: an overlay would merge it with what is below, and a layer of libfuse-fs takes
/// two files for one that have the same number and time of birth, though they lie in different file systems.
async fn mount_volumes<B>(base: B, mode: BindMode, settings: &Settings, mounting: &Mounting) -> Result<MountHandle>
where
    B: Filesystem + Send + Sync + 'static,
{
    let (binds, mapping) = (&settings.binds, settings.mapping.as_deref());
    let volumes = match mode {
        BindMode::User => Volumes::new(base, binds, mapping).await?,
        BindMode::Kernel | BindMode::Namespace => Volumes::over_kernel_binds(base, settings.content.root(), binds, mapping).await?,
    };
    mount(volumes, &settings.mountpoint, mounting).await
}

/// Unmounts; a busy file system is detached, and who holds it is told.
fn unmount(mountpoint: &Path, privileged: bool) -> Result<()> {
    let path = mountpoint.display();
    let plain = |flags: UnmountFlags| match rustix::mount::unmount(mountpoint, flags | UnmountFlags::NOFOLLOW) {
        // Unmounted by somebody else meanwhile.
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(true),
        Err(Errno::BUSY) => Ok(false),
        Err(error) => bail!("umount2(\"{path}\"): {error}"),
    };
    let by_fusermount = |flag: &str| -> Result<bool> {
        let status = Command::new("fusermount3").args([flag, "--"]).arg(mountpoint).status().context("running fusermount3")?;
        Ok(status.success())
    };
    let ended = if privileged { plain(UnmountFlags::empty())? } else { by_fusermount("-u")? };
    if ended {
        return Ok(());
    }
    eprintln!("{path} is busy: it is detached now, and ends with its last user");
    for holder in holders::of(mountpoint).unwrap_or_default() {
        eprintln!("  {holder}");
    }
    let detached = if privileged { plain(UnmountFlags::DETACH)? } else { by_fusermount("-uz")? };
    ensure!(detached, "{path} cannot be detached");
    Ok(())
}
