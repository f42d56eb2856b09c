//! `passthrough --rootdir R --mountpoint M [--bind target:source[:options]]…`: shows R at M, with binds in it.

use anyhow::Result;
use clap::Parser;
use common::Common;
use fuse_volumes::serve::{Content, Settings, run};
use std::path::PathBuf;

mod common;

/// Shows a directory somewhere else through FUSE, with bind mounts in it.
#[derive(Debug, Parser)]
#[command(name = "passthrough")]
struct Arguments {
    /// The directory to show.
    #[arg(long)]
    rootdir: PathBuf,
    #[command(flatten)]
    common: Common,
}

fn main() -> Result<()> {
    let Arguments { rootdir, common } = Arguments::parse();
    run(Settings { content: Content::Passthrough { root: rootdir }, ..common.settings() })
}
