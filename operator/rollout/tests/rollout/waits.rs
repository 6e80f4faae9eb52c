//! Pods that wait, and pods that are left alone.

use jiff::SignedDuration;
use outrigger_api::conditions::reason;
use outrigger_api::{UpdateSpec, UpdateStrategy};
use outrigger_control::Phase;
use outrigger_control::layout::SHARED_LABEL;
use outrigger_rollout::{Action, Decision, State};
use serde_json::json;

use crate::fleet::at_once;
use crate::swaps::{ALL, phases};
use crate::world::World;

/// A world in which one of two pods keeps the rollout from beginning or ending.
fn world() -> World {
    let mut world = World::new("good:1", &[("web-0", "node-0"), ("web-1", "node-1")]);
    world.settle();
    world.done.clear();
    world
}

/// Turns until nothing happens although something is to be done.
fn stuck(world: &mut World) -> Decision {
    for _ in 0..300 {
        world.turn();
    }
    let decision = world.decide();
    assert_eq!(decision.actions, []);
    decision
}

#[test]
fn paused_starts_no_swap_and_brings_a_begun_one_to_its_end() {
    let mut world = world();
    world.set_image("good:2");
    world.until_phase("web-0", Phase::Warm);
    world.sidecar.spec.update = Some(UpdateSpec {
        paused: Some(true),
        soak_seconds: Some(1),
        ..UpdateSpec::default()
    });
    let decision = stuck(&mut world);
    assert_eq!(decision.summary.reason, reason::PAUSED);
    assert_eq!(phases(&world, "web-0"), ALL);
    assert_eq!(phases(&world, "web-1"), []);
}

#[test]
fn a_budget_without_room_is_waited_for_by_name() {
    let mut world = world();
    let budget = json!({
        "metadata": {"name": "shop"},
        "spec": {"selector": {"matchLabels": {"app": "shop"}}},
        "status": {"disruptionsAllowed": 0, "currentHealthy": 2, "desiredHealthy": 2, "expectedPods": 2},
    });
    world.budgets = vec![serde_json::from_value(budget).unwrap()];
    world.set_image("good:2");
    let decision = stuck(&mut world);
    assert_eq!(decision.summary.reason, reason::WAITING);
    assert_eq!(
        decision.summary.message,
        "pod web-0: PodDisruptionBudget shop allows no disruption now, and 1 more wait; 0 of 2 pods have good:2"
    );
    world.budgets[0]
        .status
        .as_mut()
        .unwrap()
        .disruptions_allowed = 1;
    assert_eq!(world.settle().summary.state, State::Ready);
}

#[test]
fn a_pod_that_is_not_ready_waits_and_the_others_do_not() {
    let mut world = world();
    let before = world.pods[0].object["status"].clone();
    world.set_image("good:2");
    for _ in 0..300 {
        let ready = &mut world.pods[0].object["status"]["conditions"][0];
        *ready = json!({"type": "Ready", "status": "False"});
        world.turn();
    }
    assert_eq!(phases(&world, "web-0"), []);
    assert_eq!(phases(&world, "web-1"), ALL);
    world.pods[0].object["status"]["conditions"][0] = json!({"type": "Ready", "status": "False"});
    let decision = world.decide();
    assert_eq!(
        decision.summary.message,
        "pod web-0 is not Ready; 1 of 2 pods have good:2"
    );
    world.pods[0].object["status"] = before;
    assert_eq!(world.settle().summary.state, State::Ready);
}

#[test]
fn pods_of_a_job_that_restarts_containers_are_counted_and_never_patched() {
    let mut world = world();
    let pod = &mut world.pods[1].object;
    pod["spec"]["restartPolicy"] = "OnFailure".into();
    pod["metadata"]["ownerReferences"] = json!([
        {"apiVersion": "batch/v1", "kind": "Job", "name": "import", "uid": "1", "controller": true},
    ]);
    world.set_image("good:2");
    let decision = world.settle();
    assert_eq!(decision.summary.reason, reason::JOB_COUNTS_RESTARTS);
    let pods = decision.status.pods.unwrap();
    assert_eq!(
        (pods.total, pods.updated, pods.job_counts_restarts),
        (2, 1, 1)
    );
    assert_eq!(decision.status.current_revision.unwrap().image, "good:2");
    assert_eq!(phases(&world, "web-1"), []);
}

#[test]
fn a_pod_that_is_being_deleted_is_left_alone() {
    let mut world = world();
    world.pods[0].object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    world.set_image("good:2");
    assert_eq!(world.settle().summary.state, State::Ready);
    assert_eq!(phases(&world, "web-0"), []);
    assert_eq!(phases(&world, "web-1"), ALL);
}

#[test]
fn slots_that_cannot_be_asked_stop_the_swap_before_the_handover() {
    let mut world = world();
    world.set_image("good:2");
    world.until_phase("web-0", Phase::Warm);
    world.silence();
    let since = world.now;
    world.until(|world| world.now.duration_since(since) >= SignedDuration::from_secs(31));
    let decision = stuck(&mut world);
    assert_eq!(decision.summary.state, State::Stalled);
    assert_eq!(decision.summary.reason, reason::SLOT_UNREACHABLE);
    let message = &decision.summary.message;
    assert!(message.contains("10.0.0.1:15021"), "{message}");
    assert!(message.contains("allow ingress from the operator's namespace to TCP port 15021"));
    assert_eq!(world.pod("web-0").order().phase, Phase::Warm);
    for pod in &mut world.pods {
        pod.silent = false;
    }
    assert_eq!(world.settle().summary.state, State::Ready);
}

#[test]
fn a_pod_whose_node_is_gone_in_the_middle_of_its_swap_is_named() {
    let mut world = world();
    world.set_image("good:2");
    world.until_phase("web-0", Phase::PatchStandby);
    world.pod_mut("web-0").lost = true;
    let decision = stuck(&mut world);
    assert_eq!(decision.summary.reason, reason::WAITING);
    assert_eq!(
        decision.summary.message,
        "pod web-0: container orders-b is being replaced; 0 of 2 pods have good:2"
    );
    world.pod_mut("web-0").lost = false;
    assert_eq!(world.settle().summary.state, State::Ready);
}

#[test]
fn an_order_rests_on_no_image_patch_that_was_not_seen() {
    let mut world = world();
    world.sidecar.spec.functions[0].port = Some(15001);
    let seen = world.decide();
    // Another sidecar's image was patched in the meantime.
    world.pods[0].object["metadata"]["generation"] = 2.into();
    let orders = seen.actions.iter().filter_map(|action| match action {
        Action::Patch(change) if change.pod == "web-0" => Some(change),
        _ => None,
    });
    let refused = orders.map(|order| {
        let mut pod = world.pods[0].object.clone();
        json_patch::patch(&mut pod, &order.patch).is_err()
    });
    assert_eq!(refused.collect::<Vec<_>>(), [true]);
}

#[test]
fn a_pod_in_which_another_sidecar_is_swapped_waits() {
    let mut world = world();
    let mut other = world.pod("web-0").order();
    other.phase = Phase::PatchOld;
    let annotations = &mut world.pods[0].object["metadata"]["annotations"];
    annotations["outrigger.dev/slot-router"] = other.to_json().unwrap().into();
    world.set_image("good:2");
    let decision = stuck(&mut world);
    assert_eq!(
        decision.summary.message,
        "pod web-0: sidecar router is being swapped; 0 of 2 pods have good:2"
    );
    assert_eq!(
        phases(&world, "web-1"),
        [],
        "its users lose one pod at a time"
    );
    at_once(&mut world, "100%");
    let decision = stuck(&mut world);
    assert_eq!(phases(&world, "web-1"), ALL);
    assert_eq!(
        decision.summary.message,
        "pod web-0: sidecar router is being swapped; 1 of 2 pods have good:2"
    );
}

#[test]
fn an_application_that_is_not_valid_keeps_its_pods_and_says_so() {
    let mut world = world();
    world.invalid = true;
    world.set_image("good:2");
    let decision = stuck(&mut world);
    assert_eq!(decision.summary.reason, reason::WAITING);
    assert_eq!(
        decision.summary.message,
        "pods of IntegratedApp shop keep their image until it is mended: no such sidecar"
    );
    assert_eq!(phases(&world, "web-0"), []);
    assert!(world.trials.is_empty(), "nothing to try the image with");
    assert_eq!(decision.status.current_revision.unwrap().image, "good:1");
}

#[test]
fn an_image_that_could_not_be_tried_yet_is_given_to_no_new_pod() {
    for strategy in [UpdateStrategy::Staged, UpdateStrategy::Recreate] {
        let mut world = world();
        world.update().strategy = Some(strategy);
        world.invalid = true;
        world.set_image("good:2");
        let status = stuck(&mut world).status;
        assert_eq!(status.new_pod_revision, None, "{strategy:?}");
        assert_eq!(status.current_revision.unwrap().image, "good:1");
        world.invalid = false;
        world.until(|world| world.decide().status.new_pod_revision.is_some());
    }
}

#[test]
fn function_pods_whose_plan_is_not_there_yet_keep_a_rollout_open() {
    let mut world = world();
    let labels = &mut world.pods[0].object["metadata"]["labels"];
    *labels = json!({(SHARED_LABEL): "orders"});
    world.set_image("good:2");
    let decision = stuck(&mut world);
    assert_eq!(phases(&world, "web-1"), ALL);
    assert_eq!(decision.summary.reason, reason::WAITING);
    assert_eq!(
        decision.summary.message,
        "function pods keep their image until the configuration of all applications that share it is written"
    );
    assert_eq!(decision.status.current_revision.unwrap().image, "good:1");
}

#[test]
fn pods_of_an_application_that_uses_the_sidecar_no_more_do_not_keep_a_rollout_open() {
    let mut world = world();
    let labels = &mut world.pods[0].object["metadata"]["labels"];
    *labels = json!({"app": "former", "outrigger.dev/app": "former"});
    world.set_image("good:2");
    let decision = world.settle();
    assert_eq!(decision.status.current_revision.unwrap().image, "good:2");
    assert_eq!(phases(&world, "web-0"), []);
}
