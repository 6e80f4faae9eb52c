//! What is being done, and how long it took, one line for each step.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

/// Where it is said: standard error.
#[derive(Clone, Debug)]
pub struct Progress {
    start: Instant,
    /// Whether the last line is one that the next may overwrite.
    passing: Arc<Mutex<bool>>,
    terminal: bool,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress {
            start: Instant::now(),
            passing: Arc::default(),
            terminal: std::io::stderr().is_terminal(),
        }
    }
}

impl Progress {
    /// Says one line.
    pub fn say(&self, text: impl Display) {
        self.write(&text, false);
    }

    /// Says how things stand: in a terminal the next line overwrites this one.
    pub fn pass(&self, text: impl Display) {
        self.write(&text, true);
    }

    /// Whether a person looks on.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Awaits one step, and says its outcome and time.
    ///
    /// # Errors
    /// With the step's own.
    pub async fn step<T>(
        &self,
        name: &str,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let begin = Instant::now();
        self.pass(format_args!("{name} …"));
        let result = work.await;
        let outcome = if result.is_ok() { "" } else { "failed" };
        let took = begin.elapsed().as_secs_f64();
        self.say(format_args!("{name:<56} {outcome:<6} {took:7.1} s"));
        result
    }

    fn write(&self, text: &dyn Display, passing: bool) {
        let mut before = self.passing.lock();
        let clear = if *before && self.terminal {
            "\r\x1b[2K"
        } else {
            ""
        };
        let end = if passing && self.terminal { "" } else { "\n" };
        let since = self.start.elapsed().as_secs_f64();
        let mut out = std::io::stderr().lock();
        // A closed terminal is no reason to stop.
        let _ = write!(out, "{clear}{since:7.1} s  {text}{end}");
        let _ = out.flush();
        *before = passing && self.terminal;
    }
}
