//! Images that fail in a pod.

use jiff::SignedDuration;
use outrigger_api::RollbackSpec;
use outrigger_api::conditions::reason;
use outrigger_control::{Phase, Slot};
use outrigger_plan::revision_name;
use outrigger_rollout::{Decision, State};

use crate::world::World;

/// Rolls an image out that fails in the first pod.
fn fails(image: &str) -> (World, Decision) {
    let mut world = World::new("good:1", &[("web-0", "node-0"), ("web-1", "node-1")]);
    world.settle();
    world.set_image(image);
    let decision = world.settle();
    let old = revision_name("orders", "good:1");
    for name in ["web-0", "web-1"] {
        let order = world.pod(name).order();
        assert_eq!(
            (order.phase, &order.revision.a),
            (Phase::Rest, &old),
            "{name}"
        );
        assert_eq!(order.revision.b, old, "{name}");
    }
    assert_eq!(world.pod("web-1").images.b.len(), 1, "the rollout went on");
    assert_eq!(world.pod("web-0").images.b.len(), 3);
    assert_eq!(world.pod("web-0").active(), Slot::A);
    assert_eq!(decision.summary.state, State::Stalled);
    let current = decision.status.current_revision.clone().unwrap();
    assert_eq!(current.image, "good:1");
    (world, decision)
}

#[test]
fn an_image_that_crashes_while_it_soaks_is_taken_back_and_the_rollout_stops() {
    let (world, decision) = fails("crashes:2");
    assert_eq!(decision.summary.reason, reason::REVISION_FAILED);
    let message = &decision.summary.message;
    assert!(
        message.contains("the worker in container orders-b ended 1 times"),
        "{message}"
    );
    // The pod had rescued itself; the order that follows is above all that it recorded.
    assert_eq!(world.pod("web-0").order().term, 3);
}

#[test]
fn an_image_whose_container_ends_is_replaced_at_once() {
    let (world, decision) = fails("exits:2");
    assert_eq!(decision.summary.reason, reason::REVISION_FAILED);
    let message = &decision.summary.message;
    assert!(
        message.contains("container orders-b does not run: ended with exit code 1"),
        "{message}"
    );
    assert_eq!(world.pod("web-0").order().term, 1, "it never served");
}

#[test]
fn an_image_that_cannot_take_over_is_given_up_after_three_attempts() {
    let (_, decision) = fails("clumsy:2");
    assert_eq!(decision.summary.reason, reason::HANDOVER_FAILED);
    let message = &decision.summary.message;
    assert!(message.contains("could not take over in"), "{message}");
    assert!(message.contains("no acknowledgement"), "{message}");
}

#[test]
fn an_image_that_refuses_its_configuration_never_serves() {
    let (_, decision) = fails("picky:2");
    let message = &decision.summary.message;
    assert!(
        message.contains("slot b refuses its configuration: keyFields is empty"),
        "{message}"
    );
}

#[test]
fn an_image_that_stays_cold_while_the_old_one_is_warm_fails() {
    let (_, decision) = fails("cold:2");
    let message = &decision.summary.message;
    assert!(
        message.contains("slot b is not warm: store is away"),
        "{message}"
    );
}

#[test]
fn a_store_that_was_away_for_long_and_is_back_for_the_old_slot_first_fails_no_image() {
    let mut world = World::new("good:1", &[("web-0", "node-0")]);
    world.settle();
    world.set_image("good:2");
    world.until_phase("web-0", Phase::Warm);
    world.pod_mut("web-0").away = &Slot::BOTH;
    let away = world.now;
    world.until(|world| world.now > away + SignedDuration::from_mins(2));
    let waiting = world.decide().summary;
    assert_eq!(waiting.reason, reason::WAITING);
    assert!(
        waiting.message.contains("slot b is not warm"),
        "{}",
        waiting.message
    );
    world.pod_mut("web-0").away = &[Slot::B];
    let back = world.now;
    world.until(|world| world.now > back + SignedDuration::from_secs(30));
    assert_eq!(world.pod("web-0").order().phase, Phase::Warm);
    world.pod_mut("web-0").away = &[];
    assert_eq!(world.settle().summary.message, "1 of 1 pods have good:2");
}

#[test]
fn a_failed_revision_is_never_tried_again_until_its_mark_is_deleted() {
    let (mut world, _) = fails("crashes:2");
    world.set_image("good:1");
    assert_eq!(world.settle().summary.state, State::Ready);
    world.set_image("crashes:2");
    let images = world.pod("web-0").images.clone();
    assert_eq!(world.settle().summary.reason, reason::REVISION_FAILED);
    assert_eq!(world.pod("web-0").images, images);
    world
        .revisions
        .remove(&revision_name("orders", "crashes:2"));
    world.until_phase("web-0", Phase::PatchStandby);
}

#[test]
fn another_image_follows_a_failed_one() {
    let (mut world, _) = fails("crashes:2");
    world.set_image("good:3");
    let decision = world.settle();
    assert_eq!(decision.summary.message, "2 of 2 pods have good:3");
}

/// One of two pods has an image, and it fails in the other.
fn half_way() -> World {
    let mut world = World::new("good:1", &[("web-0", "node-0"), ("web-1", "node-1")]);
    world.settle();
    world.set_image("good:2");
    world.until_phase("web-1", Phase::Soak);
    world.pod_mut("web-1").kill(Slot::B);
    world
}

#[test]
fn an_image_that_failed_in_one_pod_is_taken_back_from_the_others() {
    let mut world = half_way();
    let decision = world.settle();
    assert_eq!(decision.summary.reason, reason::REVISION_FAILED);
    for name in ["web-0", "web-1"] {
        let revision = world.pod(name).order().revision;
        assert_eq!(revision.a, revision_name("orders", "good:1"), "{name}");
    }
}

#[test]
fn without_automatic_rollback_pods_keep_an_image_that_failed_elsewhere() {
    let mut world = half_way();
    world.update().rollback = Some(RollbackSpec {
        automatic: Some(false),
        ..RollbackSpec::default()
    });
    let decision = world.settle();
    let message = &decision.summary.message;
    assert!(message.contains("1 pods have it and keep it"), "{message}");
    assert_eq!(
        world.pod("web-0").order().revision.a,
        revision_name("orders", "good:2")
    );
    world.set_image("good:1");
    assert_eq!(world.settle().summary.message, "2 of 2 pods have good:1");
}

#[test]
fn pods_that_never_started_for_want_of_their_first_image_are_mended_by_another() {
    let mut world = World::new("missing:1", &[("web-0", "node-0")]);
    world.unusable.insert(
        "missing".into(),
        serde_json::json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}}),
    );
    assert_eq!(world.settle().summary.reason, reason::PREFLIGHT_FAILED);
    world.set_image("good:2");
    let decision = world.settle();
    assert_eq!(decision.summary.message, "1 of 1 pods have good:2");
    assert_eq!(world.pod("web-0").order().phase, Phase::Rest);
}

#[test]
fn an_order_that_no_slot_reads_is_told_and_taken_back_until_they_read_again() {
    let mut world = World::new("good:1", &[("web-0", "node-0")]);
    world.settle();
    world.set_image("good:2");
    world.until_phase("web-0", Phase::Handover);
    world.pod_mut("web-0").deaf = true;
    world.until(|world| world.decide().summary.reason == reason::ORDER_NOT_SEEN);
    let message = world.decide().summary.message;
    assert!(
        message.starts_with("pod web-0: slot b has not read the order with term 2"),
        "{message}"
    );
    world.until_phase("web-0", Phase::Warm);
    let order = world.pod("web-0").order();
    assert_eq!((order.active, order.term), (Slot::A, 3));
    for _ in 0..200 {
        world.turn();
    }
    assert_eq!(
        world.pod("web-0").order(),
        order,
        "no further order before this one is read"
    );
    world.pod_mut("web-0").deaf = false;
    assert_eq!(world.settle().summary.state, State::Ready);
    assert_eq!(world.pod("web-0").active(), Slot::B);
}

#[test]
fn an_image_that_cannot_serve_an_application_which_the_former_one_serves_is_taken_back() {
    for (image, what) in [
        (
            "choosy:2",
            "slot b refuses the configuration of application shop: no store",
        ),
        (
            "partial:2",
            "slot b is not warm: application shop: no store",
        ),
    ] {
        let (world, decision) = fails(image);
        assert_eq!(decision.summary.reason, reason::REVISION_FAILED);
        let message = &decision.summary.message;
        assert!(message.contains(what), "{message}");
        assert_eq!(world.pod("web-0").order().term, 1, "it never served");
    }
}

#[test]
fn an_application_that_no_image_can_serve_holds_up_nobody() {
    for image in ["good:2", "choosy:2", "partial:2"] {
        let mut world = World::new("good:1", &[("web-0", "node-0"), ("web-1", "node-1")]);
        for name in ["web-0", "web-1"] {
            world.pod_mut(name).cold_tenants = &["shop"];
            world.pod_mut(name).refused_tenants = &["shop"];
        }
        world.settle();
        world.set_image(image);
        let decision = world.settle();
        assert_eq!(decision.summary.state, State::Ready, "{image}");
        assert_eq!(
            decision.summary.message,
            format!("2 of 2 pods have {image}")
        );
    }
}
