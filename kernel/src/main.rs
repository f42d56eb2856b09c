//! The Graft kernel: Linux's ABI on x86-64 around the mount subsystem [`graft`].
#![no_std]
#![no_main]

extern crate alloc;

mod arch;
mod bpf;
mod dev;
mod errno;
mod fs;
mod ipc;
mod keys;
mod mm;
mod net;
mod sync;
mod syscall;
mod task;
mod time;

use alloc::sync::Arc;
use arch::{command_line, start_info};

/// Where `arch::boot` arrives, in long mode on the boot stack, with the physical address of the PVH start info.
extern "C" fn main(start_info: u64) -> ! {
    dev::serial::init();
    dev::kmsg::init();
    arch::init_early(start_info);
    mm::frame::init(start_info::information());
    let line = command_line::command_line();
    dev::kmsg::set_console_level(line.log_level);
    arch::init_devices();
    time::clock::init();
    time::timer::init();
    time::vdso::init().unwrap_or_else(|error| panic!("no memory for the vDSO: {error:?}"));
    dev::serial::enable_receiving();
    log::info!("Graft kernel {}", env!("CARGO_PKG_VERSION"));
    log::info!("Command line: {}", alloc::string::String::from_utf8_lossy(command_line::text()));
    let memory = mm::frame::statistics();
    log::info!("Memory: {}K/{}K available", memory.free_pages * 4, memory.total_pages * 4);
    dev::init();
    fs::init();
    let credentials = Arc::new(task::Credentials::initial());
    let (root, mounts) = fs::mount::init(credentials).unwrap_or_else(|error| panic!("the rootfs cannot be mounted: {error:?}"));
    task::init::start(root, mounts, prepare_root)
}

/// Fills the rootfs from the initramfs, whose memory is free afterwards.
fn prepare_root() {
    let thread = task::current();
    let root = thread.fs().root();
    let start = fs::walk::Start { root, directory: None, credentials: thread.credentials() };
    if let Err(error) = fs::initramfs::make_default_nodes(&start) {
        log::error!("/dev/console and /root cannot be made: {error:?}");
    }
    fs::initramfs::unpack(mm::frame::initramfs(start_info::information()), &start);
    // SAFETY: the slice given to `unpack` above is gone, and a kernel has one initramfs.
    unsafe { mm::frame::free_initramfs(start_info::information()) };
}
