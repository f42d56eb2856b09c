//! `/proc/sysvipc`: what there is in the reader's namespace, for `ipcs(1)`.

use super::{messages, semaphores, shared_memory};
use crate::errno::Result;
use crate::fs::OpenFile;
use crate::fs::generated::Text;
use crate::put_line;
use crate::task::current;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// `/proc/sysvipc/msg`.
pub fn put_messages(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(
        text,
        "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime"
    );
    let queues: Vec<Arc<messages::MessageQueue>> = current().namespaces().ipc.messages.lock().all().cloned().collect();
    for queue in queues {
        let messages::Status { header, messages, bytes, sent_s, received_s, last_sender, last_receiver, .. } = queue.status();
        let [uid, gid, creator_uid, creator_gid] = header.shown_ids();
        put_line!(
            text,
            "{:10} {:10}  {:4o}  {bytes:10} {messages:10} {last_sender:5} {last_receiver:5} {uid:5} {gid:5} {creator_uid:5} {creator_gid:5} \
             {sent_s:10} {received_s:10} {:10}",
            header.key,
            header.id,
            header.mode,
            header.changed_s
        );
    }
    Ok(())
}

/// `/proc/sysvipc/sem`.
pub fn put_semaphores(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(text, "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime");
    let sets: Vec<Arc<semaphores::SemaphoreSet>> = current().namespaces().ipc.semaphores.lock().all().cloned().collect();
    for set in sets {
        let semaphores::Status { header, size, operated_s } = set.status();
        let [uid, gid, creator_uid, creator_gid] = header.shown_ids();
        put_line!(
            text,
            "{:10} {:10}  {:4o} {size:10} {uid:5} {gid:5} {creator_uid:5} {creator_gid:5} {operated_s:10} {:10}",
            header.key,
            header.id,
            header.mode,
            header.changed_s
        );
    }
    Ok(())
}

/// `/proc/sysvipc/shm`.
pub fn put_shared_memory(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(
        text,
        "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime  \
         {:>20} {:>21}",
        "rss",
        "swap"
    );
    let segments: Vec<Arc<shared_memory::Segment>> = current().namespaces().ipc.shared_memory.lock().all().cloned().collect();
    for segment in segments {
        let status = segment.status();
        let [uid, gid, creator_uid, creator_gid] = status.header.shown_ids();
        put_line!(
            text,
            "{:10} {:10}  {:4o} {:21} {:5} {:5}  {:5} {uid:5} {gid:5} {creator_uid:5} {creator_gid:5} {:10} {:10} {:10} {:21} {:21}",
            status.header.key,
            status.header.id,
            status.header.mode,
            status.size_bytes,
            status.maker,
            status.last,
            status.attachments,
            status.attached_s,
            status.detached_s,
            status.header.changed_s,
            status.resident_bytes,
            0
        );
    }
    Ok(())
}
