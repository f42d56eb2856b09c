//! `overlayfs_example --mountpoint M --upperdir U --lowerdir L… [--bind target:source[:options]]…`: layers as one tree.

use anyhow::Result;
use clap::Parser;
use common::Common;
use fuse_volumes::serve::{Content, Settings, run};
use std::path::PathBuf;

mod common;

/// Shows directories over each other as one tree through FUSE, with bind mounts in the upper one.
#[derive(Debug, Parser)]
#[command(name = "overlayfs_example")]
struct Arguments {
    /// The layer that takes the changes.
    #[arg(long)]
    upperdir: PathBuf,
    /// The layers below, topmost first. May be repeated.
    #[arg(long, required = true)]
    lowerdir: Vec<PathBuf>,
    #[command(flatten)]
    common: Common,
}

fn main() -> Result<()> {
    let Arguments { upperdir, lowerdir, common } = Arguments::parse();
    run(Settings { content: Content::Overlay { upper: upperdir, lowers: lowerdir }, ..common.settings() })
}
