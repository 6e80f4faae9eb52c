//! Which pods go, and that never too many do.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::decide::{Fate, PodState, Situation, Verdict, decide};
use super::memory::Memory;

fn pod(name: &str, ready: bool, fate: Fate) -> PodState {
    PodState {
        name: name.into(),
        uid: format!("uid-{name}"),
        ready,
        ends: false,
        fate,
    }
}

fn situation(pods: Vec<PodState>, limit: usize, memory: &Memory) -> Situation<'_> {
    Situation {
        desired: pods.len(),
        missing: 0,
        pods,
        limit,
        memory,
    }
}

fn evict(names: &[&str]) -> Verdict {
    Verdict::Evict(names.iter().map(|name| format!("uid-{name}")).collect())
}

#[test]
fn as_many_go_as_are_allowed_and_those_that_serve_nobody_first() {
    let memory = Memory::default();
    let pods = |c_ready| {
        vec![
            pod("a", true, Fate::Replace),
            pod("b", true, Fate::Replace),
            pod("c", c_ready, Fate::Replace),
            pod("d", true, Fate::Fit),
        ]
    };
    assert_eq!(decide(&situation(pods(true), 1, &memory)), evict(&["a"]));
    assert_eq!(
        decide(&situation(pods(true), 2, &memory)),
        evict(&["a", "b"])
    );
    assert_eq!(decide(&situation(pods(false), 1, &memory)), evict(&["c"]));
    assert_eq!(
        decide(&situation(pods(false), 2, &memory)),
        evict(&["c", "a"])
    );
}

#[test]
fn what_is_waited_for_is_told() {
    let memory = Memory::default();
    let wait = |situation: &Situation<'_>| match decide(situation) {
        Verdict::Wait { why } => why,
        other => panic!("{other:?}"),
    };
    let mut pods = vec![pod("a", true, Fate::Replace), pod("b", false, Fate::Fit)];
    assert_eq!(
        wait(&situation(pods.clone(), 1, &memory)),
        "pod b is not Ready, and 1 pod may be unavailable at a time"
    );
    pods[1].ends = true;
    assert_eq!(
        wait(&situation(pods.clone(), 1, &memory)),
        "pod b is ending, and 1 pod may be unavailable at a time"
    );
    pods.pop();
    let missing = Situation {
        missing: 2,
        desired: 3,
        ..situation(pods, 2, &memory)
    };
    assert_eq!(
        wait(&missing),
        "a pod is still to be created, and 2 pods may be unavailable at a time"
    );
    let swapping = vec![pod("a", true, Fate::Swapping)];
    assert_eq!(
        wait(&situation(swapping, 1, &memory)),
        "a swap in pod a comes to its end first"
    );
}

#[test]
fn a_pod_that_is_kept_is_not_evicted_and_holds_up_no_other() {
    let memory = Memory::default();
    let kept = pod("a", true, Fate::Kept("it has no controller".into()));
    let alone = situation(vec![kept.clone()], 1, &memory);
    assert_eq!(decide(&alone), Verdict::Rest);
    assert_eq!(alone.kept(), [("a", "it has no controller")]);
    let beside = vec![kept, pod("b", true, Fate::Replace)];
    assert_eq!(decide(&situation(beside, 1, &memory)), evict(&["b"]));
}

#[test]
fn a_successor_that_is_no_better_is_the_last_one() {
    let memory = Memory {
        before: Some(BTreeSet::from(["uid-a".to_owned(), "uid-b".to_owned()])),
        ..Memory::default()
    };
    let pods = vec![
        pod("a", true, Fate::Replace),
        pod("new", true, Fate::Replace),
    ];
    assert_eq!(
        decide(&situation(pods, 1, &memory)),
        Verdict::Stop { pod: "new".into() }
    );
}

#[test]
fn a_pod_that_was_evicted_counts_before_it_is_seen_to_end() {
    let memory = Memory {
        before: Some(BTreeSet::from(["uid-a".to_owned(), "uid-b".to_owned()])),
        evicted: BTreeSet::from(["uid-a".to_owned()]),
        ..Memory::default()
    };
    let pods = vec![pod("a", true, Fate::Replace), pod("b", true, Fate::Replace)];
    assert_eq!(
        decide(&situation(pods, 1, &memory)),
        Verdict::Wait {
            why: "pod a is ending, and 1 pod may be unavailable at a time".into()
        }
    );
}

/// What happens in a cluster between two looks.
#[derive(Clone, Debug)]
enum Event {
    /// The controller looks, and what it evicts is seen to end, or not yet.
    Look { seen: bool },
    /// A pod that was evicted is gone.
    Gone(usize),
    /// A missing pod is created.
    Created,
    /// A pod gets Ready, or no longer is.
    Turned(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => any::<bool>().prop_map(|seen| Event::Look { seen }),
        2 => any::<usize>().prop_map(Event::Gone),
        2 => Just(Event::Created),
        2 => any::<usize>().prop_map(Event::Turned),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        1 => Just(Fate::Fit),
        4 => Just(Fate::Replace),
        1 => Just(Fate::Swapping),
        1 => Just(Fate::Kept("so it is".into())),
    ]
}

/// Pods, and those that really end, whatever is seen of it.
struct World {
    pods: Vec<PodState>,
    desired: usize,
    limit: usize,
    ending: BTreeSet<String>,
    memory: Memory,
    created: usize,
}

impl World {
    fn new(pods: Vec<(bool, Fate)>, limit: usize) -> World {
        let pods = pods.into_iter().enumerate();
        let pods: Vec<_> = pods
            .map(|(index, (ready, fate))| pod(&index.to_string(), ready, fate))
            .collect();
        World {
            desired: pods.len(),
            pods,
            limit,
            ending: BTreeSet::new(),
            memory: Memory::default(),
            created: 0,
        }
    }

    fn missing(&self) -> usize {
        self.desired - self.pods.len()
    }

    /// Pods that there are to be and that do not serve.
    fn unavailable(&self) -> usize {
        let serves = |pod: &&PodState| pod.ready && !self.ending.contains(&pod.uid);
        self.desired - self.pods.iter().filter(serves).count()
    }

    fn look(&mut self, seen: bool) -> Result<(), TestCaseError> {
        let situation = Situation {
            pods: self.pods.clone(),
            desired: self.desired,
            missing: self.missing(),
            limit: self.limit,
            memory: &self.memory,
        };
        let Verdict::Evict(uids) = decide(&situation) else {
            return Ok(());
        };
        let before = self.unavailable();
        let present = self.pods.iter().map(|pod| pod.uid.clone()).collect();
        self.memory.before.get_or_insert(present);
        for uid in uids {
            prop_assert!(!self.ending.contains(&uid), "{uid} is evicted twice");
            let found = self.pods.iter_mut().find(|pod| pod.uid == uid);
            let found = found.ok_or_else(|| TestCaseError::fail("no such pod"))?;
            prop_assert_eq!(&found.fate, &Fate::Replace);
            found.ends = seen;
            self.memory.evicted.insert(uid.clone());
            self.ending.insert(uid);
        }
        let after = self.unavailable();
        prop_assert!(
            after <= self.limit.max(before),
            "{before} were unavailable and {after} are, of {} allowed",
            self.limit
        );
        prop_assert!(self.ending.len() + self.missing() <= self.limit);
        Ok(())
    }

    fn happens(&mut self, event: Event) -> Result<(), TestCaseError> {
        match event {
            Event::Look { seen } => self.look(seen)?,
            Event::Gone(which) => {
                let count = self.ending.len();
                let uid = self.ending.iter().nth(which % count.max(1)).cloned();
                if let Some(uid) = uid {
                    self.ending.remove(&uid);
                    self.pods.retain(|pod| pod.uid != uid);
                }
            }
            Event::Created => {
                if self.missing() > 0 {
                    self.created += 1;
                    let name = format!("new-{}", self.created);
                    self.pods.push(pod(&name, false, Fate::Fit));
                }
            }
            Event::Turned(which) => {
                let count = self.pods.len().max(1);
                if let Some(pod) = self.pods.get_mut(which % count) {
                    pod.ready = !pod.ready;
                }
            }
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn never_more_pods_than_allowed_are_unavailable_because_of_it(
        pods in prop::collection::vec((any::<bool>(), fate()), 1..10),
        limit in 1usize..4,
        events in prop::collection::vec(event(), 0..60),
    ) {
        let mut world = World::new(pods, limit);
        for event in events {
            world.happens(event)?;
        }
        // In a cluster that comes to rest, none is left that could be replaced.
        for _ in 0..world.pods.len() + 1 {
            world.look(true)?;
            while !world.ending.is_empty() {
                world.happens(Event::Gone(0))?;
            }
            while world.missing() > 0 {
                world.happens(Event::Created)?;
            }
            for pod in &mut world.pods {
                pod.ready = true;
            }
        }
        prop_assert!(world.pods.iter().all(|pod| pod.fate != Fate::Replace));
    }
}
