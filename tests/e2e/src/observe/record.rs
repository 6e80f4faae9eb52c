//! What was seen of pods. Plain data: time and events come from outside.

use std::collections::BTreeMap;
use std::time::Instant;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::runtime::watcher::Event;
use outrigger_control::{Phase, Slot};

use crate::slots;

/// What was seen of some pods.
#[derive(Debug)]
pub struct Record {
    sidecar: String,
    pods: BTreeMap<String, Seen>,
    /// Those of a list that is not complete yet.
    listed: Vec<String>,
    phases: Vec<PhaseChange>,
}

/// Sums over all pods, since each was first seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Changes of the condition Ready.
    pub ready_transitions: u64,
    /// Restarts of the application's own containers.
    pub primary_restarts: u64,
    /// Containers of the application whose ID changed, or whose pod has gone.
    pub container_ids_changed: u64,
    /// Replacements of slots' containers.
    pub slot_replacements: u64,
}

/// A pod's order shows another phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhaseChange {
    /// When it was seen.
    pub at: Instant,
    /// Name of the pod.
    pub pod: String,
    /// The phase from then on.
    pub phase: Phase,
}

#[derive(Debug)]
struct Seen {
    pod: Pod,
    ready: Option<Ready>,
    phase: Option<Phase>,
    containers: BTreeMap<String, Container>,
    transitions: u64,
    gone: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Ready {
    status: String,
    since: Option<Time>,
}

#[derive(Debug)]
struct Container {
    primary: bool,
    id: Option<String>,
    first_restarts: i32,
    last_restarts: i32,
    replacements: u64,
}

impl Record {
    /// Nothing yet.
    pub fn new(sidecar: &str) -> Record {
        Record {
            sidecar: sidecar.to_owned(),
            pods: BTreeMap::new(),
            listed: Vec::new(),
            phases: Vec::new(),
        }
    }

    /// Takes an event. True when the record is complete after it.
    pub fn take(&mut self, at: Instant, event: &Event<Pod>) -> bool {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(pod) => {
                self.listed.extend(pod.uid());
                self.see(at, pod);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                for (uid, seen) in &mut self.pods {
                    seen.gone |= !listed.contains(uid);
                }
            }
            Event::Apply(pod) => self.see(at, pod),
            Event::Delete(pod) => {
                self.see(at, pod);
                let uid = pod.uid().unwrap_or_default();
                if let Some(seen) = self.pods.get_mut(&uid) {
                    seen.gone = true;
                }
            }
        }
        !matches!(event, Event::Init | Event::InitApply(_))
    }

    fn see(&mut self, at: Instant, pod: &Pod) {
        let uid = pod.uid().unwrap_or_default();
        let phase = slots::order(pod, &self.sidecar)
            .ok()
            .map(|order| order.phase);
        let slots = Slot::BOTH.map(|slot| slot.container(&self.sidecar));
        let seen = self.pods.entry(uid).or_insert_with(|| Seen {
            pod: pod.clone(),
            ready: None,
            phase,
            containers: BTreeMap::new(),
            transitions: 0,
            gone: false,
        });
        if let Some(phase) = phase.filter(|phase| seen.phase.replace(*phase) != Some(*phase)) {
            self.phases.push(PhaseChange {
                at,
                pod: pod.name_any(),
                phase,
            });
        }
        seen.take_ready(pod);
        seen.take_containers(pod, &slots);
        seen.pod = pod.clone();
    }

    /// The sums.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for seen in self.pods.values() {
            totals.ready_transitions += seen.transitions;
            for container in seen.containers.values() {
                if container.primary {
                    let restarts = container.last_restarts - container.first_restarts;
                    totals.primary_restarts += u64::try_from(restarts).unwrap_or_default();
                    totals.container_ids_changed += container.replacements + u64::from(seen.gone);
                } else {
                    totals.slot_replacements += container.replacements;
                }
            }
        }
        totals
    }

    /// All changes of phases, in the order in which they were seen.
    pub fn phases(&self) -> &[PhaseChange] {
        &self.phases
    }

    /// The newest state of each pod that is there.
    pub fn pods(&self) -> Vec<Pod> {
        let there = self.pods.values().filter(|seen| !seen.gone);
        there.map(|seen| seen.pod.clone()).collect()
    }

    /// The state of all in words, for messages.
    pub fn describe(&self) -> String {
        let pods = self.pods.values().map(|seen| {
            let ready = seen.ready.as_ref().map_or("unknown", |ready| &ready.status);
            let phase = seen
                .phase
                .map_or("none".to_owned(), |phase| phase.to_string());
            format!("{}: Ready {ready}, phase {phase}", seen.pod.name_any())
        });
        pods.collect::<Vec<_>>().join("; ")
    }
}

impl Seen {
    fn take_ready(&mut self, pod: &Pod) {
        let conditions = pod
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_ref());
        let Some(found) =
            conditions.and_then(|all| all.iter().find(|found| found.type_ == "Ready"))
        else {
            return;
        };
        let now = Ready {
            status: found.status.clone(),
            since: found.last_transition_time.clone(),
        };
        self.transitions += match &self.ready {
            Some(before) if before.status != now.status => 1,
            // There and back between two looks.
            Some(before) if before.since != now.since => 2,
            _ => 0,
        };
        self.ready = Some(now);
    }

    fn take_containers(&mut self, pod: &Pod, slots: &[String; 2]) {
        let Some(status) = &pod.status else { return };
        let primaries = status.container_statuses.iter().flatten();
        let init = status.init_container_statuses.iter().flatten();
        let own = init.filter(|container| slots.contains(&container.name));
        for (primary, container) in primaries
            .map(|container| (true, container))
            .chain(own.map(|container| (false, container)))
        {
            let known = self.containers.entry(container.name.clone());
            let known = known.or_insert_with(|| Container::first(primary, container));
            known.take(container);
        }
    }
}

impl Container {
    fn first(primary: bool, status: &ContainerStatus) -> Container {
        Container {
            primary,
            id: status.container_id.clone(),
            first_restarts: status.restart_count,
            last_restarts: status.restart_count,
            replacements: 0,
        }
    }

    fn take(&mut self, status: &ContainerStatus) {
        self.last_restarts = self.last_restarts.max(status.restart_count);
        let Some(id) = &status.container_id else {
            return;
        };
        let before = self.id.replace(id.clone());
        if before.is_some_and(|before| before != *id) {
            self.replacements += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use serde_json::{Value, json};

    use super::*;

    fn pod(ready: &str, since: &str, primary: &str, slot: &str, phase: &str) -> Pod {
        let order = json!({
            "v": 1, "term": 1, "active": "a", "phase": phase, "since": "2026-01-01T00:00:00Z",
            "config": {"a": "0", "b": "0"}, "revision": {"a": "0", "b": "0"},
            "admin": {"a": 1, "b": 2},
        });
        let container = |name: &str, id: &str, restarts: i32| {
            json!({
                "name": name, "containerID": id, "restartCount": restarts, "image": "",
                "imageID": "", "ready": true,
            })
        };
        let restarts = |id: &str| i32::from(id != "1");
        let object: Value = json!({
            "metadata": {
                "name": "p", "uid": "u",
                "annotations": {"outrigger.dev/slot-orders": order.to_string()},
            },
            "status": {
                "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": since}],
                "containerStatuses": [container("app", primary, restarts(primary))],
                "initContainerStatuses": [container("orders-b", slot, restarts(slot))],
            },
        });
        serde_json::from_value(object).unwrap()
    }

    const EARLY: &str = "2026-01-01T00:00:00Z";
    const LATE: &str = "2026-01-01T00:00:09Z";

    fn totals(pods: Vec<Pod>) -> Totals {
        let mut record = Record::new("orders");
        for pod in pods {
            record.take(Instant::now(), &Event::Apply(pod));
        }
        record.totals()
    }

    #[test]
    fn a_replaced_slot_is_no_restart_of_the_application() {
        let found = totals(vec![
            pod("True", EARLY, "1", "1", "Rest"),
            pod("True", EARLY, "1", "2", "PatchStandby"),
        ]);
        let expected = Totals {
            slot_replacements: 1,
            ..Totals::default()
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_restarted_application_is_seen() {
        let found = totals(vec![
            pod("True", EARLY, "1", "1", "Rest"),
            pod("True", EARLY, "2", "1", "Rest"),
        ]);
        assert_eq!(
            (found.primary_restarts, found.container_ids_changed),
            (1, 1)
        );
    }

    #[test]
    fn readiness_lost_and_found_between_two_looks_is_two_transitions() {
        let found = totals(vec![
            pod("True", EARLY, "1", "1", "Rest"),
            pod("True", LATE, "1", "1", "Rest"),
        ]);
        assert_eq!(found.ready_transitions, 2);
    }

    #[test]
    fn a_pod_that_has_gone_is_a_changed_container() {
        let mut record = Record::new("orders");
        let pod = pod("True", EARLY, "1", "1", "Rest");
        record.take(Instant::now(), &Event::Apply(pod));
        record.take(Instant::now(), &Event::Init);
        record.take(Instant::now(), &Event::InitDone);
        assert_eq!(record.totals().container_ids_changed, 1);
        assert!(record.pods().is_empty());
    }

    #[test]
    fn phases_are_noted_when_they_change() {
        let mut record = Record::new("orders");
        for phase in ["Rest", "PatchStandby", "PatchStandby", "Rest"] {
            let pod = pod("True", EARLY, "1", "1", phase);
            record.take(Instant::now(), &Event::Apply(pod));
        }
        let seen: Vec<_> = record.phases().iter().map(|change| change.phase).collect();
        assert_eq!(seen, [Phase::PatchStandby, Phase::Rest]);
    }
}
