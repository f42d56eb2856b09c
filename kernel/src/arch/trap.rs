//! Into user mode and back: the trap area, the entry stubs, and [`UserContext::run`].
//!
//! A program is interrupted straight into its [`UserContext`]: the task state's `rsp0` points at the end of the context's trap area, so
//! that the processor's own pushes and the stub's fill it. Only then is the kernel stack taken up, just where `run` left it.
//!
//! A fault in the kernel itself is a bug and ends in a panic. An interrupt in the kernel comes only while it idles; it is noted, and the
//! idle loop deals with it after.

use super::descriptors::{self, KERNEL_CODE, USER_CODE, USER_DATA};
use super::interrupts;
use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use x86_64::VirtAddr;
use x86_64::registers::model_specific::{FsBase, GsBase, KernelGsBase};

/// The first vector of device interrupts.
pub const FIRST_INTERRUPT: u8 = 0x20;
/// The last one that has a gate.
pub const LAST_INTERRUPT: u8 = 0x2f;
/// Stands in for a vector in the trap area when a system call was made.
const SYSCALL_VECTOR: u64 = 0x100;
/// First address outside of the lower canonical half: entering user mode there would fault in the kernel.
const FIRST_NON_CANONICAL: u64 = 1 << 47;

/// The flags that a program may hold as it likes: CF PF AF ZF SF TF DF OF RF NT AC ID.
const USER_FLAGS: u64 = 0x0025_4dd5;
/// Always set: reserved bit 1 and IF.
const FIXED_FLAGS: u64 = 0x202;
const TRAP_FLAG: u64 = 0x100;
const RESUME_FLAG: u64 = 0x1_0000;

/// The general registers, in the order of Linux's `struct pt_regs`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
#[allow(missing_docs)]
pub struct GeneralRegisters {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
}

/// Bytes of the x87 and SSE part, which `FXSAVE` writes and `XSAVE` begins with.
pub const LEGACY_STATE_BYTES: usize = 512;
/// Bytes of the whole in XSAVE's standard form: legacy part, header, upper halves of the AVX registers.
pub const FLOATING_POINT_BYTES: usize = LEGACY_STATE_BYTES + 64 + 256;
/// The state components that programs may use (XCR0): x87, SSE, AVX.
pub const STATE_COMPONENTS: u64 = 7;

/// x87, MMX, SSE and AVX registers as `XSAVE` lays them out (Intel SDM volume 1, 13.4); without AVX only the first
/// [`LEGACY_STATE_BYTES`] count.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct FloatingPoint(pub [u8; FLOATING_POINT_BYTES]);

/// Offset of MXCSR in [`FloatingPoint`].
const MXCSR: usize = 24;

/// Whether the processor has XSAVE and AVX, and programs may use them. Set once at boot, read by the entry code.
static SAVES_EXTENDED: AtomicBool = AtomicBool::new(false);

/// Whether [`FloatingPoint`] is used whole.
pub fn saves_extended_state() -> bool {
    SAVES_EXTENDED.load(Ordering::Relaxed)
}

/// Lets programs use AVX where the processor has it: they test CPUID, and some only its AVX bit.
fn enable_extended_state() {
    use x86_64::registers::control::{Cr4, Cr4Flags};
    use x86_64::registers::xcontrol::{XCr0, XCr0Flags};
    /// `CPUID.1:ECX`: XSAVE and AVX.
    const NEEDED: u32 = 1 << 26 | 1 << 28;
    if core::arch::x86_64::__cpuid(1).ecx & NEEDED != NEEDED {
        return;
    }
    // SAFETY: the processor has XSAVE; the entry code saves every component that is enabled here.
    unsafe {
        Cr4::update(|flags| flags.insert(Cr4Flags::OSXSAVE));
        XCr0::write(XCr0Flags::X87 | XCr0Flags::SSE | XCr0Flags::AVX);
    }
    SAVES_EXTENDED.store(true, Ordering::Relaxed);
}

impl FloatingPoint {
    /// The state at `execve`: all exceptions masked, registers empty (System V ABI).
    pub const fn new() -> Self {
        let mut bytes = [0; FLOATING_POINT_BYTES];
        bytes[0] = 0x7f;
        bytes[1] = 0x03;
        bytes[MXCSR] = 0x80;
        bytes[MXCSR + 1] = 0x1f;
        // XSTATE_BV: x87 and SSE are as given above, AVX in its initial state.
        bytes[LEGACY_STATE_BYTES] = 0b011;
        Self(bytes)
    }

    /// Takes out what `FXRSTOR` or `XRSTOR` would fault on (the area may come from a signal frame that the program wrote): reserved
    /// bits of MXCSR, components that are not enabled, and everything else in the header.
    fn sanitize(&mut self) {
        self.0[MXCSR + 2] = 0;
        self.0[MXCSR + 3] = 0;
        let header = &mut self.0[LEGACY_STATE_BYTES..LEGACY_STATE_BYTES + 64];
        header[0] &= STATE_COMPONENTS as u8;
        header[1..].fill(0);
    }
}

impl Default for FloatingPoint {
    fn default() -> Self {
        Self::new()
    }
}

/// All of a thread's user state. Any value may stand in any field: [`Self::run`] makes it harmless.
#[derive(Clone, Default)]
#[repr(C, align(64))]
pub struct UserContext {
    /// General registers.
    pub registers: GeneralRegisters,
    vector: u64,
    error: u64,
    /// Next instruction.
    pub rip: u64,
    code_segment: u64,
    /// Flags.
    pub rflags: u64,
    /// Stack pointer.
    pub rsp: u64,
    stack_segment: u64,
    kernel_rsp: u64,
    /// Base of `fs` (thread-local storage).
    pub fs_base: u64,
    /// Base of `gs`.
    pub gs_base: u64,
    reserved: u64,
    /// x87 and SSE registers.
    pub floating_point: FloatingPoint,
}

/// Where the trap area ends: `rsp0` while the program runs.
const TRAP_AREA_END: usize = offset_of!(UserContext, kernel_rsp);

/// Why a program came back into the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// The `syscall` instruction.
    Syscall,
    /// A processor exception.
    Fault {
        /// Its vector: 14 is a page fault.
        vector: u8,
        /// The error code, 0 for exceptions that have none.
        error: u64,
        /// The address of a page fault (CR2).
        address: u64,
    },
    /// A device interrupt, which has been dealt with.
    Interrupt(u8),
}

unsafe extern "C" {
    fn enter_user(context: *mut UserContext, fast: bool);
    static trap_stubs: [u64; 48];
    fn syscall_entry();
}

/// What the entry stubs reach through `gs`: one for each processor.
#[repr(C)]
struct PerProcessor {
    trap_area_end: AtomicU64,
    scratch: AtomicU64,
    loaded_fs_base: AtomicU64,
    loaded_gs_base: AtomicU64,
}

static PROCESSOR: PerProcessor = PerProcessor {
    trap_area_end: AtomicU64::new(0),
    scratch: AtomicU64::new(0),
    loaded_fs_base: AtomicU64::new(0),
    loaded_gs_base: AtomicU64::new(0),
};

/// Device interrupts that came while the kernel idled: bit 0 is [`FIRST_INTERRUPT`].
static PENDING: AtomicU64 = AtomicU64::new(0);

pub(super) fn stub_address(vector: usize) -> u64 {
    // SAFETY: the table is constant data that the assembly below defines.
    unsafe { trap_stubs[vector] }
}

/// Sets up `syscall`: its entry and the flags that it clears.
pub(super) fn init() {
    enable_extended_state();
    use x86_64::registers::control::{Efer, EferFlags};
    use x86_64::registers::model_specific::{LStar, SFMask, Star};
    use x86_64::registers::rflags::RFlags;
    use x86_64::registers::segmentation::SegmentSelector;
    KernelGsBase::write(VirtAddr::from_ptr(&raw const PROCESSOR));
    GsBase::write(VirtAddr::zero());
    FsBase::write(VirtAddr::zero());
    LStar::write(VirtAddr::new(syscall_entry as *const () as u64));
    SFMask::write(RFlags::from_bits_truncate(USER_FLAGS | FIXED_FLAGS | 0x3000));
    let star = Star::write(
        SegmentSelector(USER_CODE),
        SegmentSelector(USER_DATA),
        SegmentSelector(KERNEL_CODE),
        SegmentSelector(descriptors::KERNEL_DATA),
    );
    star.unwrap_or_else(|error| panic!("segment order: {error:?}"));
    // SAFETY: the entry point is set.
    unsafe { Efer::update(|flags| flags.insert(EferFlags::SYSTEM_CALL_EXTENSIONS)) };
}

impl UserContext {
    /// A program about to start at `rip` with its stack at `rsp`.
    pub fn new(rip: u64, rsp: u64) -> Self {
        Self { rip, rsp, rflags: FIXED_FLAGS, ..Self::default() }
    }

    /// Runs the program until something happens that the kernel must see to. Device interrupts have been handled on return.
    pub fn run(&mut self) -> Trap {
        if self.rip >= FIRST_NON_CANONICAL {
            // The processor would raise #GP on the way out, with the kernel's rights (the "sysret hazard"). It is the program's fault.
            return Trap::Fault { vector: 13, error: 0, address: 0 };
        }
        let fast = self.vector == SYSCALL_VECTOR
            && self.registers.rcx == self.rip
            && self.registers.r11 == self.rflags
            && self.rflags & (TRAP_FLAG | RESUME_FLAG) == 0;
        self.rflags = self.rflags & USER_FLAGS | FIXED_FLAGS;
        self.code_segment = u64::from(USER_CODE);
        self.stack_segment = u64::from(USER_DATA);
        self.floating_point.sanitize();
        self.load_bases();
        let end = &raw mut *self as u64 + TRAP_AREA_END as u64;
        PROCESSOR.trap_area_end.store(end, Ordering::Relaxed);
        // SAFETY: the context is exclusively borrowed until user mode is left, and its selectors and flags are the user's own; the
        // address space that is active is the program's.
        unsafe {
            let state = &raw mut descriptors::TASK_STATE;
            (*state).privilege_stack_table[0] = VirtAddr::new(end);
            enter_user(self, fast);
        }
        self.trap()
    }

    fn trap(&self) -> Trap {
        match self.vector {
            SYSCALL_VECTOR => Trap::Syscall,
            vector if vector < u64::from(FIRST_INTERRUPT) => {
                let address = x86_64::registers::control::Cr2::read_raw();
                Trap::Fault { vector: vector as u8, error: self.error, address }
            }
            vector => {
                interrupts::handle(vector as u8);
                Trap::Interrupt(vector as u8)
            }
        }
    }

    /// Writes the segment bases if another thread's are loaded. A program may only hold lower-half bases (`arch_prctl` checks), but a
    /// stray value must not fault here.
    fn load_bases(&self) {
        let load = |loaded: &AtomicU64, base: u64, write: fn(VirtAddr)| {
            if loaded.load(Ordering::Relaxed) != base {
                loaded.store(base, Ordering::Relaxed);
                write(VirtAddr::new_truncate(base));
            }
        };
        load(&PROCESSOR.loaded_fs_base, self.fs_base, FsBase::write);
        load(&PROCESSOR.loaded_gs_base, self.gs_base, GsBase::write);
    }
}

/// Waits for an interrupt, with interrupts open only while waiting, and handles what came.
pub fn idle() {
    // SAFETY: the interrupt stubs change nothing but `PENDING` when they come from here. The block may use the stack (the interrupt
    // frame), so the compiler keeps nothing below the stack pointer.
    unsafe { core::arch::asm!("sti", "hlt", "cli") };
    let mut pending = PENDING.swap(0, Ordering::AcqRel);
    while pending != 0 {
        interrupts::handle(FIRST_INTERRUPT + pending.trailing_zeros() as u8);
        pending &= pending - 1;
    }
}

/// What a stub leaves on the stack for a fault in the kernel.
#[derive(Debug)]
#[repr(C)]
#[allow(dead_code, reason = "read through Debug by whoever looks into a panic")]
struct KernelFault {
    registers: GeneralRegisters,
    vector: u64,
    error: u64,
    rip: u64,
    code_segment: u64,
    rflags: u64,
    rsp: u64,
    stack_segment: u64,
}

extern "C" fn kernel_fault(fault: &KernelFault) -> ! {
    let address = x86_64::registers::control::Cr2::read_raw();
    super::panic::set_backtrace_start(fault.registers.rbp, fault.rip);
    match fault.vector {
        8 if super::stack::is_guard(address) => {
            panic!("kernel stack overflow: rip {:#x}, rsp {:#x}", fault.rip, fault.rsp)
        }
        14 => panic!("page fault in the kernel at {address:#x} (error {:#x}), rip {:#x}: {fault:x?}", fault.error, fault.rip),
        vector => panic!("exception {vector} in the kernel (error {:#x}), rip {:#x}: {fault:x?}", fault.error, fault.rip),
    }
}

global_asm!(
    ".macro save_registers",
    "push rdi",
    "push rsi",
    "push rdx",
    "push rcx",
    "push rax",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    ".endm",
    // One stub for each vector: an error code (0 where the processor pushes none), the vector, then the common part.
    ".irp vector, 0,3,4,5,6,7,9,15,16,18,19,20,22,23,24,25,26,27,28,31",
    "trap_stub_\\vector:",
    "push 0",
    "push \\vector",
    "jmp trap_common",
    ".endr",
    ".irp vector, 8,10,11,12,13,14,17,21,29,30",
    "trap_stub_\\vector:",
    "push \\vector",
    "jmp trap_common",
    ".endr",
    // Device interrupts: out of user mode like a trap; out of the idle loop only noted.
    ".irp vector, 32,33,34,35,36,37,38,39,40,41,42,43,44,45,46,47",
    "trap_stub_\\vector:",
    "test byte ptr [rsp + 8], 3",
    "jz 2f",
    "push 0",
    "push \\vector",
    "jmp trap_common",
    "2:",
    "lock bts qword ptr [rip + {pending}], \\vector - 32",
    "iretq",
    ".endr",
    // NMI: nothing here sends one; QEMU's monitor may.
    "trap_stub_2:",
    "iretq",
    // #DB comes on a stack of its own, since `mov ss` can delay it to the first instruction of the kernel. From the kernel it means
    // nothing; from a program its frame moves to the trap area.
    "trap_stub_1:",
    "test byte ptr [rsp + 8], 3",
    "jnz 2f",
    "iretq",
    "2:",
    "push rax",
    "mov rax, [rip + {processor}]",
    "push rbx",
    "mov rbx, [rsp + 48]",
    "mov [rax - 8], rbx",
    "mov rbx, [rsp + 40]",
    "mov [rax - 16], rbx",
    "mov rbx, [rsp + 32]",
    "mov [rax - 24], rbx",
    "mov rbx, [rsp + 24]",
    "mov [rax - 32], rbx",
    "mov rbx, [rsp + 16]",
    "mov [rax - 40], rbx",
    "sub rax, 40",
    "pop rbx",
    "mov [rip + {processor} + 8], rax",
    "pop rax",
    "mov rsp, [rip + {processor} + 8]",
    "push 0",
    "push 1",
    "jmp trap_common",
    "syscall_entry:",
    "swapgs",
    "mov gs:[8], rsp",
    "mov rsp, gs:[0]",
    "push {user_data}",
    "push qword ptr gs:[8]",
    "swapgs",
    "push r11",
    "push {user_code}",
    "push rcx",
    "push 0",
    "push {syscall_vector}",
    "save_registers",
    "jmp trap_from_user",
    "trap_common:",
    "save_registers",
    "test byte ptr [rsp + {code_segment}], 3",
    "jz 3f",
    "trap_from_user:",
    "mov rdi, rsp",
    "mov rsp, [rdi + {kernel_rsp}]",
    // Clean flags (DF, AC, NT of the program), masked SSE exceptions.
    "push 2",
    "popfq",
    "cmp byte ptr [rip + {saves_extended}], 0",
    "jz 5f",
    "mov eax, {components}",
    "xor edx, edx",
    "xsave64 [rdi + {floating_point}]",
    "jmp 6f",
    "5:",
    "fxsave64 [rdi + {floating_point}]",
    "6:",
    "ldmxcsr [rip + kernel_mxcsr]",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
    "3:",
    "mov rdi, rsp",
    "and rsp, -16",
    "cld",
    "call {kernel_fault}",
    // enter_user(context: rdi, fast: esi)
    "enter_user:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov [rdi + {kernel_rsp}], rsp",
    "cmp byte ptr [rip + {saves_extended}], 0",
    "jz 7f",
    "mov eax, {components}",
    "xor edx, edx",
    "xrstor64 [rdi + {floating_point}]",
    "jmp 8f",
    "7:",
    "fxrstor64 [rdi + {floating_point}]",
    "8:",
    "mov rsp, rdi",
    "test sil, sil",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "pop r11",
    "pop r10",
    "pop r9",
    "pop r8",
    "pop rax",
    "pop rcx",
    "pop rdx",
    "pop rsi",
    "pop rdi",
    "jnz 4f",
    "add rsp, 16",
    "iretq",
    "4:",
    "mov rcx, [rsp + 16]",
    "mov r11, [rsp + 32]",
    "mov rsp, [rsp + 40]",
    "sysretq",
    ".pushsection .rodata",
    ".align 8",
    "kernel_mxcsr: .long 0x1f80",
    ".align 8",
    "trap_stubs:",
    ".irp vector, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    ".quad trap_stub_\\vector",
    ".endr",
    ".irp vector, 32,33,34,35,36,37,38,39,40,41,42,43,44,45,46,47",
    ".quad trap_stub_\\vector",
    ".endr",
    ".popsection",
    pending = sym PENDING,
    processor = sym PROCESSOR,
    user_data = const USER_DATA,
    user_code = const USER_CODE,
    syscall_vector = const SYSCALL_VECTOR,
    code_segment = const offset_of!(UserContext, code_segment),
    kernel_rsp = const offset_of!(UserContext, kernel_rsp),
    floating_point = const offset_of!(UserContext, floating_point),
    saves_extended = sym SAVES_EXTENDED,
    components = const STATE_COMPONENTS,
    kernel_fault = sym kernel_fault,
);
