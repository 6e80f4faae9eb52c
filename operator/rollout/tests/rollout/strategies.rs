//! The other strategies.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use outrigger_api::conditions::reason;
use outrigger_api::{ForeignContainer, RESUME_ANNOTATION, UpdateStrategy};
use outrigger_control::{Phase, Slot};
use outrigger_plan::revision_name;
use outrigger_rollout::{Consumer, State};
use serde_json::json;

use crate::fleet::{fleet, updated};
use crate::swaps::phases;
use crate::world::World;

fn with(strategy: UpdateStrategy, pods: usize) -> World {
    let mut world = fleet(pods);
    world.update().strategy = Some(strategy);
    world
}

/// Pods with an image that is not built on the chassis.
fn foreign(image: &str) -> World {
    let mut world = World::new(image, &[]);
    world.sidecar.spec.functions.clear();
    world.sidecar.spec.container = Some(ForeignContainer::default());
    world.create("web-0", "node-0");
    world.create("web-1", "node-1");
    world.settle();
    world.done.clear();
    world
}

#[test]
fn a_single_container_is_replaced_pod_by_pod() {
    let mut world = foreign("good:1");
    world.set_image("good:2");
    let decision = world.settle();
    assert_eq!(decision.summary.message, "2 of 2 pods have good:2");
    let expected = [Phase::PatchOld, Phase::Soak, Phase::Rest];
    assert_eq!(phases(&world, "web-0"), expected);
    assert_eq!(phases(&world, "web-1"), expected);
    world.set_image("good:1");
    assert_eq!(world.settle().summary.message, "2 of 2 pods have good:1");
}

#[test]
fn a_single_container_that_ends_gets_its_former_image_back() {
    let mut world = foreign("good:1");
    world.set_image("exits:2");
    let decision = world.settle();
    assert_eq!(decision.summary.reason, reason::REVISION_FAILED);
    assert_eq!(updated(&world, "good:1").len(), 2);
    assert_eq!(phases(&world, "web-1"), []);
}

#[test]
fn slots_are_replaced_in_place_when_that_is_asked_for() {
    let mut world = with(UpdateStrategy::InPlace, 2);
    world.set_image("good:2");
    assert_eq!(world.settle().summary.message, "2 of 2 pods have good:2");
    let phases = phases(&world, "web-00");
    assert!(!phases.contains(&Phase::Handover), "{phases:?}");
    assert!(!phases.contains(&Phase::Soak), "{phases:?}");
}

#[test]
fn staged_pods_keep_their_image_until_the_rollout_is_resumed() {
    let mut world = with(UpdateStrategy::Staged, 2);
    world.set_image("good:2");
    let decision = world.settle();
    assert_eq!(decision.summary.state, State::Ready);
    assert_eq!(decision.summary.reason, reason::STAGED);
    assert_eq!(decision.status.new_pod_revision.unwrap().image, "good:2");
    assert_eq!(decision.status.current_revision.unwrap().image, "good:1");
    assert!(world.trials.is_empty(), "preflights are cleaned up");
    world.create("web-02", "node-0");
    assert_eq!(updated(&world, "good:2"), ["web-02"]);
    assert_eq!(world.settle().summary.reason, reason::STAGED);
    let annotations = world.sidecar.metadata.annotations.get_or_insert_default();
    annotations.insert(RESUME_ANNOTATION.into(), revision_name("orders", "good:2"));
    let decision = world.settle();
    assert_eq!(decision.summary.message, "3 of 3 pods have good:2");
    assert_eq!(decision.status.new_pod_revision, None);
    // Another image is staged again.
    world.set_image("good:3");
    assert_eq!(world.settle().summary.reason, reason::STAGED);
}

/// Lets the controllers and kubelets of evicted pods do their work.
fn succeed(world: &mut World) {
    let mut ended: Vec<_> = Vec::new();
    world.pods.retain(|pod| {
        let metadata = &pod.object["metadata"];
        let ends = !metadata["deletionTimestamp"].is_null();
        if ends {
            let name = metadata["name"].as_str().unwrap();
            ended.push((name.to_owned(), pod.object["spec"]["nodeName"].clone()));
        }
        !ends
    });
    for (name, node) in ended {
        world.create(&format!("{name}x"), node.as_str().unwrap());
    }
}

/// Turns until the rollout is over; the most pods that were away at once.
fn recreate(world: &mut World) -> usize {
    let mut most = 0;
    for turn in 0..3_000 {
        let decision = world.turn();
        if decision.summary.state != State::Reconciling && decision.actions.is_empty() {
            return most;
        }
        let ends =
            |pod: &&crate::sim::SimPod| !pod.object["metadata"]["deletionTimestamp"].is_null();
        most = most.max(world.pods.iter().filter(ends).count());
        if turn % 7 == 0 {
            succeed(world);
        }
    }
    panic!("never over: {:?}", world.decide());
}

#[test]
fn pods_are_evicted_within_the_limit_and_their_successors_have_the_new_image() {
    let mut world = with(UpdateStrategy::Recreate, 4);
    world.set_image("good:2");
    assert_eq!(recreate(&mut world), 1);
    let decision = world.settle();
    assert_eq!(decision.summary.message, "4 of 4 pods have good:2");
    assert_eq!(decision.status.new_pod_revision, None);
    assert_eq!(world.evicted.len(), 4);
}

#[test]
fn no_other_pod_is_evicted_until_the_successor_is_created() {
    let mut world = with(UpdateStrategy::Recreate, 2);
    world.set_image("good:2");
    while world.evicted.is_empty() {
        world.turn();
    }
    // Something keeps its controller from creating the successor, for as long as it likes.
    world
        .pods
        .retain(|pod| pod.object["metadata"]["deletionTimestamp"].is_null());
    world.missing = BTreeMap::from([(Consumer::Application("shop".to_owned()), 1)]);
    for _ in 0..600 {
        world.turn();
    }
    assert_eq!(world.evicted, ["web-00"]);
    let decision = world.decide();
    assert_eq!(decision.summary.reason, reason::WAITING);
    assert_eq!(
        decision.summary.message,
        "a pod of application shop is still to be created; 0 of 1 pods have good:2"
    );
    assert!(decision.again.is_some(), "no event ends the wait");
    world.missing.clear();
    world.create("web-00x", "node-0");
    recreate(&mut world);
    assert_eq!(world.evicted, ["web-00", "web-01"]);
}

#[test]
fn a_rollout_is_not_at_its_end_while_a_successor_is_missing() {
    let mut world = with(UpdateStrategy::Recreate, 2);
    world.set_image("good:2");
    recreate(&mut world);
    world
        .pods
        .retain(|pod| pod.object["metadata"]["name"] != "web-01x");
    world.missing = BTreeMap::from([(Consumer::Application("shop".to_owned()), 1)]);
    world.turn();
    let decision = world.decide();
    assert_eq!(decision.summary.reason, reason::WAITING);
    assert_eq!(
        decision.summary.message,
        "a pod of application shop is still to be created; 1 of 1 pods have good:2"
    );
    assert!(decision.again.is_some(), "no event ends the wait");
}

#[test]
fn a_pod_that_is_not_ready_needs_no_room_for_its_eviction() {
    let mut world = with(UpdateStrategy::Recreate, 1);
    // Its controller creates no other pod before this one is Ready, which only the image mends.
    world.pod_mut("web-00").exit(Slot::A);
    world.missing = BTreeMap::from([(Consumer::Application("shop".to_owned()), 2)]);
    world.until(|world| world.pod("web-00").object["status"]["conditions"][0]["status"] == "False");
    world.set_image("good:2");
    for _ in 0..200 {
        world.turn();
    }
    assert_eq!(world.evicted, ["web-00"]);
}

#[test]
fn a_refused_eviction_takes_nobody_else_s_turn() {
    let mut world = with(UpdateStrategy::Recreate, 3);
    world.refuses = BTreeSet::from(["web-00".to_owned()]);
    world.set_image("good:2");
    for turn in 0..600 {
        world.turn();
        if turn % 7 == 0 {
            succeed(&mut world);
        }
    }
    assert_eq!(world.evicted, ["web-01", "web-02"]);
    world.refuses.clear();
    recreate(&mut world);
    assert_eq!(world.evicted, ["web-01", "web-02", "web-00"]);
}

#[test]
fn successors_are_counted_however_many_they_are() {
    let mut world = with(UpdateStrategy::Recreate, 50);
    world.update().max_unavailable = Some(IntOrString::Int(20));
    world.set_image("good:2");
    while world.evicted.is_empty() {
        world.turn();
    }
    assert_eq!(world.evicted.len(), 20);
    world
        .pods
        .retain(|pod| pod.object["metadata"]["deletionTimestamp"].is_null());
    world.missing = BTreeMap::from([(Consumer::Application("shop".to_owned()), 20)]);
    for _ in 0..20 {
        world.turn();
    }
    assert_eq!(world.evicted.len(), 20);
}

#[test]
fn a_pod_whose_controller_is_not_understood_is_reported_and_not_evicted() {
    let mut world = with(UpdateStrategy::Recreate, 1);
    world.pod_mut("web-00").object["metadata"]["ownerReferences"][0]["kind"] = json!("DaemonSet");
    world.set_image("good:2");
    for _ in 0..200 {
        world.turn();
    }
    assert_eq!(
        world.decide().summary.message,
        "pod web-00 is of a DaemonSet of apps/v1, and only pods of ReplicaSets and StatefulSets of apps are evicted; 0 of 1 pods have good:2"
    );
    assert!(world.evicted.is_empty());
}

#[test]
fn a_replica_set_of_another_group_is_not_understood() {
    let mut world = with(UpdateStrategy::Recreate, 1);
    let owner = &mut world.pod_mut("web-00").object["metadata"]["ownerReferences"][0];
    owner["apiVersion"] = json!("example.org/v1");
    world.set_image("good:2");
    for _ in 0..200 {
        world.turn();
    }
    assert!(world.evicted.is_empty());
}

#[test]
fn a_pod_without_a_controller_is_reported_and_not_evicted() {
    let mut world = with(UpdateStrategy::Recreate, 2);
    world.pod_mut("web-00").object["metadata"]["ownerReferences"] = json!([]);
    world.set_image("good:2");
    for turn in 0..600 {
        world.turn();
        if turn % 7 == 0 {
            succeed(&mut world);
        }
    }
    let decision = world.decide();
    assert_eq!(decision.summary.reason, reason::WAITING);
    assert_eq!(
        decision.summary.message,
        "pod web-00 has no controller that would create it anew; 1 of 2 pods have good:2"
    );
    assert_eq!(world.evicted, ["web-01"]);
}

#[test]
fn a_job_s_pod_keeps_a_failed_image_rather_than_being_evicted() {
    let mut world = with(UpdateStrategy::HotSwap, 2);
    world.update().partition = Some(IntOrString::Int(1));
    world.set_image("good:2");
    world.settle();
    assert_eq!(updated(&world, "good:2"), ["web-00"]);
    world.pod_mut("web-00").object["metadata"]["ownerReferences"][0] = json!({
        "apiVersion": "batch/v1", "kind": "Job", "name": "import", "uid": "1", "controller": true,
    });
    world.update().strategy = Some(UpdateStrategy::Recreate);
    world.take_back("good:2");
    world.settle();
    assert_eq!(world.evicted, [""; 0]);
}

#[test]
fn a_budget_keeps_a_pod_from_being_evicted() {
    let mut world = with(UpdateStrategy::Recreate, 2);
    let budget = json!({
        "metadata": {"name": "shop"},
        "spec": {"selector": {"matchLabels": {"app": "shop"}}},
        "status": {"disruptionsAllowed": 0, "currentHealthy": 2, "desiredHealthy": 2, "expectedPods": 2},
    });
    world.budgets = vec![serde_json::from_value(budget).unwrap()];
    world.set_image("good:2");
    for _ in 0..200 {
        world.turn();
    }
    let decision = world.decide();
    assert_eq!(decision.summary.reason, reason::WAITING);
    assert!(
        decision
            .summary
            .message
            .contains("PodDisruptionBudget shop")
    );
    assert!(world.evicted.is_empty());
}

#[test]
fn a_strategy_that_changes_in_the_middle_is_followed() {
    let mut world = with(UpdateStrategy::HotSwap, 3);
    world.set_image("good:2");
    world.until_phase("web-01", Phase::Warm);
    world.update().strategy = Some(UpdateStrategy::Staged);
    let decision = world.settle();
    assert_eq!(decision.summary.reason, reason::STAGED);
    assert_eq!(updated(&world, "good:2"), ["web-00", "web-01"]);
    world.update().strategy = Some(UpdateStrategy::InPlace);
    assert_eq!(world.settle().summary.message, "3 of 3 pods have good:2");
}
