//! Hands the linker what makes the kernel a freestanding static image at its own addresses (`kernel.ld`), and has the vDSO made, a small
//! shared object that the kernel carries (`vdso.ld`, `src/time/vdso/code.rs`).

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let directory = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    println!("cargo:rerun-if-changed=kernel.ld");
    for argument in [
        format!("-T{}/kernel.ld", directory.display()).as_str(),
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--build-id=none",
        "-Wl,--gc-sections",
        "-Wl,-z,max-page-size=4096",
        "-Wl,-z,norelro",
        "-Wl,-z,noexecstack",
    ] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    make_vdso(&directory);
}

/// Compiles `src/time/vdso/code.rs` for itself and links it: `vdso.so` in the output folder.
fn make_vdso(directory: &Path) {
    let sources = directory.join("src/time/vdso");
    println!("cargo:rustc-check-cfg=cfg(vdso)");
    println!("cargo:rerun-if-changed=vdso.ld");
    println!("cargo:rerun-if-changed=src/time/vdso/code.rs");
    println!("cargo:rerun-if-changed=src/time/vdso/clock_page.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let (root, object) = (out.join("vdso.rs"), out.join("vdso.o"));
    let module = |name: &str| format!("#[path = {:?}] mod {name};\n", sources.join(format!("{name}.rs")));
    let handler = "#[panic_handler] fn panic(_: &core::panic::PanicInfo<'_>) -> ! { loop {} }\n";
    let text = format!("#![no_std]\n{}{}{handler}", module("clock_page"), module("code"));
    std::fs::write(&root, text).expect("the output folder can be written");
    let mut compiler = Command::new(env::var_os("RUSTC").expect("cargo sets RUSTC"));
    compiler.args(["--edition=2024", "--crate-type=lib", "--crate-name=vdso", "--emit=obj", "--cfg=vdso"]);
    compiler.args(["-Copt-level=3", "-Cpanic=abort", "-Ccodegen-units=1", "-Crelocation-model=pic", "-Cforce-unwind-tables=yes"]);
    run(compiler.args(["--target=x86_64-unknown-linux-gnu", "-o"]).arg(&object).arg(&root));
    let mut linker = Command::new("cc");
    linker.args([
        "-shared",
        "-nostdlib",
        "-Wl,-soname,linux-vdso.so.1",
        "-Wl,--hash-style=both",
        "-Wl,--build-id=none",
        "-Wl,--eh-frame-hdr",
    ]);
    linker.args(["-Wl,-z,max-page-size=4096", "-Wl,--no-undefined", "-Wl,--gc-sections", "-Wl,-z,noexecstack", "-Wl,-z,norelro", "-s"]);
    run(linker.arg(format!("-Wl,-T,{}", directory.join("vdso.ld").display())).arg("-o").arg(out.join("vdso.so")).arg(&object));
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"));
    assert!(status.success(), "{command:?} failed");
}
