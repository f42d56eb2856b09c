//! `net` of a task, and `sysvipc`: tables of what is not there yet, with the headings that programs expect; the sockets of Unix are.

use crate::errno::Result;
use crate::fs::OpenFile;
use crate::fs::generated::{Entry, Policy, TableDirectory, Text};
use crate::put_line;

static ENTRIES: &[Entry] = &[
    Entry::file("arp", arp),
    Entry::file("dev", devices),
    Entry::file("if_inet6", empty),
    Entry::file("netlink", netlink),
    Entry::file("packet", packet),
    Entry::file("protocols", protocols),
    Entry::file("raw", sockets),
    Entry::file("raw6", sockets6),
    Entry::file("route", route),
    Entry::file("snmp", empty),
    Entry::file("sockstat", socket_statistics),
    Entry::file("tcp", sockets),
    Entry::file("tcp6", sockets6),
    Entry::file("udp", sockets),
    Entry::file("udp6", sockets6),
    Entry::file("unix", unix),
];

/// `sysvipc`.
pub(super) static SYSVIPC: &[Entry] = &[Entry::file("msg", messages), Entry::file("sem", semaphores), Entry::file("shm", shared_memory)];

/// The directory of a task.
pub(super) fn directory() -> TableDirectory {
    TableDirectory { entries: ENTRIES, policy: Policy::Ordinary }
}

fn empty(_file: &OpenFile, _text: &mut Text) -> Result<()> {
    Ok(())
}

fn arp(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(text, "IP address       HW type     Flags       HW address            Mask     Device");
    Ok(())
}

/// Of devices there is only the loopback.
fn devices(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(text, "Inter-|   Receive                                                |  Transmit");
    put_line!(
        text,
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed"
    );
    put_line!(
        text,
        "    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0"
    );
    Ok(())
}

fn netlink(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(text, "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode");
    Ok(())
}

fn packet(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(text, "sk               RefCnt Type Proto  Iface R Rmem   User   Inode");
    Ok(())
}

fn protocols(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(text, "protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs se re bi br ha uh gp em");
    Ok(())
}

fn route(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(text, "{:<127}", "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT");
    Ok(())
}

fn sockets(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(text, "{:<149}", "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode");
    Ok(())
}

fn sockets6(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(
        text,
        "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
    );
    Ok(())
}

fn socket_statistics(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(text, "sockets: used 0\nTCP: inuse 0 orphan 0 tw 0 alloc 0 mem 0\nUDP: inuse 0 mem 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0");
    Ok(())
}

fn unix(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(text, "Num       RefCount Protocol Flags    Type St Inode Path");
    let _ = crate::fs::socket::unix::list(text);
    Ok(())
}

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
