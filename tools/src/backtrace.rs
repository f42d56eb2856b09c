//! The addresses of a kernel panic's backtrace, named: `addr2line` knows them from the kernel's line tables.

use regex::Regex;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

/// How far before a return address the call is looked for: it may be the last instruction of its function.
const INTO_THE_CALL: u64 = 1;

/// A line of our kernel's backtrace: an address in its code, alone but for the time and an `at`.
static ADDRESS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^\[ *\d+\.\d+\] +(?<fault>at )?0x(?<address>ffffffff[0-9a-f]{8})$")
        .unwrap_or_else(|error| unreachable!("the pattern is fixed: {error}"))
});

/// The functions and source lines of the backtrace in a console, outermost last; empty where there is none, or no `addr2line`.
pub fn named(kernel: &Path, lines: &[String]) -> Vec<String> {
    let addresses = addresses(lines);
    if addresses.is_empty() {
        return Vec::new();
    }
    let mut command = Command::new("addr2line");
    command.args(["--functions", "--demangle", "--pretty-print", "--addresses", "--basenames", "--exe"]).arg(kernel).args(addresses);
    // Without binutils the bare addresses must do.
    let Ok(output) = command.output() else { return Vec::new() };
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn addresses(lines: &[String]) -> Vec<String> {
    let found = lines.iter().filter_map(|line| ADDRESS.captures(line));
    let addresses = found.filter_map(|found| {
        let address = u64::from_str_radix(&found["address"], 16).ok()?;
        Some(if found.name("fault").is_some() { address } else { address - INTO_THE_CALL })
    });
    addresses.map(|address| format!("{address:#x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_a_backtrace_are_addresses() {
        let lines = [
            "[    0.053698] Kernel panic - not syncing: no init at kernel/src/main.rs:36:5",
            "[    0.054051]   0xffffffff802148c0",
            "[    0.054052]   at 0xffffffff80214e40",
            "[    0.054053] mapped 0xffffffff80214e40 to 0x1000",
            "0xffffffff8021acac in a program's output",
        ];
        let lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        assert_eq!(addresses(&lines), ["0xffffffff802148bf", "0xffffffff80214e40"]);
        assert_eq!(named(Path::new("/no/such/kernel"), &lines[..1]), Vec::<String>::new());
    }
}
