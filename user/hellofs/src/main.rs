//! The program: `hellofs DIR` mounts and serves, `hellofs --umount DIR` cleans up behind a server that died.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match hellofs::run(&hellofs::Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hellofs: {error:#}");
            ExitCode::FAILURE
        }
    }
}
