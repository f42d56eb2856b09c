//! Two outputs held side by side: numbers that a kernel is free to choose are replaced by their order of appearance, and what
//! differs then is shown as a unified diff.

use regex::{Captures, Regex};
use similar::TextDiff;
use std::collections::HashMap;
use std::sync::LazyLock;

/// The numbers of mounts as the demonstration prints them, those of peer groups as mountinfo does, and runs of spaces,
/// which depend on how wide such numbers are.
static CHOSEN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?<mount>#\d+)|(?<kind>shared|master|propagate_from):(?<group>\d+)| {2,}")
        .unwrap_or_else(|error| unreachable!("the pattern is fixed: {error}"))
});

/// How many lines of a difference are shown.
const SHOWN_LINES: usize = 150;

/// Replaces numbers in a text, line after line: the same number gets the same replacement throughout.
#[derive(Debug, Default)]
pub struct Normaliser {
    mounts: HashMap<String, usize>,
    groups: HashMap<String, usize>,
}

impl Normaliser {
    /// The line with its numbers replaced.
    pub fn line(&mut self, line: &str) -> String {
        let replaced = CHOSEN.replace_all(line.trim_end(), |found: &Captures| {
            if let Some(mount) = found.name("mount") {
                format!("#m{}", order_of(&mut self.mounts, mount.as_str()))
            } else if let Some(group) = found.name("group") {
                format!("{}:g{}", &found["kind"], order_of(&mut self.groups, group.as_str()))
            } else {
                " ".to_owned()
            }
        });
        replaced.into_owned()
    }
}

fn order_of(seen: &mut HashMap<String, usize>, number: &str) -> usize {
    let next = seen.len() + 1;
    *seen.entry(number.to_owned()).or_insert(next)
}

/// What a guest's programs printed: without the firmware's lines and the kernel's own, numbers replaced.
pub fn guest_output(lines: &[String]) -> Vec<String> {
    let mut normaliser = Normaliser::default();
    let after_firmware = lines.iter().position(|line| line.starts_with(FIRMWARE_END)).unwrap_or(0);
    let lines = lines[after_firmware..].iter().map(|line| line.trim_start_matches(FIRMWARE_END).trim_start_matches('.'));
    lines.filter(|line| !line.is_empty() && !is_kernel_message(line)).map(|line| normaliser.line(line)).collect()
}

/// The firmware's last words; the guest's first may follow on the same line.
const FIRMWARE_END: &str = "Booting from ROM";

/// Whether a line is a kernel's own: `[    1.234567] …`.
pub fn is_kernel_message(line: &str) -> bool {
    let Some((time, _)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) else { return false };
    time.trim().parse::<f64>().is_ok()
}

/// What differs between Linux's output and ours, as a unified diff; nothing if they are equal.
pub fn difference(linux: &[String], graft: &[String]) -> Option<String> {
    let (linux, graft) = (linux.join("\n") + "\n", graft.join("\n") + "\n");
    if linux == graft {
        return None;
    }
    let difference = TextDiff::from_lines(&linux, &graft);
    let shown = difference.unified_diff().context_radius(3).header("Linux", "Graft").to_string();
    Some(first_lines(&shown))
}

/// The beginning of a long difference: where a guest ended early, the rest says nothing more.
fn first_lines(shown: &str) -> String {
    let count = shown.lines().count();
    let mut first: String = shown.lines().take(SHOWN_LINES).flat_map(|line| [line, "\n"]).collect();
    if count > SHOWN_LINES {
        first.push_str(&format!("… and {} lines more\n", count - SHOWN_LINES));
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        let mut normaliser = Normaliser::default();
        text.lines().map(|line| normaliser.line(line)).collect()
    }

    #[test]
    fn other_numbers_in_the_same_places_are_equal() {
        let linux = lines("#28    #1     /    shared:1\n#40    #28    /run shared:2 master:1");
        let graft = lines("#7     #1     /    shared:15\n#9     #7     /run shared:3 master:15");
        assert_eq!(linux, ["#m1 #m2 / shared:g1", "#m3 #m1 /run shared:g2 master:g1"]);
        assert_eq!(difference(&linux, &graft), None);
    }

    #[test]
    fn the_same_numbers_in_other_places_differ() {
        let linux = lines("#28 #1 /\n#40 #28 /run");
        let graft = lines("#28 #1 /\n#40 #1 /run");
        let shown = difference(&linux, &graft).unwrap();
        assert!(shown.contains("-#m3 #m1 /run\n") && shown.contains("+#m3 #m2 /run\n"), "{shown}");
    }

    #[test]
    fn only_the_guests_own_lines_are_compared() {
        let console = ["SeaBIOS", "Booting from ROM..", "[    1.5] clocksource: tsc", "hello #4", "[not] a time", ""];
        let console: Vec<String> = console.iter().map(|&line| line.to_owned()).collect();
        assert_eq!(guest_output(&console), ["hello #m1", "[not] a time"]);
        assert_eq!(guest_output(&["Booting from ROM...hello".to_owned()]), ["hello"]);
    }

    #[test]
    fn a_long_difference_is_cut() {
        let linux: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
        let shown = difference(&linux, &[]).unwrap();
        assert_eq!(shown.lines().count(), SHOWN_LINES + 1);
        assert!(shown.ends_with("lines more\n"));
    }

    #[test]
    fn a_missing_line_differs() {
        assert!(difference(&lines("a\nb"), &lines("a")).is_some());
        assert!(difference(&[], &lines("a")).is_some());
    }
}
