//! What is said of a shared sidecar.

use outrigger_api::conditions::reason;
use outrigger_plan::LeftOut;
use serde_json::{Value, json};

use crate::sharing::report::{pending, too_large, waits_for};
use crate::status::Progress;

use super::function_pods::{SHAPE, World, node, plan};

#[test]
fn an_application_whose_configuration_has_no_room_is_named_with_its_size() {
    let mut plan = plan();
    assert!(too_large(&plan).is_none());
    let part = |application: &str, goes_on| LeftOut {
        application: application.into(),
        bytes: 300 * 1024,
        goes_on,
    };
    plan.left_out = vec![part("bank", true)];
    let told = too_large(&plan).unwrap();
    assert_eq!(told.reason, reason::CONFIGURATION_TOO_LARGE);
    assert_eq!(told.progress, Progress::Stalled);
    assert_eq!(
        told.message,
        "the configuration of application bank has no room: it has 300 KiB, and 256 KiB are allowed for all applications together; its former one goes on; make it smaller, or use another IntegrationSidecar for some of the applications"
    );
    plan.left_out = vec![part("bank", false), part("shop", true)];
    let told = too_large(&plan).unwrap().message;
    assert!(told.contains("application bank, and those of 1 other applications, has no room"));
    assert!(told.contains("its requests are answered 503"));
}

#[test]
fn of_pods_that_do_not_serve_a_new_one_in_a_place_with_consumers_is_named() {
    let mut world = World::new();
    world.lead_to("former");
    world.create("a", &node("idle"), SHAPE);
    world.create("b", &node("n1"), "former");
    world.create("c", &node("n1"), SHAPE);
    let change = world.decide(&[(node("n1"), 1)], &[]);
    let told = pending(&world.pods, SHAPE, &change).unwrap();
    assert_eq!(
        told.message,
        "0 of 1 function pods serve: pod c on node n1 is not scheduled yet"
    );
}

#[test]
fn places_that_wait_too_are_counted() {
    let nodes = ["n1", "n2", "n3"].map(node);
    for (count, end) in [
        (1, "is not scheduled yet"),
        (2, "; 1 more place waits"),
        (3, "; 2 more places wait"),
    ] {
        let mut world = World::new();
        world.lead_to("former");
        let wanted: Vec<_> = nodes[..count].iter().map(|at| (at.clone(), 1)).collect();
        for (index, (at, _)) in wanted.iter().enumerate() {
            world.create(&format!("former-{index}"), at, "former");
            world.ready(index);
        }
        world.carry_out(&world.decide(&wanted, &[]));
        let change = world.decide(&wanted, &[]);
        let told = pending(&world.pods, SHAPE, &change).unwrap().message;
        assert!(told.ends_with(end), "{told}");
    }
}

/// What a pod is said to wait for, with some of its containers in these states and not ready.
fn told_with(slot: &Value, holder: &Value) -> String {
    let mut world = World::new();
    world.create("a", &node("n1"), SHAPE);
    let container = |name: &str, state: &Value| {
        let mut status = json!({
            "name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 0,
        });
        json_patch::merge(&mut status, state);
        json!([status])
    };
    let status = json!({
        "phase": "Pending",
        "initContainerStatuses": container("orders-a", slot),
        "containerStatuses": container("holder", holder),
    });
    world.edit(0, json!({"status": status}));
    waits_for(&world.pods[0])
}

#[test]
fn what_passes_while_a_pod_starts_is_not_told() {
    let waits = |reason: &str| json!({"state": {"waiting": {"reason": reason}}});
    let runs = json!({"state": {"running": {}}});
    for (slot, holder, told) in [
        (
            waits("PodInitializing"),
            waits("PodInitializing"),
            "is not ready yet",
        ),
        (
            waits("ContainerCreating"),
            waits("PodInitializing"),
            "is not ready yet",
        ),
        (runs.clone(), waits("PodInitializing"), "is not ready yet"),
        (
            runs.clone(),
            runs.clone(),
            "has container orders-a, which is not ready",
        ),
    ] {
        assert_eq!(told_with(&slot, &holder), told, "{slot} {holder}");
    }
}

#[test]
fn a_program_that_ends_again_and_again_is_told_with_its_last_end_all_the_time() {
    let end = json!({"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:00:00Z"}});
    let runs = json!({"state": {"running": {}}});
    for state in [
        end.clone(),
        json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}),
        json!({"running": {}}),
    ] {
        let slot = json!({"state": state, "lastState": end});
        assert_eq!(
            told_with(&slot, &runs),
            "has container orders-a: ended with exit code 1",
            "{slot}"
        );
    }
}
