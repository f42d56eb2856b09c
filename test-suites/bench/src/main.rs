//! What operations on mounts cost. Run in a guest that counts instructions (`-icount shift=0,sleep=off`), once on each kernel; each row
//! is printed as `row NAME SIZE INSTRUCTIONS`, for one unit of the operation, and the host program makes the table of ratios.
//!
//! `mount-bench LARGEST-SIZE [PART-OF-A-ROW'S-NAME]`: sizes are 10, 100, … up to the largest.
//!
//! A new row is a call of [`Meter::row`] in the module of its subject: the row's name, its size (1 if it has none), how many units one
//! operation does, the operation, and what undoes it. The host program takes any name. What a kernel lacks gives no row: the program asks
//! first, and prints nothing.

mod calls;
mod fuse;
mod meter;
mod receivers;
mod single;
mod tree;

use meter::Meter;
use std::io::Result;
use std::process::ExitCode;

/// The directory that everything happens below: a tmpfs of its own.
const TOP: &str = "/tmp/bench";
/// More namespaces than this are not made: each holds a copy of all mounts.
const MOST_NAMESPACES: usize = 10_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let largest = arguments.get(1).and_then(|text| text.parse().ok()).unwrap_or(1000);
    match run(largest, arguments.get(2).cloned()) {
        Ok(()) => {
            println!("bench ended");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("mount-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(largest: usize, wanted: Option<String>) -> Result<()> {
    calls::unshare_mounts()?;
    calls::mount("none", "/", "", libc::MS_REC | libc::MS_PRIVATE)?;
    std::fs::create_dir_all(TOP)?;
    calls::mount("bench", TOP, "tmpfs", 0)?;
    std::fs::write("/proc/sys/fs/mount-max", "1000000")?;
    std::fs::write("/proc/sys/user/max_mnt_namespaces", (2 * MOST_NAMESPACES).to_string())?;
    calls::allow_open_files(MOST_NAMESPACES + 100)?;
    let meter = Meter::new(wanted)?;
    single::measure(&meter)?;
    fuse::measure(&meter)?;
    for size in std::iter::successors(Some(10), |size| Some(size * 10)).take_while(|&size| size <= largest) {
        tree::measure(&meter, size)?;
        receivers::measure(&meter, "peers", size, libc::MS_SHARED)?;
        receivers::measure(&meter, "slaves", size, libc::MS_SLAVE)?;
        if size <= MOST_NAMESPACES {
            receivers::measure_namespaces(&meter, size)?;
        }
    }
    std::fs::write("/proc/sys/fs/mount-max", "100000")?;
    calls::umount(TOP, libc::MNT_DETACH)
}

fn directory(name: &str) -> Result<String> {
    let path = format!("{TOP}/{name}");
    std::fs::create_dir_all(&path)?;
    Ok(path)
}

/// An operation many times over.
fn repeat(count: usize, mut operation: impl FnMut() -> Result<()>) -> impl FnMut() -> Result<()> {
    move || (0..count).try_for_each(|_| operation())
}

/// For operations that leave nothing to be undone.
fn nothing() -> Result<()> {
    Ok(())
}
