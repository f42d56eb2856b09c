//! Single memory accesses whose fault is caught and told: which signal, which `si_code`, which address.

use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

/// How the processor's access failed, as the signal's `siginfo` told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// `SIGSEGV`, `SIGBUS`, …
    pub signal: i32,
    /// `SEGV_MAPERR`, `SEGV_ACCERR`, `BUS_ADRERR`, …
    pub code: i32,
    /// `si_addr`.
    pub address: usize,
}

/// `si_code` of an access to an address that nothing is mapped at.
pub const SEGV_MAPERR: i32 = 1;
/// `si_code` of an access that the mapping's protection forbids.
pub const SEGV_ACCERR: i32 = 2;
/// `si_code` of an access beyond the end of the object that is mapped.
pub const BUS_ADRERR: i32 = 2;

static SIGNAL: AtomicI32 = AtomicI32::new(0);
static CODE: AtomicI32 = AtomicI32::new(0);
static ADDRESS: AtomicUsize = AtomicUsize::new(0);

/// Notes the fault and continues at the address that the access keeps in r8, with the stack pointer kept in r9.
extern "C" fn skip(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    SIGNAL.store(signal, Ordering::SeqCst);
    // SAFETY: with SA_SIGINFO the kernel passes a valid siginfo_t and ucontext_t.
    unsafe {
        CODE.store((*info).si_code, Ordering::SeqCst);
        ADDRESS.store((*info).si_addr() as usize, Ordering::SeqCst);
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        registers[libc::REG_RIP as usize] = registers[libc::REG_R8 as usize];
        registers[libc::REG_RSP as usize] = registers[libc::REG_R9 as usize];
    }
}

fn watch(access: impl FnOnce()) -> Option<Fault> {
    let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) = skip;
    for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP] {
        crate::signal::set_action(signal, handler as usize, libc::SA_SIGINFO | libc::SA_ONSTACK, &[]);
    }
    SIGNAL.store(0, Ordering::SeqCst);
    access();
    let signal = SIGNAL.load(Ordering::SeqCst);
    (signal != 0).then(|| Fault { signal, code: CODE.load(Ordering::SeqCst), address: ADDRESS.load(Ordering::SeqCst) })
}

/// Reads the byte at `address`.
pub fn read(address: usize) -> Result<u8, Fault> {
    let mut byte = 0u8;
    let fault = watch(|| {
        // SAFETY: the handler continues behind the load if it faults.
        unsafe {
            std::arch::asm!(
                "lea r8, [rip + 2f]", "mov r9, rsp", "mov {byte}, byte ptr [{address}]", "2:",
                address = in(reg) address, byte = inout(reg_byte) byte, out("r8") _, out("r9") _,
            );
        }
    });
    fault.map_or(Ok(byte), Err)
}

/// Writes `byte` at `address`.
pub fn write(address: usize, byte: u8) -> Result<(), Fault> {
    let fault = watch(|| {
        // SAFETY: the handler continues behind the store if it faults; the caller owns the memory.
        unsafe {
            std::arch::asm!(
                "lea r8, [rip + 2f]", "mov r9, rsp", "mov byte ptr [{address}], {byte}", "2:",
                address = in(reg) address, byte = in(reg_byte) byte, out("r8") _, out("r9") _,
            );
        }
    });
    fault.map_or(Ok(()), Err)
}

/// Calls the code at `address`, which must clobber nothing but rax, r8, r9 and flags.
pub fn execute(address: usize) -> Result<u64, Fault> {
    let mut result = 0u64;
    let fault = watch(|| {
        // SAFETY: the handler continues behind the call with the stack pointer of before it.
        unsafe {
            std::arch::asm!(
                "lea r8, [rip + 2f]", "mov r9, rsp", "call {address}", "2:",
                address = in(reg) address, inout("rax") result, out("r8") _, out("r9") _,
            );
        }
    });
    fault.map_or(Ok(result), Err)
}
