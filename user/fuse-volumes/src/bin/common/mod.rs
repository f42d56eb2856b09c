//! The options that both programs have.

use clap::Args;
use fuse_volumes::BindMount;
use fuse_volumes::serve::{BindMode, Content, Settings};
use std::path::PathBuf;

/// Mountpoint, binds, and how to mount.
#[derive(Debug, Args)]
pub struct Common {
    /// Where to mount: an empty directory.
    #[arg(long)]
    mountpoint: PathBuf,
    /// TARGET:SOURCE[:OPTIONS], TARGET relative to the root, SOURCE an absolute path of the host; options ro, rec, nosuid,
    /// nodev, noexec and one of [r]private, [r]slave (the default is slave), [r]shared. May be repeated.
    #[arg(long = "bind", value_name = "TARGET:SOURCE[:OPTIONS]", value_parser = bind)]
    binds: Vec<BindMount>,
    /// Who makes the binds; by default the kernel where that is allowed, else in a namespace, else the server.
    #[arg(long, value_enum)]
    bind_mode: Option<BindMode>,
    /// Mount by mount(2); otherwise by fusermount3(1).
    #[arg(long)]
    privileged: bool,
    /// Let other users in.
    #[arg(long)]
    allow_other: bool,
    /// Map ids: uidmapping=HOST:TO:COUNT[,gidmapping=…].
    #[arg(long)]
    mapping: Option<String>,
    /// The source that mountinfo shows.
    #[arg(long)]
    name: Option<String>,
}

/// Reads a bind; what is wrong with it is told to the end, where clap would stop at the outermost words.
fn bind(text: &str) -> Result<BindMount, String> {
    text.parse().map_err(|error| format!("{error:#}"))
}

impl Common {
    /// As settings, but for what is shown.
    pub fn settings(self) -> Settings {
        Settings {
            content: Content::Passthrough { root: PathBuf::new() },
            mountpoint: self.mountpoint,
            binds: self.binds,
            mode: self.bind_mode,
            privileged: self.privileged,
            allow_other: self.allow_other,
            mapping: self.mapping,
            name: self.name,
        }
    }
}
