//! Mounting and serving: threads that read `/dev/fuse`, note what they read, and answer it.

use crate::tree::Tree;
use crate::wire::{Answer, OUT_HEADER, Request, message, op};
use abi::Outcome;
use abi::world::{self, mkdir};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Where tests mount.
pub const MOUNT: &str = "/tmp/m";
/// After so long something has gone wrong: the connection is ended, for who waits for an answer cannot be killed.
const PATIENCE: Duration = Duration::from_secs(12);

/// Runs a test in a process and a mount namespace of its own, with a tmpfs on `/tmp` and the empty directory [`MOUNT`].
pub fn in_world(body: impl FnOnce()) {
    abi::in_mount_namespace(|| {
        mkdir(MOUNT);
        body();
    });
}

/// Opens `/dev/fuse`.
pub fn device() -> File {
    world::open("/dev/fuse", libc::O_RDWR | libc::O_CLOEXEC).expect("/dev/fuse")
}

/// `mount(2)` with the required options for a device and `more` behind them (with its comma in front).
pub fn mount_device(device: &File, target: &str, more: &str) -> Outcome {
    mount_kind(device, target, "fuse", 0, more)
}

/// As [`mount_device`], with a type and flags.
pub fn mount_kind(device: &File, target: &str, kind: &str, flags: u64, more: &str) -> Outcome {
    let data = format!("fd={},rootmode=40000,user_id=0,group_id=0{more}", device.as_raw_fd());
    world::mount("server", target, kind, flags, &data)
}

/// Answers some requests instead of the tree.
type Hook = Box<dyn FnMut(&Request) -> Answer + Send>;

struct Shared {
    tree: Mutex<Tree>,
    log: Mutex<Vec<Request>>,
    news: Condvar,
    hooks: Mutex<Vec<(u32, Hook)>>,
    ended: AtomicBool,
}

/// How a file system is served.
pub struct Setup {
    /// What it holds and how it answers.
    pub tree: Tree,
    /// Mount options behind the required ones, each with its comma in front.
    pub options: String,
    /// `MS_*`.
    pub flags: u64,
    /// Threads that serve; more than one have a device each.
    pub threads: usize,
    /// Where it is mounted.
    pub target: &'static str,
    hooks: Vec<(u32, Hook)>,
}

impl Default for Setup {
    fn default() -> Self {
        Self { tree: Tree::default(), options: String::new(), flags: 0, threads: 1, target: MOUNT, hooks: Vec::new() }
    }
}

impl Setup {
    /// Changes the tree.
    pub fn tree(mut self, change: impl FnOnce(&mut Tree)) -> Self {
        change(&mut self.tree);
        self
    }

    /// Adds mount options.
    pub fn options(mut self, options: &str) -> Self {
        self.options.push_str(options);
        self
    }

    /// Sets mount flags.
    pub fn flags(mut self, flags: u64) -> Self {
        self.flags = flags;
        self
    }

    /// Serves with so many threads.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Answers an operation from the start.
    pub fn on(mut self, opcode: u32, hook: impl FnMut(&Request) -> Answer + Send + 'static) -> Self {
        self.hooks.push((opcode, Box::new(hook)));
        self
    }

    /// Mounts and serves.
    pub fn serve(self) -> Fs {
        let device = Arc::new(device());
        mount_kind(&device, self.target, "fuse", self.flags, &self.options).expect("mount");
        let shared = Arc::new(Shared {
            tree: Mutex::new(self.tree),
            log: Mutex::new(Vec::new()),
            news: Condvar::new(),
            hooks: Mutex::new(self.hooks),
            ended: AtomicBool::new(false),
        });
        let mut threads = Vec::new();
        for index in 0..self.threads {
            let own = if index == 0 { device.clone() } else { Arc::new(clone_device(&device)) };
            let shared = shared.clone();
            threads.push(thread::spawn(move || serve(&own, &shared)));
        }
        let (watched, target) = (shared.clone(), self.target);
        thread::spawn(move || watch(&watched, target));
        Fs { device, shared, threads, target }
    }
}

/// Joins the connection of a device with another descriptor.
pub fn clone_device(of: &File) -> File {
    let clone = device();
    clone_into(&clone, of.as_raw_fd()).expect("FUSE_DEV_IOC_CLONE");
    clone
}

/// `FUSE_DEV_IOC_CLONE`.
pub fn clone_into(clone: &File, number: i32) -> Outcome {
    let number = number as u32;
    abi::syscall!(SYS_ioctl, clone.as_raw_fd(), 0x8004_e500u64, &raw const number)
}

/// Room for any request that these servers agree to.
const REQUEST_ROOM_BYTES: usize = 2 << 20;

/// Reads one request.
pub fn read_request(device: &File) -> std::io::Result<Request> {
    read_request_into(device, &mut vec![0; REQUEST_ROOM_BYTES])
}

/// As [`read_request`], into a buffer that is used again: mapping and clearing it anew costs far more than the request.
fn read_request_into(mut device: &File, buffer: &mut [u8]) -> std::io::Result<Request> {
    let len = device.read(buffer)?;
    Ok(Request::parse(&buffer[..len]))
}

fn serve(device: &File, shared: &Shared) {
    let mut buffer = vec![0; REQUEST_ROOM_BYTES];
    loop {
        let request = match read_request_into(device, &mut buffer) {
            Ok(request) => request,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) || error.kind() == std::io::ErrorKind::Interrupted => continue,
            // ENODEV: the end.
            Err(_) => return,
        };
        let answer = {
            let mut hooks = shared.hooks.lock().expect("hooks");
            let hook = hooks.iter_mut().rev().find(|(opcode, _)| *opcode == request.opcode);
            hook.map_or(Answer::AsTree, |(_, hook)| hook(&request))
        };
        let answer = match answer {
            Answer::AsTree => shared.tree.lock().expect("the tree").answer(&request),
            other => Some(other),
        };
        {
            shared.log.lock().expect("the log").push(request.clone());
            shared.news.notify_all();
        }
        if let Some(answer) = answer {
            send(device, request.unique, answer);
        }
    }
}

fn send(device: &File, unique: u64, answer: Answer) {
    let bytes = match answer {
        Answer::Data(body) => message(unique, 0, &body),
        Answer::Error(errno) => message(unique, -errno, &[]),
        Answer::Raw(bytes) => bytes,
        Answer::Never | Answer::AsTree => return,
    };
    // The caller may have gone meanwhile, or the answer may be a lie: the tests look at what the kernel does of it.
    let _ = (&*device).write_all(&bytes);
}

/// Ends the connection if the test does not end.
fn watch(shared: &Shared, target: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !shared.ended.load(Ordering::Relaxed) {
        if Instant::now() > deadline {
            eprintln!("the test took more than {PATIENCE:?}: its connection is ended");
            let _ = world::umount(target, libc::MNT_FORCE | libc::MNT_DETACH);
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// A file system that is mounted and served; unmounted when dropped.
pub struct Fs {
    /// The first device.
    pub device: Arc<File>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    target: &'static str,
}

impl Fs {
    /// An empty one, served by one thread.
    pub fn new() -> Self {
        Setup::default().serve()
    }

    /// One with these files.
    pub fn with(change: impl FnOnce(&mut Tree)) -> Self {
        Setup::default().tree(change).serve()
    }

    /// Looks at the tree or changes it, as somebody on the server's side would.
    pub fn tree<T>(&self, change: impl FnOnce(&mut Tree) -> T) -> T {
        change(&mut self.shared.tree.lock().expect("the tree"))
    }

    /// From now on answers an operation like this.
    pub fn on(&self, opcode: u32, hook: impl FnMut(&Request) -> Answer + Send + 'static) {
        self.shared.hooks.lock().expect("hooks").push((opcode, Box::new(hook)));
    }

    /// From now on answers an operation with an error.
    pub fn fails(&self, opcode: u32, errno: i32) {
        self.on(opcode, move |_| Answer::Error(errno));
    }

    /// How often an operation was asked for.
    pub fn count(&self, opcode: u32) -> usize {
        self.shared.log.lock().expect("the log").iter().filter(|request| request.opcode == opcode).count()
    }

    /// All requests of an operation.
    pub fn requests(&self, opcode: u32) -> Vec<Request> {
        let log = self.shared.log.lock().expect("the log");
        log.iter().filter(|request| request.opcode == opcode).cloned().collect()
    }

    /// The last request of an operation.
    #[track_caller]
    pub fn last(&self, opcode: u32) -> Request {
        self.requests(opcode).pop().unwrap_or_else(|| panic!("operation {opcode} was not asked for"))
    }

    /// Forgets what was asked.
    pub fn clear(&self) {
        self.shared.log.lock().expect("the log").clear();
    }

    /// Waits until an operation was asked for so often.
    #[track_caller]
    pub fn wait_for(&self, opcode: u32, count: usize) {
        let log = self.shared.log.lock().expect("the log");
        let enough = |log: &mut Vec<Request>| log.iter().filter(|request| request.opcode == opcode).count() < count;
        let (_log, waited) = self.shared.news.wait_timeout_while(log, Duration::from_secs(5), enough).expect("the log");
        assert!(!waited.timed_out(), "operation {opcode} is not asked for");
    }

    /// Writes a notification: the errno of the write.
    pub fn notify(&self, code: i32, body: &[u8]) -> std::io::Result<usize> {
        let bytes = message(0, code, body);
        debug_assert!(bytes.len() >= OUT_HEADER);
        (&*self.device).write(&bytes)
    }

    /// Answers a request by hand.
    pub fn answer(&self, unique: u64, error: i32, body: &[u8]) -> std::io::Result<usize> {
        (&*self.device).write(&message(unique, error, body))
    }

    /// Unmounts and waits for the server's threads.
    pub fn unmount(mut self) {
        world::umount(self.target, 0).expect("umount");
        self.join();
    }

    fn join(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }

    /// Waits until INIT is answered, which the first request after it shows.
    pub fn ready(&self) {
        let _ = std::fs::metadata(self.target);
        self.wait_for(op::INIT, 1);
        self.clear();
    }
}

impl Default for Fs {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Fs {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            // A test may have unmounted it, or left something open in it.
            let _ = world::umount(self.target, libc::MNT_FORCE | libc::MNT_DETACH);
            self.join();
        }
    }
}
