//! What a file costs that a program serves: calls through `passthrough` of `user/fuse-volumes`, as it is, in a process of its own.
//!
//! Its entries and attributes live for 5 seconds, so that `fuse-stat` asks it almost never; `fuse-getattr` asks it each time.

use crate::calls;
use crate::meter::Meter;
use crate::{directory, nothing, repeat};
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Error, Read, Result, Write};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};

/// The server's program, to be found by `PATH`.
const PASSTHROUGH: &str = "passthrough";
/// Bytes of the file that is read and written from front to back.
const BIG_BYTES: usize = 64 << 20;
/// Bytes of one read(2) or write(2) of it.
const PIECE_BYTES: usize = 128 << 10;
/// Entries of the directory that is listed.
const ENTRIES: usize = 10_000;
/// Bytes of the small file.
const SMALL_BYTES: usize = 4096;

/// The rows: for others nothing is made.
const STAT: &str = "fuse-stat";
const GETATTR: &str = "fuse-getattr";
const OPEN_READ_CLOSE: &str = "fuse-open-read-close";
const READ: &str = "fuse-read-sequential";
const WRITE: &str = "fuse-write-sequential";
const READDIR: &str = "fuse-readdir";

/// A server that mounts on `directory` and shows what is in `below`. Its mount goes with it.
struct Server {
    process: Child,
    directory: String,
}

impl Server {
    fn start(below: &str, directory: &str) -> Result<Self> {
        let arguments = ["--privileged", "--rootdir", below, "--mountpoint", directory];
        let mut process = Command::new(PASSTHROUGH).args(arguments).stdout(Stdio::piped()).spawn()?;
        let output = process.stdout.take().ok_or_else(|| Error::other("the server has no output"))?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        if line.starts_with("serving ") {
            return Ok(Self { process, directory: directory.to_owned() });
        }
        process.wait()?;
        Err(Error::other(format!("{PASSTHROUGH} ended before it served")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server ends when its file system is gone.
        let _ = calls::umount(&self.directory, libc::MNT_DETACH);
        let _ = self.process.wait();
    }
}

pub(crate) fn measure(meter: &Meter) -> Result<()> {
    let rows = [STAT, GETATTR, OPEN_READ_CLOSE, READ, WRITE, READDIR];
    if !rows.iter().any(|row| meter.wants(row)) || File::open("/dev/fuse").is_err() {
        return Ok(());
    }
    let (below, mount) = (directory("fuse-below")?, directory("fuse")?);
    std::fs::write(format!("{below}/small"), vec![7; SMALL_BYTES])?;
    if meter.wants(READ) || meter.wants(WRITE) {
        std::fs::write(format!("{below}/big"), vec![7; BIG_BYTES])?;
    }
    if meter.wants(READDIR) {
        std::fs::create_dir(format!("{below}/many"))?;
        for number in 0..ENTRIES {
            File::create(format!("{below}/many/a-file-with-number-{number}"))?;
        }
    }
    let server = Server::start(&below, &mount)?;
    let (small, big, many) = (format!("{mount}/small"), format!("{mount}/big"), format!("{mount}/many"));
    let small_path = CString::new(small.as_str())?;
    meter.row(STAT, 1, 500, repeat(500, || calls::stat(&small_path)), nothing)?;
    let open = File::open(&small)?;
    meter.row(GETATTR, 1, 500, repeat(500, || calls::stat_asking_the_server(&open)), nothing)?;
    let mut page = [0; SMALL_BYTES];
    let open_and_read = repeat(300, || File::open(&small)?.read_exact_at(&mut page, 0));
    meter.row(OPEN_READ_CLOSE, SMALL_BYTES, 300, open_and_read, nothing)?;
    let mut piece = vec![0; PIECE_BYTES];
    meter.row(READ, BIG_BYTES, 1, || read_all(&big, &mut piece), nothing)?;
    meter.row(WRITE, BIG_BYTES, 1, || write_all(&big, &piece), nothing)?;
    meter.row(READDIR, ENTRIES, 1, || list(&many), nothing)?;
    drop(open);
    drop(server);
    std::fs::remove_dir_all(&below)
}

/// A fresh open drops what the page cache holds: everything comes from the server.
fn read_all(path: &str, piece: &mut [u8]) -> Result<()> {
    let mut file = File::open(path)?;
    for _ in 0..BIG_BYTES / PIECE_BYTES {
        file.read_exact(piece)?;
    }
    Ok(())
}

fn write_all(path: &str, piece: &[u8]) -> Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    (0..BIG_BYTES / PIECE_BYTES).try_for_each(|_| file.write_all(piece))
}

fn list(path: &str) -> Result<()> {
    match std::fs::read_dir(path)?.count() {
        ENTRIES => Ok(()),
        count => Err(Error::other(format!("{count} entries"))),
    }
}
