//! The kernel command line: what is for the kernel, and what goes to init (`bootparam(7)`).

use super::start_info;
use crate::sync::Once;
use alloc::{string::String, vec::Vec};

/// Environment strings and arguments that Linux passes at most (`MAX_INIT_ENVS`, `MAX_INIT_ARGS`).
const MAX_FOR_INIT: usize = 32;
/// `CONSOLE_LOGLEVEL_DEFAULT` of Linux: messages of lower numbers reach the console.
const DEFAULT_LOG_LEVEL: u8 = 7;
/// `CONSOLE_LOGLEVEL_QUIET`.
const QUIET_LOG_LEVEL: u8 = 4;

/// The command line, taken apart.
#[derive(Debug)]
pub struct CommandLine {
    /// `rdinit=`: the program in the initramfs that is started first. Default `/init`.
    pub ramdisk_init: Option<Vec<u8>>,
    /// `init=`: the program that is started if there is no such program in the initramfs.
    pub init: Option<Vec<u8>>,
    /// `console=` values in order.
    pub consoles: Vec<Vec<u8>>,
    /// Messages below this level are shown on the console (`loglevel=`, `quiet`, `debug`).
    pub log_level: u8,
    /// `panic=`: seconds to wait before a reboot after a panic; 0 is for ever, negative at once.
    pub panic_seconds: i32,
    /// What goes to init's arguments, in order.
    pub init_arguments: Vec<Vec<u8>>,
    /// What goes to init's environment (`key=value`), in order; a later value replaces an earlier one.
    pub init_environment: Vec<Vec<u8>>,
}

static COMMAND_LINE: Once<CommandLine> = Once::new();

/// The command line, once the heap is there.
pub fn command_line() -> &'static CommandLine {
    COMMAND_LINE.call_once(|| parse(start_info::information().command_line()))
}

/// The text as it was given, for `/proc/cmdline`.
pub fn text() -> &'static [u8] {
    start_info::information().command_line()
}

/// The value of the last `key=value` on the command line, for parameters that one part of the kernel alone knows.
pub fn option(key: &str) -> Option<&'static str> {
    let text = core::str::from_utf8(text()).ok()?;
    let words = text.split_ascii_whitespace().take_while(|word| *word != "--");
    words.filter_map(|word| word.split_once('=')).filter(|(name, _)| *name == key).map(|(_, value)| value).last()
}

/// `panic=`, for a panic: works before the command line is parsed.
pub(super) fn panic_timeout_seconds() -> i32 {
    COMMAND_LINE.get().map_or(-1, |line| line.panic_seconds)
}

fn parse(text: &[u8]) -> CommandLine {
    let mut line = CommandLine {
        ramdisk_init: None,
        init: None,
        consoles: Vec::new(),
        log_level: DEFAULT_LOG_LEVEL,
        panic_seconds: 0,
        init_arguments: Vec::new(),
        init_environment: Vec::new(),
    };
    let mut words = split_words(text).into_iter();
    for word in words.by_ref() {
        if word == b"--" {
            break;
        }
        let (key, value) = match word.iter().position(|&byte| byte == b'=') {
            Some(at) => (&word[..at], Some(&word[at + 1..])),
            None => (&word[..], None),
        };
        if !line.take_own(key, value) {
            line.pass_to_init(key, value, &word);
        }
    }
    line.init_arguments.extend(words);
    line.init_arguments.truncate(MAX_FOR_INIT);
    line
}

impl CommandLine {
    /// Whether the word was for the kernel.
    fn take_own(&mut self, key: &[u8], value: Option<&[u8]>) -> bool {
        match (key, value) {
            (b"rdinit", Some(path)) => self.ramdisk_init = Some(path.to_vec()),
            (b"init", Some(path)) => {
                self.init = Some(path.to_vec());
                // What was meant for the default init is not for this one (Linux's `init_setup` does the same).
                self.init_arguments.clear();
            }
            (b"console", Some(name)) => self.consoles.push(name.to_vec()),
            (b"quiet", None) => self.log_level = QUIET_LOG_LEVEL,
            (b"debug", None) => self.log_level = 10,
            (b"loglevel", Some(level)) => self.log_level = number(level).map_or(self.log_level, |level| level.clamp(0, 15) as u8),
            (b"panic", Some(seconds)) => {
                self.panic_seconds = number(seconds).map_or(0, |s| s.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32);
            }
            // Known to every Linux, without meaning here.
            (b"ro" | b"rw" | b"root" | b"rootwait" | b"noinitrd" | b"nosmp" | b"nokaslr" | b"noapic" | b"earlyprintk", _) => {}
            _ => return false,
        }
        true
    }

    /// `key=value` goes to the environment, a bare word to the arguments; a dotted key is a module's parameter and goes nowhere.
    fn pass_to_init(&mut self, key: &[u8], value: Option<&[u8]>, word: &[u8]) {
        if key.contains(&b'.') {
            return;
        }
        if value.is_none() {
            self.init_arguments.push(word.to_vec());
            return;
        }
        let same_key = |known: &Vec<u8>| known.len() > key.len() && known.starts_with(key) && known[key.len()] == b'=';
        match self.init_environment.iter().position(same_key) {
            Some(index) => self.init_environment[index] = word.to_vec(),
            None if self.init_environment.len() < MAX_FOR_INIT => self.init_environment.push(word.to_vec()),
            None => {}
        }
    }
}

/// Splits at blanks; double quotes keep blanks and are taken away.
fn split_words(text: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quoted = false;
    for &byte in text {
        match byte {
            b'"' => {
                quoted = !quoted;
                word.get_or_insert_with(Vec::new);
            }
            b' ' | b'\t' | b'\n' if !quoted => words.extend(word.take()),
            _ => word.get_or_insert_with(Vec::new).push(byte),
        }
    }
    words.extend(word);
    words
}

fn number(text: &[u8]) -> Option<i64> {
    let text = String::from_utf8_lossy(text);
    match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}
