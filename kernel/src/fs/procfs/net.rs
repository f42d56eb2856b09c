//! `sysvipc`: tables of what is not there yet, with the headings that programs expect.

use crate::errno::Result;
use crate::fs::OpenFile;
use crate::fs::generated::{Entry, Text};
use crate::put_line;

/// `sysvipc`.
pub(super) static SYSVIPC: &[Entry] = &[Entry::file("msg", messages), Entry::file("sem", semaphores), Entry::file("shm", shared_memory)];

fn messages(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(
        text,
        "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime"
    );
    Ok(())
}

fn semaphores(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(text, "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime");
    Ok(())
}

fn shared_memory(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(
        text,
        "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap"
    );
    Ok(())
}
