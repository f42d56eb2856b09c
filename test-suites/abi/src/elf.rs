//! Tiny x86-64 programs, written byte by byte: the guest has no compiler, and broken ones must be broken exactly as meant.

/// Where [`Elf::exiting`] is loaded.
pub const BASE: u64 = 0x40_0000;
/// Bytes of the ELF header and one program header: where the code begins.
const CODE_OFFSET: u64 = 64 + 56;

/// An ELF executable as bytes, with its header fields open to damage.
#[derive(Clone, Debug)]
pub struct Elf(pub Vec<u8>);

impl Elf {
    /// An `ET_EXEC` program of one segment with this machine code.
    pub fn with_code(code: &[u8]) -> Self {
        Self::build(2, BASE, code)
    }

    /// An `ET_DYN` program (static-PIE) of one segment with this machine code.
    pub fn position_independent(code: &[u8]) -> Self {
        Self::build(3, 0, code)
    }

    /// A program that exits with `code` at once.
    pub fn exiting(code: u8) -> Self {
        Self::with_code(&exit_code(code))
    }

    /// A program that sleeps until a signal ends it.
    pub fn pausing() -> Self {
        // mov eax, SYS_pause; syscall; jmp to the start
        Self::with_code(&[0xb8, libc::SYS_pause as u8, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7])
    }

    fn build(kind: u16, base: u64, code: &[u8]) -> Self {
        let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let len_bytes = CODE_OFFSET + code.len() as u64;
        bytes.extend(kind.to_le_bytes());
        bytes.extend(62u16.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        for word in [base + CODE_OFFSET, 64, 0] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(0u32.to_le_bytes());
        for half in [64u16, 56, 1, 64, 0, 0] {
            bytes.extend(half.to_le_bytes());
        }
        // PT_LOAD, readable and executable.
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(5u32.to_le_bytes());
        for word in [0, base, base, len_bytes, len_bytes, 0x1000] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(code);
        Elf(bytes)
    }

    /// Replaces bytes at `offset`.
    pub fn patched(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Cuts the file to `len_bytes`.
    pub fn truncated(mut self, len_bytes: usize) -> Self {
        self.0.truncate(len_bytes);
        self
    }

    /// Writes it to `path`, executable.
    #[track_caller]
    pub fn install(&self, path: &str) {
        install(path, &self.0);
    }
}

/// Writes an executable file.
#[track_caller]
pub fn install(path: &str, content: impl AsRef<[u8]>) {
    use std::os::unix::fs::PermissionsExt;
    crate::world::write(path, content);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
}

/// Machine code of `exit_group(code)`.
pub fn exit_code(code: u8) -> Vec<u8> {
    // mov edi, code; mov eax, SYS_exit_group; syscall
    let mut machine_code = vec![0xbf, code, 0, 0, 0, 0xb8];
    machine_code.extend((libc::SYS_exit_group as u32).to_le_bytes());
    machine_code.extend([0x0f, 0x05]);
    machine_code
}

/// Executes `path` in a forked process with these arguments after `argv[0]` and gives how it ended; 111 stands for a failed
/// `execve`.
pub fn run(path: &str, arguments: &[&str]) -> crate::Status {
    crate::spawn(|| {
        let _ = execve(path, arguments);
        crate::child::exit_now(111);
    })
    .status()
}

/// `execve` with `argv[0]` = `path`; returns only on failure.
pub fn execve(path: &str, arguments: &[&str]) -> crate::Outcome {
    let path = crate::world::c(path);
    let arguments: Vec<_> = arguments.iter().map(|argument| crate::world::c(argument)).collect();
    let mut argv = vec![path.as_ptr()];
    argv.extend(arguments.iter().map(|argument| argument.as_ptr()));
    argv.push(std::ptr::null());
    let envp = [c"MARK=kept".as_ptr(), std::ptr::null()];
    crate::syscall!(SYS_execve, path.as_c_str(), argv.as_ptr(), envp.as_ptr())
}
