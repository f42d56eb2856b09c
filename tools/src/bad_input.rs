//! Initramfs images that are cut short, damaged or hostile. The kernel must say what is wrong, run what could be unpacked, and
//! never stand still or fall over.

use crate::boot::{End, Limits, Machine, Recording, Unwatched, boot};
use crate::guest::{CLOSING_LINE, busybox_image, script};
use crate::image::gzip;
use crate::kernel::Kernel;
use crate::packages::PackageCache;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::time::Duration;

/// How long one may take.
const LIMITS: Limits = Limits { total: Duration::from_secs(60), silence: Duration::from_secs(30) };

/// The bytes of a `newc` header: six of magic, thirteen fields of eight hexadecimal digits.
const HEADER_LEN_BYTES: usize = 110;

/// Which field of a header holds the size of the data, counted after the magic.
const FILE_SIZE_FIELD: usize = 6;

/// Which field holds the size of the name, its NUL included.
const NAME_SIZE_FIELD: usize = 11;

/// What must come of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// No complaint, and everything unpacked.
    Intact,
    /// A complaint that names the initramfs, and init runs with what stood before the damage.
    ComplaintAndInit,
    /// Either, but init runs with what stood before the odd entry.
    Init,
    /// A panic with a message: there is no init.
    Panic,
}

/// An image and what must come of it.
struct Case {
    name: &'static str,
    /// The image; none at all in the last case.
    image: Option<Vec<u8>>,
    outcome: Outcome,
}

/// Boots every case under a kernel. For each its name, and what was wrong if anything was.
pub fn run(workspace: &Workspace, kernel: Kernel, progress: &dyn Fn(&str)) -> Result<Vec<(String, Option<String>)>> {
    let kernel_file = kernel.file(workspace, progress)?;
    let mut results = Vec::new();
    for case in cases(&sound_image(workspace, progress)?)? {
        progress(&format!("bad input on {kernel}: {}", case.name));
        let file = workspace.product("images/bad-input")?;
        if let Some(image) = &case.image {
            std::fs::write(&file, image).with_context(|| format!("cannot write {}", file.display()))?;
        }
        let mut machine = Machine::new(kernel_file.clone(), case.image.is_some().then_some(file));
        machine.arguments = "quiet".to_owned();
        let recording = boot(&machine, LIMITS, &|line| line.ends_with(CLOSING_LINE), &mut Unwatched)?;
        let wrong =
            wrong_with(case.outcome, &recording).map(|wrong| format!("{wrong}; the console's last lines:\n{}", recording.last_lines()));
        results.push((case.name.to_owned(), wrong));
    }
    Ok(results)
}

/// The archive that the cases damage: its last entry but one is `/before`, and a trailer ends it.
fn sound_image(workspace: &Workspace, progress: &dyn Fn(&str)) -> Result<Vec<u8>> {
    let mut image = busybox_image(&PackageCache::open(workspace)?, progress)?;
    image.file("init", 0o755, script(workspace, "tools/guest/bad-input-init.sh")?);
    image.to_cpio()
}

/// The entries of a second archive, without the trailer: the files that the damage is done to.
fn entries(files: &[(&str, usize)]) -> Result<Vec<u8>> {
    let mut archive = Vec::new();
    for (name, len_bytes) in files {
        let entry = cpio::newc::Builder::new(name).mode(0o100_644).nlink(1);
        // Noise, so that gzip cannot make it shorter.
        let data = noise(*len_bytes);
        let mut writer = entry.write(archive, u32::try_from(*len_bytes)?);
        std::io::Write::write_all(&mut writer, &data)?;
        archive = writer.finish()?;
    }
    Ok(archive)
}

fn cases(sound: &[u8]) -> Result<Vec<Case>> {
    // The sound archive ends with a trailer; further archives may follow it, as Linux allows.
    let with = |tail: &[u8]| [sound, tail].concat();
    let long = with(&entries(&[("before", 1000), ("filler", 400_000), ("after", 1000)])?);
    let before = entries(&[("before", 1000)])?;
    let after = entries(&[("after", 1000)])?;
    let damaged = |middle: Vec<u8>| Some(with(&[before.clone(), middle, after.clone()].concat()));
    let zipped = gzip(&long)?;
    let cut_zip = zipped[..zipped.len() - 200_000].to_vec();
    let mut flipped_zip = zipped.clone();
    let middle = zipped.len() - 200_000;
    flipped_zip[middle..middle + 64].iter_mut().for_each(|byte| *byte = !*byte);
    let complaint = Outcome::ComplaintAndInit;
    Ok(vec![
        Case {
            name: "a sound image",
            image: Some(with(&[before.clone(), cpio::newc::trailer(Vec::new())?].concat())),
            outcome: Outcome::Intact,
        },
        Case { name: "a gzip stream cut short", image: Some(cut_zip), outcome: complaint },
        Case { name: "a gzip stream with damaged bytes", image: Some(flipped_zip), outcome: complaint },
        Case { name: "an archive cut short in a file", image: Some(long[..long.len() - 200_000].to_vec()), outcome: complaint },
        Case {
            name: "an archive cut short in a header",
            image: Some(with(&[before.clone(), after[..50].to_vec()].concat())),
            outcome: complaint,
        },
        Case { name: "a name of 4 GiB", image: damaged(with_field(&after, NAME_SIZE_FIELD, "FFFFFFFF")), outcome: complaint },
        Case { name: "a name of no bytes", image: damaged(with_field(&after, NAME_SIZE_FIELD, "00000000")), outcome: Outcome::Init },
        Case { name: "a file of 4 GiB", image: damaged(with_field(&after, FILE_SIZE_FIELD, "FFFFFFFF")), outcome: complaint },
        Case {
            name: "fields that are no numbers",
            image: damaged(with_field(&after, FILE_SIZE_FIELD, "zzzz+-0x")),
            outcome: Outcome::Init,
        },
        Case { name: "a wrong magic in the middle", image: damaged([b"070799".as_slice(), &after[6..]].concat()), outcome: complaint },
        Case {
            name: "names with .. in them",
            image: Some(with(&entries(&[("before", 1000), ("../../escaped", 10), ("a/../../b", 10), ("..", 0), ("", 0)])?)),
            outcome: Outcome::Init,
        },
        Case { name: "noise", image: Some(noise(100_000)), outcome: Outcome::Panic },
        Case { name: "no image at all", image: None, outcome: Outcome::Panic },
    ])
}

/// An entry with one field of its header replaced.
fn with_field(entry: &[u8], field: usize, digits: &str) -> Vec<u8> {
    let mut entry = entry.to_vec();
    let at = 6 + 8 * field;
    debug_assert!(at + 8 <= HEADER_LEN_BYTES);
    entry[at..at + 8].copy_from_slice(digits.as_bytes());
    entry
}

/// Bytes without any order, and the same every time.
fn noise(len_bytes: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len_bytes).map(|_| next()).collect()
}

fn wrong_with(outcome: Outcome, recording: &Recording) -> Option<String> {
    let complained = recording.lines.iter().any(|line| line.to_ascii_lowercase().contains("initramfs"));
    let unpacked = recording.lines.iter().any(|line| line.contains("bad input: unpacked /before: 1000 bytes"));
    if outcome == Outcome::Panic {
        return match &recording.end {
            End::Panic(_) => None,
            end => Some(format!("a panic with a message was due, but: {end}")),
        };
    }
    if let Some(complaint) = recording.complaint() {
        return Some(complaint);
    }
    match (outcome, complained, unpacked) {
        (_, _, false) => Some("what stood before the damage was not unpacked".to_owned()),
        (Outcome::ComplaintAndInit, false, _) => Some("no line names the initramfs and what is wrong with it".to_owned()),
        (Outcome::Intact, true, _) => Some("there is a complaint about a sound image".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Image;

    fn recording(console: &[&str], end: End) -> Recording {
        let lines: Vec<String> = console.iter().map(|&line| line.to_owned()).collect();
        Recording { closed: lines.iter().any(|line| line == CLOSING_LINE), lines, end, wall: Duration::ZERO }
    }

    const UNPACKED: &str = "bad input: unpacked /before: 1000 bytes";

    #[test]
    fn a_silent_kernel_is_found_out() {
        let silent = recording(&[UNPACKED, CLOSING_LINE], End::PoweredOff);
        assert!(wrong_with(Outcome::ComplaintAndInit, &silent).unwrap().contains("no line names"));
        assert_eq!(wrong_with(Outcome::Intact, &silent), None);
        let loud = recording(&["initramfs: cut short", UNPACKED, CLOSING_LINE], End::PoweredOff);
        assert_eq!(wrong_with(Outcome::ComplaintAndInit, &loud), None);
        assert!(wrong_with(Outcome::Intact, &loud).is_some());
    }

    #[test]
    fn a_lost_file_a_panic_and_a_hang_are_found_out() {
        let lost = recording(&["initramfs: cut short", CLOSING_LINE], End::PoweredOff);
        assert!(wrong_with(Outcome::Init, &lost).unwrap().contains("not unpacked"));
        let panicked = recording(&["kernel panic: x"], End::Panic("kernel panic: x".to_owned()));
        assert!(wrong_with(Outcome::Init, &panicked).is_some());
        assert_eq!(wrong_with(Outcome::Panic, &panicked), None);
        assert!(wrong_with(Outcome::Panic, &recording(&[], End::Hang("silent"))).is_some());
    }

    #[test]
    fn the_cases_are_damaged_where_they_say() {
        let sound = Image::new().to_cpio().unwrap();
        let cases = cases(&sound).unwrap();
        let named = |name: &str| cases.iter().find(|case| case.name == name).unwrap().image.clone().unwrap();
        let header_of_after = sound.len() + entries(&[("before", 1000)]).unwrap().len();
        let image = named("a name of 4 GiB");
        assert_eq!(&image[header_of_after..header_of_after + 6], b"070701");
        assert_eq!(&image[header_of_after + 94..header_of_after + 102], b"FFFFFFFF");
        assert_eq!(&named("a file of 4 GiB")[header_of_after + 54..header_of_after + 62], b"FFFFFFFF");
        assert_eq!(&named("a wrong magic in the middle")[header_of_after..header_of_after + 6], b"070799");
        assert_eq!(&named("a gzip stream cut short")[..2], [0x1f, 0x8b]);
    }
}
