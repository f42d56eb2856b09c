//! `/proc/PID/mounts`, `mountinfo` and `mountstats` as open files (W1, W11, W12).

use crate::errno::{Errno, Result};
use crate::fs::{FileOps, OpenFile, Path, PollEvents, PollTable, mount};
use crate::mm::IoBuffer;
use crate::task::SleepMutex;
use crate::task::namespaces::MountNamespace;
use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicU64, Ordering};
use graft::views::{Cursor, Table};

/// Opens a table of `namespace` as seen from `root`. Both stay what they are, whatever the task does later, and stay alive (N8).
pub fn open(namespace: Arc<MountNamespace>, root: Path, table: Table) -> Arc<dyn FileOps> {
    let seen = AtomicU64::new(events(&namespace));
    Arc::new(MountTable { namespace, root, table, seen, reader: SleepMutex::new(Reader::default()) })
}

fn events(namespace: &MountNamespace) -> u64 {
    mount::forest().read().events(namespace.id).unwrap_or(0)
}

struct MountTable {
    namespace: Arc<MountNamespace>,
    root: Path,
    table: Table,
    /// The event counter when it was last reported.
    seen: AtomicU64,
    reader: SleepMutex<Reader>,
}

/// Where a reader in pieces is. Lines are made one by one as they are read: what is mounted all along is read exactly once.
#[derive(Default)]
struct Reader {
    /// The offset in the file up to which was read.
    offset: u64,
    cursor: Cursor,
    /// What is left of the line that is being read.
    rest: Vec<u8>,
}

impl MountTable {
    /// The next line; empty at the end.
    fn next_line(&self, cursor: &mut Cursor) -> Result<Vec<u8>> {
        let root = mount::place(&self.root);
        let mut line = Vec::new();
        let forest = mount::forest().read();
        forest.write_next_line(self.table, self.namespace.id, &root, cursor, &mut line).map_err(|_| Errno::NOMEM)?;
        Ok(line)
    }

    /// Goes to an offset that is not where the last read ended, by making the lines before it anew.
    fn go_to(&self, reader: &mut Reader, offset: u64) -> Result<()> {
        *reader = Reader::default();
        while reader.offset < offset {
            let line = self.next_line(&mut reader.cursor)?;
            if line.is_empty() {
                reader.offset = offset;
                break;
            }
            let skipped = usize::try_from(offset - reader.offset).map_or(line.len(), |skip| skip.min(line.len()));
            reader.offset += skipped as u64;
            reader.rest = line[skipped..].to_vec();
        }
        Ok(())
    }
}

impl FileOps for MountTable {
    fn read(&self, _file: &OpenFile, buffer: &mut IoBuffer<'_>, offset: u64) -> Result<usize> {
        let mut reader = self.reader.lock();
        if offset == 0 || offset != reader.offset {
            self.go_to(&mut reader, offset)?;
        }
        let mut total = 0;
        while buffer.remaining() > 0 {
            if reader.rest.is_empty() {
                reader.rest = self.next_line(&mut reader.cursor)?;
                if reader.rest.is_empty() {
                    break;
                }
            }
            let wanted = reader.rest.len().min(buffer.remaining());
            let moved = match buffer.put(&reader.rest[..wanted]) {
                Ok(moved) => moved,
                Err(error) if total == 0 => return Err(error),
                Err(_) => break,
            };
            reader.rest.drain(..moved);
            reader.offset += moved as u64;
            total += moved;
            if moved < wanted {
                break;
            }
        }
        Ok(total)
    }

    /// The poll itself takes the event: a second one finds none (W12). `mountstats` reports none.
    fn poll(&self, _file: &OpenFile, table: &mut PollTable<'_>) -> PollEvents {
        let always = PollEvents::READABLE;
        if self.table == Table::Mountstats {
            return always | PollEvents::WRITABLE;
        }
        table.watch(mount::changes());
        let now = events(&self.namespace);
        if self.seen.swap(now, Ordering::AcqRel) == now { always } else { always | PollEvents::ERR | PollEvents::PRI }
    }

    fn pollable(&self) -> bool {
        self.table != Table::Mountstats
    }
}
