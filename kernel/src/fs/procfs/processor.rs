//! What `/proc/cpuinfo` tells of the processor, as CPUID does (Intel SDM, volume 2, CPUID; AMD APM, volume 3, appendix E).

use alloc::{string::String, vec::Vec};
use core::arch::x86_64::{__cpuid, CpuidResult};

/// The processor.
pub(super) struct Processor {
    pub vendor: String,
    pub name: String,
    pub family: u32,
    pub model: u32,
    pub stepping: u32,
    pub maximum_leaf: u32,
    pub physical_bits: u32,
    pub virtual_bits: u32,
    /// Names of features as Linux spells them.
    pub flags: String,
}

/// Bits of leaf 1, EDX, and their names.
const LEAF_1_EDX: [(u32, &str); 26] = [
    (0, "fpu"),
    (1, "vme"),
    (2, "de"),
    (3, "pse"),
    (4, "tsc"),
    (5, "msr"),
    (6, "pae"),
    (7, "mce"),
    (8, "cx8"),
    (9, "apic"),
    (11, "sep"),
    (12, "mtrr"),
    (13, "pge"),
    (14, "mca"),
    (15, "cmov"),
    (16, "pat"),
    (17, "pse36"),
    (19, "clflush"),
    (21, "dts"),
    (22, "acpi"),
    (23, "mmx"),
    (24, "fxsr"),
    (25, "sse"),
    (26, "sse2"),
    (27, "ss"),
    (28, "ht"),
];
/// Bits of leaf 0x8000_0001, EDX.
const LEAF_EXTENDED_EDX: [(u32, &str); 8] =
    [(11, "syscall"), (20, "nx"), (22, "mmxext"), (25, "fxsr_opt"), (26, "pdpe1gb"), (27, "rdtscp"), (29, "lm"), (30, "3dnowext")];
/// Bits of leaf 1, ECX.
const LEAF_1_ECX: [(u32, &str); 20] = [
    (0, "pni"),
    (1, "pclmulqdq"),
    (3, "monitor"),
    (5, "vmx"),
    (9, "ssse3"),
    (12, "fma"),
    (13, "cx16"),
    (17, "pcid"),
    (19, "sse4_1"),
    (20, "sse4_2"),
    (21, "x2apic"),
    (22, "movbe"),
    (23, "popcnt"),
    (24, "tsc_deadline_timer"),
    (25, "aes"),
    (26, "xsave"),
    (28, "avx"),
    (29, "f16c"),
    (30, "rdrand"),
    (31, "hypervisor"),
];
/// Bits of leaf 0x8000_0001, ECX.
const LEAF_EXTENDED_ECX: [(u32, &str); 6] = [(0, "lahf_lm"), (2, "svm"), (4, "cr8_legacy"), (5, "abm"), (6, "sse4a"), (8, "3dnowprefetch")];
/// Bits of leaf 7, EBX.
const LEAF_7_EBX: [(u32, &str); 11] = [
    (0, "fsgsbase"),
    (3, "bmi1"),
    (5, "avx2"),
    (7, "smep"),
    (8, "bmi2"),
    (9, "erms"),
    (18, "rdseed"),
    (19, "adx"),
    (20, "smap"),
    (23, "clflushopt"),
    (24, "clwb"),
];

/// Asks the processor.
pub(super) fn describe() -> Processor {
    let basic = __cpuid(0);
    let signature = __cpuid(1);
    let extended_maximum = __cpuid(0x8000_0000).eax;
    let extended = leaf(0x8000_0001, extended_maximum);
    let features = leaf(7, basic.eax);
    let sizes = leaf(0x8000_0008, extended_maximum);
    let (family, model) = family_and_model(signature.eax);
    let mut flags: Vec<&str> = Vec::new();
    let tables: [(&[(u32, &str)], u32); 5] = [
        (&LEAF_1_EDX, signature.edx),
        (&LEAF_EXTENDED_EDX, extended.edx),
        (&LEAF_1_ECX, signature.ecx),
        (&LEAF_EXTENDED_ECX, extended.ecx),
        (&LEAF_7_EBX, features.ebx),
    ];
    for (table, bits) in tables {
        flags.extend(table.iter().filter(|(bit, _)| bits & (1 << bit) != 0).map(|(_, name)| *name));
    }
    Processor {
        vendor: text(&[basic.ebx, basic.edx, basic.ecx]),
        name: name(extended_maximum),
        family,
        model,
        stepping: signature.eax & 0xf,
        maximum_leaf: basic.eax,
        physical_bits: if sizes.eax == 0 { 36 } else { sizes.eax & 0xff },
        virtual_bits: if sizes.eax == 0 { 48 } else { (sizes.eax >> 8) & 0xff },
        flags: flags.join(" "),
    }
}

/// A leaf, all zeros if the processor does not have it.
fn leaf(number: u32, maximum: u32) -> CpuidResult {
    if number <= maximum { __cpuid(number) } else { CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 } }
}

fn family_and_model(signature: u32) -> (u32, u32) {
    let (family, model) = ((signature >> 8) & 0xf, (signature >> 4) & 0xf);
    let family = if family == 0xf { family + ((signature >> 20) & 0xff) } else { family };
    let model = if family >= 6 { model + (((signature >> 16) & 0xf) << 4) } else { model };
    (family, model)
}

fn name(extended_maximum: u32) -> String {
    if extended_maximum < 0x8000_0004 {
        return String::from("unknown");
    }
    let words: Vec<u32> = (0x8000_0002..=0x8000_0004)
        .flat_map(|number| {
            let part = __cpuid(number);
            [part.eax, part.ebx, part.ecx, part.edx]
        })
        .collect();
    text(&words)
}

fn text(words: &[u32]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).take_while(|byte| *byte != 0).collect();
    String::from(String::from_utf8_lossy(&bytes).trim())
}
