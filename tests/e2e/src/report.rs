//! What five swaps under load came to: the figures, what must hold of them, and a table. The same
//! of pods and their data.

mod placements;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::placements::{Found, LocalShare, Placement, Placements, share};
use crate::load::Latency;
use crate::swap::PHASES;

/// The figures of the swaps, from the client, from PostgreSQL and from the API server.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What the client saw.
    pub requests: Requests,
    /// What the answers and the rows in PostgreSQL say of each other.
    pub store: Stored,
    /// The application's own containers, by the API server.
    pub primary: Primary,
    /// The application's pods, by the API server.
    pub pods: Pods,
    /// Each swap.
    pub swaps: Vec<SwapTimes>,
    /// Latencies of answered requests.
    pub latency_ms: Latencies,
}

/// Requests of the client.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// Sent, or tried to.
    pub sent: u64,
    /// Answered as they should be.
    pub answered: u64,
    /// All others.
    pub failed: u64,
    /// Connections that ended before their client wanted it: those of the client to the
    /// application, and those of the application to its sidecar.
    pub connections_closed: u64,
}

/// Rows of the store.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stored {
    /// Different keys that were sent.
    pub unique_keys_sent: u64,
    /// Rows with these keys.
    pub rows: u64,
    /// Keys that were said to be stored and are not.
    pub lost: u64,
    /// Keys that were stored more than once, or said to be new more than once.
    pub duplicated: u64,
    /// Answers to repeated keys that show something else than what is stored.
    pub wrong_conflicts: u64,
}

/// Containers of the application.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Primary {
    /// Their restarts.
    pub restarts: u64,
    /// How many have another ID than before.
    pub container_ids_changed: u64,
}

/// Pods of the application.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pods {
    /// How often their condition Ready changed.
    pub ready_transitions: u64,
}

/// The times of one swap.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SwapTimes {
    /// The image before.
    pub from: String,
    /// The image after.
    pub to: String,
    /// From the patch to the last pod's end.
    pub total_ms: u64,
    /// The time in each phase, over all pods.
    pub phases_ms: BTreeMap<String, u64>,
}

/// Latencies in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Latencies {
    /// Of requests that were due while nothing was swapped.
    pub outside: Latency,
    /// Of requests that were due during a swap.
    pub inside: Latency,
}

impl Report {
    /// What does not hold, one sentence each.
    pub fn violations(&self) -> Vec<String> {
        let Requests {
            sent,
            answered,
            failed,
            connections_closed,
        } = self.requests;
        let Stored {
            unique_keys_sent,
            rows,
            lost,
            duplicated,
            wrong_conflicts,
        } = self.store;
        let Primary {
            restarts,
            container_ids_changed,
        } = self.primary;
        let mut violations: Vec<_> = [
            ("requests failed", failed),
            ("connections were closed", connections_closed),
            ("orders were lost", lost),
            ("orders were stored twice", duplicated),
            (
                "answers showed another order than the stored one",
                wrong_conflicts,
            ),
            ("restarts of the application's containers", restarts),
            (
                "containers of the application were replaced",
                container_ids_changed,
            ),
            ("changes of pods' readiness", self.pods.ready_transitions),
        ]
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(what, count)| format!("{count} {what}"))
        .collect();
        if sent == 0 || sent != answered {
            violations.push(format!(
                "{sent} requests were sent, {answered} were answered"
            ));
        }
        if rows != unique_keys_sent {
            violations.push(format!(
                "{unique_keys_sent} keys were sent, {rows} are stored"
            ));
        }
        violations
    }
}

/// How many characters of an image's name are shown.
const IMAGE_WIDTH: usize = 22;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            ("requests sent", self.requests.sent, None),
            (
                "  answered",
                self.requests.answered,
                Some(self.requests.sent),
            ),
            ("  failed", self.requests.failed, Some(0)),
            (
                "connections closed",
                self.requests.connections_closed,
                Some(0),
            ),
            ("different orders sent", self.store.unique_keys_sent, None),
            (
                "  rows in PostgreSQL",
                self.store.rows,
                Some(self.store.unique_keys_sent),
            ),
            ("  lost", self.store.lost, Some(0)),
            ("  stored twice", self.store.duplicated, Some(0)),
            (
                "  wrong answers to repeated ones",
                self.store.wrong_conflicts,
                Some(0),
            ),
            (
                "restarts of the application",
                self.primary.restarts,
                Some(0),
            ),
            (
                "  containers replaced",
                self.primary.container_ids_changed,
                Some(0),
            ),
            (
                "changes of pods' readiness",
                self.pods.ready_transitions,
                Some(0),
            ),
        ];
        for (name, count, wanted) in counts {
            let mark = match wanted {
                None => "",
                Some(wanted) if wanted == count => "ok",
                Some(_) => "WRONG",
            };
            writeln!(f, "  {name:<34} {count:>9}  {mark}")?;
        }
        writeln!(f)?;
        write!(
            f,
            "  {:<IMAGE_WIDTH$} {:<IMAGE_WIDTH$} {:>7}",
            "swap from", "to", "total"
        )?;
        for phase in PHASES {
            write!(f, " {phase:>12}")?;
        }
        writeln!(f, "   (s)")?;
        for swap in &self.swaps {
            let (from, to) = (tag(&swap.from), tag(&swap.to));
            let seconds = |ms: u64| ms as f64 / 1e3;
            let total = seconds(swap.total_ms);
            write!(f, "  {from:<IMAGE_WIDTH$} {to:<IMAGE_WIDTH$} {total:>7.1}")?;
            for phase in PHASES {
                match swap.phases_ms.get(phase) {
                    Some(ms) => write!(f, " {:>12.2}", seconds(*ms))?,
                    None => write!(f, " {:>12}", "-")?,
                }
            }
            writeln!(f)?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "  {:<34} {:>9} {:>9} {:>9}",
            "latency (ms)", "p50", "p99", "max"
        )?;
        let Latencies { outside, inside } = self.latency_ms;
        for (name, latency) in [("between the swaps", outside), ("during the swaps", inside)] {
            let Latency { p50, p99, max } = latency;
            writeln!(f, "  {name:<34} {p50:>9.2} {p99:>9.2} {max:>9.2}")?;
        }
        Ok(())
    }
}

/// The tag of an image, cut to fit.
fn tag(image: &str) -> String {
    let tag = image.rsplit_once(':').map_or(image, |(_, tag)| tag);
    tag.chars().take(IMAGE_WIDTH).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use serde_json::json;

    use super::*;

    fn good() -> Report {
        let mut report = Report::default();
        (report.requests.sent, report.requests.answered) = (10, 10);
        (report.store.unique_keys_sent, report.store.rows) = (8, 8);
        report
    }

    #[test]
    fn the_fields_have_their_names() {
        let mut report = good();
        report.swaps.push(SwapTimes::default());
        let latency = json!({"p50": 0.0, "p99": 0.0, "max": 0.0});
        assert_eq!(
            serde_json::to_value(report).unwrap(),
            json!({
                "requests": {"sent": 10, "answered": 10, "failed": 0, "connectionsClosed": 0},
                "store": {
                    "uniqueKeysSent": 8, "rows": 8, "lost": 0, "duplicated": 0,
                    "wrongConflicts": 0,
                },
                "primary": {"restarts": 0, "containerIdsChanged": 0},
                "pods": {"readyTransitions": 0},
                "swaps": [{"from": "", "to": "", "totalMs": 0, "phasesMs": {}}],
                "latencyMs": {"outside": latency, "inside": latency},
            })
        );
    }

    #[test]
    fn every_figure_that_is_wrong_is_a_violation() {
        assert_eq!(good().violations(), Vec::<String>::new());
        type Change = fn(&mut Report);
        let changes: [Change; 10] = [
            |report| report.requests.failed = 1,
            |report| report.requests.answered = 9,
            |report| report.requests.connections_closed = 1,
            |report| report.store.lost = 1,
            |report| report.store.duplicated = 1,
            |report| report.store.wrong_conflicts = 1,
            |report| report.store.rows = 7,
            |report| report.primary.restarts = 1,
            |report| report.primary.container_ids_changed = 1,
            |report| report.pods.ready_transitions = 1,
        ];
        for change in changes {
            let mut report = good();
            change(&mut report);
            assert_eq!(report.violations().len(), 1, "{report:?}");
            assert!(report.to_string().contains("WRONG"), "{report}");
        }
    }
}
