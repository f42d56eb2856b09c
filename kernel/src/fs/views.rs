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

/// At most so much is made at once: the forest's lock is held meanwhile.
const PIECE_BYTES: usize = 4096;

/// Where a reader in pieces is. Lines are made as they are read: what is mounted all along is read exactly once.
#[derive(Default)]
struct Reader {
    /// The offset in the file up to which was read.
    offset: u64,
    cursor: Cursor,
    /// Whole lines, of which the first `taken_bytes` were read.
    lines: Vec<u8>,
    taken_bytes: usize,
}

impl Reader {
    /// What was made and not yet read.
    fn rest(&self) -> &[u8] {
        self.lines.get(self.taken_bytes..).unwrap_or_default()
    }

    fn take(&mut self, len_bytes: usize) {
        self.taken_bytes += len_bytes;
        self.offset += len_bytes as u64;
    }
}

impl MountTable {
    /// Makes lines until there are `wanted_bytes`, if there is no rest of earlier ones. None are there at the end.
    fn make_lines(&self, reader: &mut Reader, wanted_bytes: usize) -> Result<()> {
        if !reader.rest().is_empty() {
            return Ok(());
        }
        reader.lines.clear();
        reader.taken_bytes = 0;
        let root = mount::place(&self.root);
        let enough_bytes = wanted_bytes.min(PIECE_BYTES);
        let forest = mount::forest().read();
        let made = forest.write_lines(self.table, self.namespace.id, &root, &mut reader.cursor, enough_bytes, &mut reader.lines);
        made.map(drop).map_err(|_| Errno::NOMEM)
    }

    /// Goes to an offset that is not where the last read ended, by making the lines before it anew.
    fn go_to(&self, reader: &mut Reader, offset: u64) -> Result<()> {
        *reader = Reader::default();
        while reader.offset < offset {
            let left = usize::try_from(offset - reader.offset).unwrap_or(usize::MAX);
            self.make_lines(reader, left)?;
            let skipped = left.min(reader.rest().len());
            if skipped == 0 {
                reader.offset = offset;
                break;
            }
            reader.take(skipped);
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
            self.make_lines(&mut reader, buffer.remaining())?;
            let wanted = reader.rest().len().min(buffer.remaining());
            if wanted == 0 {
                break;
            }
            let moved = match buffer.put(&reader.rest()[..wanted]) {
                Ok(moved) => moved,
                Err(error) if total == 0 => return Err(error),
                Err(_) => break,
            };
            reader.take(moved);
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
