//! Progress with times, one line for each step.

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

const HEARTBEAT: Duration = Duration::from_secs(15);

type Sink = dyn Fn(&str) + Send + Sync;

/// Where the lab says what it does.
#[derive(Clone)]
pub struct Progress {
    start: Instant,
    sink: Arc<Sink>,
}

impl Progress {
    /// Progress that gives each line to `sink`.
    pub fn new(sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            start: Instant::now(),
            sink: Arc::new(sink),
        }
    }

    /// Progress on standard error.
    pub fn stderr() -> Self {
        Self::new(|line| {
            // A closed terminal is no reason to stop.
            let _ = writeln!(std::io::stderr(), "{line}");
        })
    }

    /// Says one line.
    pub fn say(&self, text: &str) {
        (self.sink)(&format!(
            "{:7.1} s  {text}",
            self.start.elapsed().as_secs_f64()
        ));
    }

    /// Runs one step, and says its name, its outcome and its time; says every 15 s that it goes on.
    pub(crate) fn step<T, E>(
        &self,
        name: &str,
        work: impl FnOnce(&Step) -> Result<T, E>,
    ) -> Result<T, E> {
        let step = Step {
            outcome: Arc::new(Mutex::new(String::new())),
        };
        let begin = Instant::now();
        let (done, ticks) = channel::<()>();
        let note = Arc::clone(&step.outcome);
        let result = std::thread::scope(|scope| {
            scope.spawn(move || {
                while ticks.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
                    self.say(&line(name, &format!("… {}", note.lock()), begin.elapsed()));
                }
            });
            let result = work(&step);
            drop(done);
            result
        });
        let outcome = if result.is_ok() {
            step.outcome.lock().clone()
        } else {
            "failed".to_owned()
        };
        self.say(&line(name, &outcome, begin.elapsed()));
        result
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Progress")
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

/// A running step.
#[derive(Debug)]
pub(crate) struct Step {
    outcome: Arc<Mutex<String>>,
}

impl Step {
    /// Notes how far the step is, or what came of it.
    pub(crate) fn note(&self, text: impl Into<String>) {
        *self.outcome.lock() = text.into();
    }
}

fn line(name: &str, outcome: &str, took: Duration) -> String {
    format!("{name:<22} {outcome:<34} {:6.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_says_its_name_and_outcome_and_passes_its_result_on() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let progress = Progress::new(move |line| kept.lock().push(line.to_owned()));
        let result: Result<u8, ()> = progress.step("etcd", |step| {
            step.note("started");
            Ok(7)
        });
        assert_eq!(result, Ok(7));
        assert_eq!(progress.step("kubelet", |_| Err::<(), _>("no")), Err("no"));
        let lines = lines.lock();
        assert!(
            lines[0].contains("etcd") && lines[0].contains("started"),
            "{lines:?}"
        );
        assert!(
            lines[1].contains("kubelet") && lines[1].contains("failed"),
            "{lines:?}"
        );
    }
}
