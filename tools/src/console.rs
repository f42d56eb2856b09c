//! The guest's serial console as text: control sequences taken away, cut into lines.

use std::mem;
use vte::{Parser, Perform};

/// Turns the bytes of a serial console into lines of plain text, whatever pieces they arrive in.
#[derive(Default)]
pub struct Console {
    parser: Parser,
    text: Text,
}

#[derive(Default)]
struct Text {
    line: String,
    finished: Vec<String>,
}

impl Perform for Text {
    fn print(&mut self, character: char) {
        self.line.push(character);
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\n' => self.finished.push(mem::take(&mut self.line)),
            b'\t' => self.line.push('\t'),
            // Carriage returns stand before each newline, and firmware rings bells: neither is text.
            _ => {}
        }
    }
}

impl Console {
    /// Takes bytes as they come and gives the lines that they finished.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        self.parser.advance(&mut self.text, bytes);
        mem::take(&mut self.text.finished)
    }

    /// What stands on the last line, which no newline ended yet.
    pub fn unfinished(&self) -> &str {
        &self.text.line
    }
}

/// What follows `words` on a line. Firmware and kernels may have left text before them.
pub fn after<'a>(line: &'a str, words: &str) -> Option<&'a str> {
    line.split_once(words).map(|(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_sequences_go_and_text_stays() {
        let mut console = Console::default();
        let lines = console.feed(b"\x1bc\x1b[?7l\x1b[2JSeaBIOS\r\n\x1b[1;31mred\x1b[0m\tand \xc3\xa4\r\n\x1b]0;title\x07$ ");
        assert_eq!(lines, ["SeaBIOS", "red\tand ä"]);
        assert_eq!(console.unfinished(), "$ ");
    }

    #[test]
    fn pieces_may_end_anywhere() {
        let mut console = Console::default();
        let mut lines = Vec::new();
        for byte in b"one\x1b[31m two\r\nthr\xc3\xa4e\n" {
            lines.extend(console.feed(&[*byte]));
        }
        assert_eq!(lines, ["one two", "thräe"]);
        assert_eq!(console.unfinished(), "");
    }
}
