//! Shows a person who waits that work goes on: one line that changes on a terminal, nothing in a log.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::Duration;

/// A line on standard error that says what is being done.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    show_console: bool,
}

impl Progress {
    /// A line for a command; `show_console` also prints what the guests print.
    pub fn new(show_console: bool) -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>4} {wide_msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(150));
        Self { bar, show_console }
    }

    /// Says what is being done now.
    pub fn say(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }

    /// Prints a line of a guest's console, if that is wanted.
    pub fn console(&self, line: &str) {
        if self.show_console {
            self.print(line);
        }
    }

    /// Prints a line that stays.
    pub fn print(&self, line: &str) {
        self.bar.suspend(|| println!("{line}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
