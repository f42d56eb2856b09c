//! Who keeps a mount busy (U5): for the kernel's log, so that whoever reads "target is busy" can find out why.

use crate::fs::file::open_file_behind;
use crate::fs::{OpenFile, Path};
use crate::task::pid::PidNamespace;
use crate::task::{Process, Thread};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use graft::MountId;

/// What processes have in a mount, a line each: `process 214 (sleep): working directory`. O(threads, their descriptors and areas of
/// memory).
pub fn users_of(mount: MountId) -> Vec<String> {
    let is_there = |path: &Path| path.mount() == mount;
    let mut lines = Vec::new();
    for process in PidNamespace::initial().processes() {
        let mut uses = Vec::new();
        for thread in process.threads() {
            uses.extend(uses_of_thread(&thread, &is_there));
        }
        uses.extend(uses_of_memory(&process, &is_there));
        uses.sort();
        uses.dedup();
        let name = process.leader().map(|leader| String::from_utf8_lossy(&leader.name()).into_owned()).unwrap_or_default();
        lines.extend(uses.into_iter().map(|used| format!("process {} ({name}): {used}", process.pid)));
    }
    lines
}

fn uses_of_thread(thread: &Thread, is_there: &dyn Fn(&Path) -> bool) -> Vec<String> {
    let mut uses = Vec::new();
    if let Some(fs) = thread.try_fs() {
        if is_there(&fs.root()) {
            uses.push(String::from("root"));
        }
        if is_there(&fs.working_directory()) {
            uses.push(String::from("working directory"));
        }
    }
    if let Some(files) = thread.try_files() {
        let is_used = |fd: &i32| files.get(*fd).is_ok_and(|file| is_there(&file.path));
        uses.extend(files.open_numbers().into_iter().filter(is_used).map(|fd| format!("descriptor {fd}")));
    }
    uses
}

fn uses_of_memory(process: &Process, is_there: &dyn Fn(&Path) -> bool) -> Vec<String> {
    let mut uses = Vec::new();
    if process.executable().is_some_and(|file| is_there(&file.path)) {
        uses.push(String::from("program"));
    }
    if let Some(space) = process.address_space() {
        space.for_each_area(&mut |area| {
            let file: Option<&Arc<OpenFile>> = area.file.and_then(open_file_behind);
            if file.is_some_and(|file| is_there(&file.path)) {
                uses.push(String::from("mapped memory"));
            }
        });
    }
    uses
}
