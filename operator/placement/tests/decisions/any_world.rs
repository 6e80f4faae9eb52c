//! What holds in whatever world.

use std::collections::BTreeSet;
use std::sync::Arc;

use outrigger_placement::{Data, DataState, Decision, Mode, Split, Workload, decide};
use proptest::prelude::*;

use crate::world::{World, at, part};

/// How a pod comes to be.
#[derive(Clone, Debug)]
struct Coming {
    indexed: bool,
    template: bool,
    other_gate: bool,
}

#[derive(Clone, Debug)]
struct Seed {
    places: Vec<u32>,
    cordoned: Vec<bool>,
    parts: Vec<Vec<(BTreeSet<u32>, u64)>>,
    by_index: bool,
    state: u8,
    required: bool,
    max_skew: u32,
    workload: u8,
    pods: Vec<Coming>,
    seconds: i64,
}

fn seeds() -> impl Strategy<Value = Seed> {
    let group = (prop::collection::btree_set(1..=6u32, 0..4), 1..9u64);
    let coming = (
        any::<bool>(),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.1),
    );
    let coming = coming.prop_map(|(indexed, template, other_gate)| Coming {
        indexed,
        template,
        other_gate,
    });
    let nodes = prop::collection::vec((0..4u32, prop::bool::weighted(0.2)), 1..6);
    (
        nodes,
        prop::collection::vec(prop::collection::vec(group, 0..4), 0..4),
        (any::<bool>(), 0..4u8, any::<bool>(), 1..3u32, 0..3u8),
        prop::collection::vec(coming, 1..7),
        prop::sample::select(vec![0, 1, 29, 30, 60, 299, 300, 5000]),
    )
        .prop_map(
            |(nodes, parts, (by_index, state, required, max_skew, workload), pods, seconds)| {
                let (places, cordoned) = nodes.into_iter().unzip();
                Seed {
                    places,
                    cordoned,
                    parts,
                    by_index,
                    state,
                    required,
                    max_skew,
                    workload,
                    pods,
                    seconds,
                }
            },
        )
}

impl Seed {
    /// The world before any pod.
    fn empty(&self) -> World {
        let mut world = World::of(&self.places);
        for (index, cordoned) in self.cordoned.iter().enumerate() {
            if *cordoned {
                world.cordon(&format!("node-{}", index + 1));
            }
        }
        let parts = self.parts.iter().enumerate().map(|(index, groups)| {
            let groups: Vec<(Vec<u32>, u64)> = groups
                .iter()
                .map(|(nodes, mib)| (nodes.iter().copied().collect(), *mib))
                .collect();
            let groups: Vec<_> = groups
                .iter()
                .map(|(nodes, mib)| (&nodes[..], *mib))
                .collect();
            part(&index.to_string(), &groups)
        });
        let split = if self.by_index {
            Split::ByIndex
        } else {
            Split::All
        };
        world.add_parts(split, parts.collect());
        let last = &mut world.data[0];
        last.state = match (self.state, last.state.clone()) {
            (1, _) => DataState::NotScannedYet { since: at(0) },
            (2, DataState::Located { located, .. }) => DataState::Failed {
                reason: "away".to_owned(),
                last_known: Some(located),
            },
            (3, _) => DataState::Failed {
                reason: "away".to_owned(),
                last_known: None,
            },
            (_, located) => located,
        };
        if self.required {
            world.locality.mode = Mode::Required;
        }
        world.locality.max_skew = self.max_skew;
        let pods = u32::try_from(self.pods.len()).unwrap();
        world.workload = match self.workload {
            0 => Workload::Replicas {
                replicas: pods,
                start: 0,
            },
            1 => Workload::Indexed {
                completions: pods,
                parallelism: pods,
            },
            _ => Workload::Unknown,
        };
        world
    }

    fn add(&self, world: &mut World, index: usize) {
        let coming = &self.pods[index];
        let pod = world.add_pod(&format!("risk-{index}"));
        let labels = &mut pod["metadata"]["labels"];
        if coming.indexed {
            labels["apps.kubernetes.io/pod-index"] = index.to_string().into();
        }
        if coming.template {
            labels["pod-template-hash"] = "t2".into();
        }
        if coming.other_gate {
            let gates = pod["spec"]["schedulingGates"].as_array_mut().unwrap();
            gates.insert(0, serde_json::json!({"name": "example.com/quota"}));
        }
    }

    fn full(&self) -> World {
        let mut world = self.empty();
        for index in 0..self.pods.len() {
            self.add(&mut world, index);
        }
        world.seconds = self.seconds;
        world
    }
}

/// Pods that are all alike but for their indexes, of a workload that is known.
fn alike() -> impl Strategy<Value = (Seed, Vec<usize>)> {
    let seed = seeds().prop_map(|mut seed| {
        let indexed = seed.pods[0].indexed;
        for pod in &mut seed.pods {
            *pod = Coming {
                indexed,
                template: false,
                other_gate: false,
            };
        }
        seed.state = 0;
        seed.workload %= 2;
        seed.seconds = 0;
        seed
    });
    seed.prop_flat_map(|seed| {
        let order: Vec<usize> = (0..seed.pods.len()).collect();
        (Just(seed), Just(order).prop_shuffle())
    })
}

/// Bytes on the pods' nodes, added up over those that were sent to one.
fn local_bytes(world: &World) -> u64 {
    let explained = world
        .pods
        .keys()
        .filter(|pod| !world.gated().contains(pod.as_str()));
    explained
        .map(|pod| world.explanation(pod).local_bytes)
        .sum()
}

fn complete(world: &World, decision: &Decision) -> Result<(), TestCaseError> {
    let released = decision.releases.iter().map(|release| release.pod.as_str());
    let released: Vec<_> = released.collect();
    let waiting = decision.waiting.iter().filter(|waiting| waiting.gated);
    for waiting in waiting.clone() {
        prop_assert!(
            waiting.until.is_some_and(|until| until > at(world.seconds)),
            "{waiting:?}"
        );
        prop_assert!(
            decision
                .deadline
                .is_some_and(|deadline| Some(deadline) <= waiting.until)
        );
        prop_assert!(!waiting.reason.is_empty());
    }
    let waiting = waiting.map(|waiting| waiting.pod.as_str());
    let mut answered: Vec<_> = released.into_iter().chain(waiting).collect();
    answered.sort_unstable();
    let gated: Vec<_> = world.gated().into_iter().collect();
    prop_assert_eq!(answered, gated);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn each_gated_pod_is_released_or_waits_until_a_time(seed in seeds()) {
        let world = seed.full();
        complete(&world, &world.decide())?;
    }

    #[test]
    fn no_pod_waits_for_ever(seed in seeds()) {
        let mut world = seed.full();
        for _ in 0..4 {
            let decision = world.step();
            complete(&seed.full(), &decision).ok();
            if world.gated().is_empty() {
                return Ok(());
            }
            let deadline = decision.deadline.unwrap();
            prop_assert!(deadline > at(world.seconds));
            world.seconds = deadline.duration_since(at(0)).as_secs();
        }
        prop_assert!(world.gated().is_empty(), "{:?}", world.gated());
    }

    #[test]
    fn the_order_of_lists_does_not_matter(seed in seeds(), turn in 0..7usize) {
        let situation = seed.full().situation();
        let mut turned = situation.clone();
        let mut nodes = turned.nodes.to_vec();
        nodes.reverse();
        turned.nodes = Arc::from(nodes);
        let places = turned.pods.len();
        turned.pods.rotate_left(turn % places);
        let other = Data { dataset: "a".to_owned(), ..situation.data[0].clone() };
        let mut situation = situation;
        situation.data.push(other.clone());
        turned.data.insert(0, other);
        prop_assert_eq!(decide(&situation), decide(&turned));
    }

    #[test]
    fn what_was_decided_is_not_decided_again(seed in seeds()) {
        let mut world = seed.full();
        world.step();
        let again = world.decide();
        prop_assert_eq!(again.releases, []);
        prop_assert_eq!(again.replacements, []);
    }

    #[test]
    fn a_crash_between_two_releases_changes_nothing((seed, _) in alike(), after in 0..7usize) {
        let mut calm = seed.full();
        calm.step();
        let mut crashed = seed.full();
        for release in crashed.decide().releases.iter().take(after) {
            crashed.release(release);
        }
        crashed.step();
        // Of equally good nodes, another one may be taken.
        prop_assert_eq!(calm.gated(), crashed.gated());
        prop_assert_eq!(local_bytes(&calm), local_bytes(&crashed));
    }

    #[test]
    fn whoever_comes_first_as_many_bytes_are_near((seed, order) in alike()) {
        let mut at_once = seed.full();
        at_once.step();
        let mut one_by_one = seed.empty();
        for index in order {
            seed.add(&mut one_by_one, index);
            one_by_one.step();
            one_by_one.schedule();
        }
        // A pod that has to wait is not bound.
        if at_once.places().values().all(Option::is_some) {
            prop_assert_eq!(local_bytes(&at_once), local_bytes(&one_by_one));
        }
    }
}
