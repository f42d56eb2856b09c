//! sysfs (`sysfs(5)`): as much of the device tree as programs look at. There is an instance for each network namespace, whose devices it
//! shows; all mounts made in one show the same.

use crate::dev::{ramdisk, registry};
use crate::errno::{Errno, Result};
use crate::fs::generated::{Entry, Policy, TableDirectory, Text, directory_links, make_inode};
use crate::fs::superblock::{ActiveSuperBlock, FileSystemStatistics, FileSystemType, MountRequest, SuperBlockOps};
use crate::fs::{FileType, OpenFile, SuperBlock, sysfs_network};
use crate::net::{self, NetworkNamespace};
use crate::put_line;
use crate::sync::{Once, SpinLock};
use crate::task::Capabilities;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::Ordering;
use linux_raw_sys::general::SYSFS_MAGIC;

static TOP: &[Entry] = &[
    Entry::directory("block", &[Entry::link("ram0", "../devices/virtual/block/ram0")]),
    Entry::directory(
        "bus",
        &[Entry::directory("cpu", &[Entry::directory("devices", &[Entry::link("cpu0", "../../../devices/system/cpu/cpu0")])])],
    ),
    Entry::directory("class", CLASSES),
    Entry::directory("dev", &[Entry::directory("block", BLOCK_NUMBERS), Entry::directory("char", CHARACTER_NUMBERS)]),
    Entry::directory("devices", DEVICES),
    Entry::directory("firmware", &[]),
    Entry::directory("fs", &[Entry::mount_point("cgroup"), Entry::directory("fuse", &[Entry::mount_point("connections")])]),
    Entry::directory("hypervisor", &[]),
    Entry::directory("kernel", KERNEL),
    Entry::directory("module", &[]),
    Entry::directory("power", &[]),
];

static CLASSES: &[Entry] = &[
    Entry::directory("block", &[Entry::link("ram0", "../../devices/virtual/block/ram0")]),
    Entry::directory("mem", MEMORY_LINKS),
    Entry::directory("net", sysfs_network::CLASS),
    Entry::directory("tty", TERMINAL_LINKS),
];

static MEMORY_LINKS: &[Entry] = &[
    Entry::link("full", "../../devices/virtual/mem/full"),
    Entry::link("kmsg", "../../devices/virtual/mem/kmsg"),
    Entry::link("null", "../../devices/virtual/mem/null"),
    Entry::link("random", "../../devices/virtual/mem/random"),
    Entry::link("urandom", "../../devices/virtual/mem/urandom"),
    Entry::link("zero", "../../devices/virtual/mem/zero"),
];

static TERMINAL_LINKS: &[Entry] = &[
    Entry::link("console", "../../devices/virtual/tty/console"),
    Entry::link("ptmx", "../../devices/virtual/tty/ptmx"),
    Entry::link("tty", "../../devices/virtual/tty/tty"),
    Entry::link("ttyS0", "../../devices/virtual/tty/ttyS0"),
];

static BLOCK_NUMBERS: &[Entry] = &[Entry::link("1:0", "../../devices/virtual/block/ram0")];

static CHARACTER_NUMBERS: &[Entry] = &[
    Entry::link("1:11", "../../devices/virtual/mem/kmsg"),
    Entry::link("1:3", "../../devices/virtual/mem/null"),
    Entry::link("1:5", "../../devices/virtual/mem/zero"),
    Entry::link("1:7", "../../devices/virtual/mem/full"),
    Entry::link("1:8", "../../devices/virtual/mem/random"),
    Entry::link("1:9", "../../devices/virtual/mem/urandom"),
    Entry::link("4:64", "../../devices/virtual/tty/ttyS0"),
    Entry::link("5:0", "../../devices/virtual/tty/tty"),
    Entry::link("5:1", "../../devices/virtual/tty/console"),
    Entry::link("5:2", "../../devices/virtual/tty/ptmx"),
];

static DEVICES: &[Entry] = &[
    Entry::directory("system", &[Entry::directory("cpu", PROCESSORS), Entry::directory("node", NODES)]),
    Entry::directory(
        "virtual",
        &[
            Entry::directory("block", &[Entry::directory("ram0", RAM_DISK)]),
            Entry::directory("mem", MEMORY_DEVICES),
            Entry::directory("net", sysfs_network::DEVICES),
            Entry::directory("tty", TERMINALS),
        ],
    ),
];

static PROCESSORS: &[Entry] = &[
    Entry::directory("cpu0", &[Entry::directory("topology", TOPOLOGY)]),
    Entry::file("isolated", |_, text| line(text, "")),
    Entry::file("kernel_max", |_, text| line(text, "0")),
    Entry::file("offline", |_, text| line(text, "")),
    Entry::file("online", |_, text| line(text, "0")),
    Entry::file("possible", |_, text| line(text, "0")),
    Entry::file("present", |_, text| line(text, "0")),
];

static TOPOLOGY: &[Entry] = &[
    Entry::file("core_cpus_list", |_, text| line(text, "0")),
    Entry::file("core_id", |_, text| line(text, "0")),
    Entry::file("core_siblings", |_, text| line(text, "1")),
    Entry::file("core_siblings_list", |_, text| line(text, "0")),
    Entry::file("physical_package_id", |_, text| line(text, "0")),
    Entry::file("thread_siblings", |_, text| line(text, "1")),
    Entry::file("thread_siblings_list", |_, text| line(text, "0")),
];

static NODES: &[Entry] = &[
    Entry::directory("node0", &[Entry::file("cpulist", |_, text| line(text, "0")), Entry::file("cpumap", |_, text| line(text, "1"))]),
    Entry::file("online", |_, text| line(text, "0")),
    Entry::file("possible", |_, text| line(text, "0")),
];

static RAM_DISK: &[Entry] = &[
    Entry::file("dev", |_, text| line(text, "1:0")),
    Entry::directory(
        "queue",
        &[
            Entry::file("hw_sector_size", |_, text| line(text, "512")),
            Entry::file("logical_block_size", |_, text| line(text, "512")),
            Entry::file("physical_block_size", |_, text| line(text, "4096")),
            Entry::file("rotational", |_, text| line(text, "0")),
        ],
    ),
    Entry::file("range", |_, text| line(text, "1")),
    Entry::file("removable", |_, text| line(text, "0")),
    Entry::file("ro", ram_disk_read_only),
    Entry::file("size", ram_disk_size),
    Entry::file("stat", ram_disk_traffic),
    Entry::link("subsystem", "../../../../class/block"),
    Entry::file("uevent", |_, text| line(text, "MAJOR=1\nMINOR=0\nDEVNAME=ram0\nDEVTYPE=disk")),
];

static MEMORY_DEVICES: &[Entry] = &[
    Entry::directory("full", &[Entry::file("dev", |_, text| line(text, "1:7"))]),
    Entry::directory("kmsg", &[Entry::file("dev", |_, text| line(text, "1:11"))]),
    Entry::directory("null", &[Entry::file("dev", |_, text| line(text, "1:3"))]),
    Entry::directory("random", &[Entry::file("dev", |_, text| line(text, "1:8"))]),
    Entry::directory("urandom", &[Entry::file("dev", |_, text| line(text, "1:9"))]),
    Entry::directory("zero", &[Entry::file("dev", |_, text| line(text, "1:5"))]),
];

static TERMINALS: &[Entry] = &[
    Entry::directory("console", &[Entry::file("active", |_, text| line(text, "ttyS0")), Entry::file("dev", |_, text| line(text, "5:1"))]),
    Entry::directory("ptmx", &[Entry::file("dev", |_, text| line(text, "5:2"))]),
    Entry::directory("tty", &[Entry::file("dev", |_, text| line(text, "5:0"))]),
    Entry::directory("ttyS0", &[Entry::file("dev", |_, text| line(text, "4:64"))]),
];

static KERNEL: &[Entry] = &[
    Entry::mount_point("debug"),
    Entry::directory("mm", &[Entry::directory("transparent_hugepage", HUGE_PAGES)]),
    Entry::mount_point("security"),
    Entry::mount_point("tracing"),
];

/// There are none, which is what these files say.
static HUGE_PAGES: &[Entry] = &[
    Entry::file("defrag", |_, text| line(text, "always defer defer+madvise madvise [never]")),
    Entry::file("enabled", |_, text| line(text, "always madvise [never]")),
    Entry::file("hpage_pmd_size", |_, text| line(text, "2097152")),
];

fn line(text: &mut Text, value: &str) -> Result<()> {
    put_line!(text, "{value}");
    Ok(())
}

fn ram_disk() -> Result<&'static Arc<ramdisk::Ramdisk>> {
    ramdisk::get(0).ok_or(Errno::NODEV)
}

fn ram_disk_size(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(text, "{}", ram_disk()?.size_bytes / ramdisk::SECTOR_SIZE_BYTES);
    Ok(())
}

fn ram_disk_read_only(_file: &OpenFile, text: &mut Text) -> Result<()> {
    put_line!(text, "{}", u8::from(ram_disk()?.is_read_only()));
    Ok(())
}

fn ram_disk_traffic(_file: &OpenFile, text: &mut Text) -> Result<()> {
    let traffic = &ram_disk()?.traffic;
    let [reads, read, writes, written] =
        [&traffic.reads, &traffic.sectors_read, &traffic.writes, &traffic.sectors_written].map(|count| count.load(Ordering::Relaxed));
    put_line!(text, "{reads:8} {:8} {read:8} {:8} {writes:8} {:8} {written:8} {:8} {:8} {:8} {:8}", 0, 0, 0, 0, 0, 0, 0);
    Ok(())
}

/// The type "sysfs".
pub struct SysFs;

/// The type, for `fs::registry`.
pub static TYPE: SysFs = SysFs;

/// The instance of the boot's namespace, held for the life of the kernel.
static INSTANCE: Once<ActiveSuperBlock> = Once::new();
/// The instances of other namespaces that are mounted, by the namespace's cookie.
static OTHERS: SpinLock<BTreeMap<u64, Weak<SuperBlock>>> = SpinLock::new(BTreeMap::new());

impl FileSystemType for SysFs {
    fn name(&self) -> &'static str {
        "sysfs"
    }

    fn user_mountable(&self) -> bool {
        true
    }

    fn check_option(&self, _key: &str, _value: Option<&[u8]>) -> Result<()> {
        Err(Errno::INVAL)
    }

    /// sysfs shows a network namespace: mounting it needs power over that.
    fn get_tree(&self, request: &MountRequest) -> Result<Arc<SuperBlock>> {
        let network = net::current();
        if !request.credentials.capable_in(Capabilities::SYS_ADMIN, &network.owner) {
            return Err(Errno::PERM);
        }
        if network.is_initial {
            return Ok(INSTANCE.call_once(|| ActiveSuperBlock::new(make(network))).superblock().clone());
        }
        let known = OTHERS.lock().get(&network.cookie).and_then(Weak::upgrade);
        if let Some(known) = known.filter(|known| known.root_dentry().is_some()) {
            return Ok(known);
        }
        let cookie = network.cookie;
        let made = make(network);
        let mut others = OTHERS.lock();
        others.retain(|_, other| other.strong_count() > 0);
        others.insert(cookie, Arc::downgrade(&made));
        Ok(made)
    }
}

fn make(network: Arc<NetworkNamespace>) -> Arc<SuperBlock> {
    let owner = network.owner.clone();
    let superblock = SuperBlock::new(&TYPE, 0, owner, None, Arc::new(SysFsSuper { network }));
    let top = make_inode(
        &superblock,
        ROOT_NUMBER,
        FileType::Directory,
        0o555,
        Arc::new(TableDirectory { entries: TOP, policy: Policy::Devices, is_mount_point: false }),
    );
    top.attributes.lock().links = directory_links(TOP);
    superblock.set_root(top);
    superblock
}

const ROOT_NUMBER: u64 = 1;

/// One instance.
pub(in crate::fs) struct SysFsSuper {
    /// Whose devices it shows.
    pub(in crate::fs) network: Arc<NetworkNamespace>,
}

impl SuperBlockOps for SysFsSuper {
    fn statistics(&self, _superblock: &SuperBlock) -> FileSystemStatistics {
        FileSystemStatistics {
            magic: u64::from(SYSFS_MAGIC),
            block_size_bytes: crate::mm::PAGE_SIZE_BYTES as u64,
            name_max_bytes: 255,
            ..Default::default()
        }
    }
}

/// The numbers above are those of the registry.
const _: () = assert!(registry::MEMORY_MAJOR == 1 && registry::TTY_MAJOR == 4 && registry::TTY_AUXILIARY_MAJOR == 5);
