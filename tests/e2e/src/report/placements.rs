//! Where pods are, seen from their data: what is said of it, what a second look finds, and a table.

use std::fmt;

use serde::Serialize;

/// The pods of an example and their data.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Placements {
    /// Each pod with data.
    pub placements: Vec<Placement>,
    /// How much of their data pods have on their own nodes, with Outrigger and without.
    pub local_share: LocalShare,
}

/// A pod as the IntegratedApp's status tells of it.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// Its name.
    pub pod: String,
    /// The node that it is on.
    pub node: String,
    /// Bytes of its data that the node holds.
    pub local_bytes: u64,
    /// Bytes of its data.
    pub total_bytes: u64,
    /// Why it is there, in a sentence.
    pub reason: String,
    /// The same without the operator.
    #[serde(skip)]
    pub found: Found,
}

/// What is found of a pod without asking the operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The pod's name.
    pub pod: String,
    /// The node that it is on, by the pod itself.
    pub node: String,
    /// Bytes of its data that the node holds, by `hdfs fsck` or the volume of its claim.
    pub local_bytes: u64,
    /// Bytes of its data, by the same.
    pub total_bytes: u64,
}

/// Shares of the bytes that the same pods read, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalShare {
    /// With Outrigger.
    pub outrigger: f64,
    /// Without it.
    pub default_scheduler: f64,
}

/// The share of pods' bytes that their own nodes hold; 0 if there are none.
pub fn share<'a>(pods: impl IntoIterator<Item = &'a Found>) -> f64 {
    let (local, total) = pods.into_iter().fold((0, 0), |(local, total), pod| {
        (local + pod.local_bytes, total + pod.total_bytes)
    });
    if total == 0 {
        return 0.0;
    }
    local as f64 / total as f64
}

impl Placement {
    /// What is said and what is found, if they differ.
    pub fn violation(&self) -> Option<String> {
        let Placement {
            pod,
            node,
            local_bytes,
            total_bytes,
            reason: _,
            found,
        } = self;
        let said = Found {
            pod: pod.clone(),
            node: node.clone(),
            local_bytes: *local_bytes,
            total_bytes: *total_bytes,
        };
        (said != *found).then(|| format!("the status says {said}; found was {found}"))
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found {
            pod,
            node,
            local_bytes,
            total_bytes,
        } = self;
        write!(
            f,
            "{pod} on {node}, {local_bytes} of {total_bytes} bytes local"
        )
    }
}

impl Placements {
    /// What does not hold, one sentence each.
    pub fn violations(&self) -> Vec<String> {
        let placements = self.placements.iter();
        let mut violations: Vec<_> = placements.filter_map(Placement::violation).collect();
        if self.placements.is_empty() {
            violations.push("no pod was placed".to_owned());
        }
        let LocalShare {
            outrigger,
            default_scheduler,
        } = self.local_share;
        if outrigger < default_scheduler {
            violations.push(format!(
                "{} of the data are local with Outrigger, {} without",
                percent(outrigger),
                percent(default_scheduler)
            ));
        }
        violations
    }
}

impl fmt::Display for Placements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.placements.iter().map(|placement| placement.pod.len());
        let width = names.max().unwrap_or(0).max("pod".len());
        writeln!(
            f,
            "  {:<width$}  {:<8} {:>9}    {:>9}  second look",
            "pod", "node", "local", "of"
        )?;
        for placement in &self.placements {
            let Placement {
                pod,
                node,
                local_bytes,
                total_bytes,
                reason,
                found: _,
            } = placement;
            let mark = match placement.violation() {
                None => "ok",
                Some(_) => "WRONG",
            };
            writeln!(
                f,
                "  {pod:<width$}  {node:<8} {:>9} of {:>9}  {mark}",
                size(*local_bytes),
                size(*total_bytes)
            )?;
            writeln!(f, "      {reason}")?;
        }
        let LocalShare {
            outrigger,
            default_scheduler,
        } = self.local_share;
        writeln!(f)?;
        writeln!(f, "  {:<34} {:>9} {:>9}", "", "Outrigger", "without")?;
        writeln!(
            f,
            "  {:<34} {:>9} {:>9}",
            "share of local bytes, Deployment",
            percent(outrigger),
            percent(default_scheduler)
        )
    }
}

fn size(bytes: u64) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    match mebibytes < 1024.0 {
        true => format!("{mebibytes:.1} MiB"),
        false => format!("{:.1} GiB", mebibytes / 1024.0),
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use serde_json::json;

    use super::*;

    fn found(local_bytes: u64) -> Found {
        Found {
            pod: "market-0".to_owned(),
            node: "node-2".to_owned(),
            local_bytes,
            total_bytes: 4,
        }
    }

    fn good() -> Placements {
        Placements {
            placements: vec![Placement {
                pod: "market-0".to_owned(),
                node: "node-2".to_owned(),
                local_bytes: 3,
                total_bytes: 4,
                reason: "node-2 holds most".to_owned(),
                found: found(3),
            }],
            local_share: LocalShare {
                outrigger: 0.75,
                default_scheduler: 0.75,
            },
        }
    }

    #[test]
    fn the_report_has_the_names_that_scripts_read() {
        assert_eq!(
            serde_json::to_value(good()).unwrap(),
            json!({
                "placements": [{
                    "pod": "market-0", "node": "node-2", "localBytes": 3, "totalBytes": 4,
                    "reason": "node-2 holds most",
                }],
                "localShare": {"outrigger": 0.75, "defaultScheduler": 0.75},
            })
        );
    }

    #[test]
    fn what_the_second_look_finds_otherwise_is_a_violation() {
        assert_eq!(good().violations(), Vec::<String>::new());
        type Change = fn(&mut Placement);
        let changes: [Change; 3] = [
            |placement| placement.local_bytes = 4,
            |placement| placement.total_bytes = 3,
            |placement| placement.node = "node-1".to_owned(),
        ];
        for change in changes {
            let mut placements = good();
            change(&mut placements.placements[0]);
            assert_eq!(placements.violations().len(), 1, "{placements:?}");
            assert!(placements.to_string().contains("WRONG"), "{placements}");
        }
    }

    #[test]
    fn no_pods_and_a_share_below_the_schedulers_are_violations() {
        let mut placements = good();
        placements.local_share.default_scheduler = 0.8;
        assert_eq!(
            placements.violations(),
            ["75 % of the data are local with Outrigger, 80 % without"]
        );
        placements = Placements::default();
        assert_eq!(placements.violations(), ["no pod was placed"]);
    }

    #[test]
    fn a_share_is_of_the_bytes_of_all_pods() {
        assert!((share(&[found(4), found(1)]) - 0.625).abs() < f64::EPSILON);
        assert!(share([]).abs() < f64::EPSILON);
    }
}
