//! Images are tried before any pod is touched.

use std::collections::BTreeSet;

use outrigger_api::conditions::reason;
use outrigger_control::Phase;
use outrigger_rollout::{Action, State};
use serde_json::json;

use crate::world::World;

fn nodes_tried(world: &World) -> BTreeSet<Option<&str>> {
    let tried = world.done.iter().filter_map(|action| match action {
        Action::Try { node, .. } => Some(node.as_deref()),
        _ => None,
    });
    tried.collect()
}

#[test]
fn the_first_image_is_tried_on_any_node_while_pods_may_start() {
    let mut world = World::new("good:1", &[]);
    let decision = world.turn();
    assert_eq!(decision.summary.reason, reason::PREFLIGHT);
    assert_eq!(decision.status.current_revision.unwrap().digest, None);
    let decision = world.settle();
    assert_eq!(nodes_tried(&world), BTreeSet::from([None]));
    let current = decision.status.current_revision.unwrap();
    assert_eq!(current.digest.as_deref(), Some("sha256:good-1"));
    assert!(world.trials.is_empty());
}

#[test]
fn every_node_with_a_pod_tries_the_image_with_the_digest_before_any_pod_is_patched() {
    let pods = [
        ("web-0", "node-0"),
        ("web-1", "node-1"),
        ("web-2", "node-1"),
    ];
    let mut world = World::new("good:1", &pods);
    world.settle();
    world.done.clear();
    world.set_image("good:2");
    world.until_phase("web-0", Phase::PatchStandby);
    assert_eq!(
        nodes_tried(&world),
        BTreeSet::from([Some("node-0"), Some("node-1")])
    );
    let first_patch = world
        .done
        .iter()
        .position(|action| matches!(action, Action::Patch(_)));
    let last_try = world
        .done
        .iter()
        .rposition(|action| matches!(action, Action::Try { .. }));
    assert!(last_try < first_patch);
}

#[test]
fn an_image_that_cannot_be_used_stops_the_rollout_before_any_pod_is_touched() {
    for (state, told) in [
        (
            json!({"waiting": {"reason": "ErrImagePull", "message": "bad:2: not found"}}),
            "ErrImagePull: bad:2: not found",
        ),
        (
            json!({"terminated": {"exitCode": 128, "reason": "StartError", "message": "exec format error"}}),
            "ended with exit code 128 (StartError): exec format error",
        ),
        (
            json!({"terminated": {"exitCode": 1, "reason": "Error", "message": "log\nkeyFields is empty\n"}}),
            "ended with exit code 1: keyFields is empty",
        ),
        (
            json!({"waiting": {"reason": "CreateContainerConfigError", "message": "image has non-numeric user"}}),
            "CreateContainerConfigError: image has non-numeric user",
        ),
    ] {
        let mut world = World::new("good:1", &[("web-0", "node-0")]);
        world.settle();
        world.done.clear();
        world.unusable.insert("bad".into(), state);
        world.set_image("bad:2");
        let decision = world.settle();
        assert_eq!(decision.summary.state, State::Stalled);
        assert_eq!(decision.summary.reason, reason::PREFLIGHT_FAILED);
        let message = &decision.summary.message;
        assert!(
            message.starts_with("image bad:2 in pod orders-preflight-"),
            "{message}"
        );
        assert!(
            message.contains(&format!("on node-0: {told}; no application pod")),
            "{message}"
        );
        assert!(
            !world
                .done
                .iter()
                .any(|action| matches!(action, Action::Patch(_)))
        );
        world.set_image("good:1");
        assert_eq!(world.settle().summary.state, State::Ready);
        assert!(world.trials.is_empty());
    }
}

#[test]
fn a_registry_that_comes_back_is_asked_again() {
    let mut world = World::new("good:1", &[("web-0", "node-0")]);
    world.settle();
    let state = json!({"waiting": {"reason": "ErrImagePull", "message": "timeout"}});
    world.unusable.insert("late".into(), state);
    world.set_image("late:2");
    world.settle();
    world.unusable.clear();
    world.until(|world| world.pod("web-0").order().phase == Phase::Soak);
}

#[test]
fn a_node_that_joins_in_the_middle_tries_the_image_before_its_pods_get_it() {
    let mut world = World::new("good:1", &[("web-0", "node-0")]);
    world.settle();
    world.set_image("good:2");
    world.until_phase("web-0", Phase::Soak);
    world.create("web-1", "node-7");
    let state = json!({"waiting": {"reason": "ErrImagePull", "message": "no route"}});
    world.unusable.insert("good-2".into(), state);
    world.until(|world| world.pod("web-0").order().phase == Phase::Rest);
    let decision = world.settle();
    assert_eq!(decision.summary.reason, reason::PREFLIGHT_FAILED);
    assert!(
        decision.summary.message.contains("node-7"),
        "{}",
        decision.summary.message
    );
    assert!(
        decision
            .summary
            .message
            .contains("no further pod is touched")
    );
    assert_eq!(world.pod("web-1").images.a.len(), 1);
}
