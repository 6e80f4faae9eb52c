//! What images and clusters do to a rollout in the middle of its phases.

use outrigger_control::Phase;
use outrigger_rollout::State;

use crate::fleet::{fleet, updated};
use crate::swaps::{ALL, phases};
use crate::world::World;

#[test]
fn the_same_digest_under_another_name_is_a_swap_like_any_other() {
    let mut world = fleet(2);
    for image in ["good:2", "good/2"] {
        world.done.clear();
        world.set_image(image);
        let decision = world.settle();
        assert_eq!(
            decision.summary.message,
            format!("2 of 2 pods have {image}")
        );
        let digest = decision.status.current_revision.unwrap().digest;
        assert_eq!(digest.as_deref(), Some("sha256:good-2"));
        assert_eq!(phases(&world, "web-00"), ALL);
    }
}

#[test]
fn a_slot_that_ignores_its_signal_is_waited_for() {
    let mut world = fleet(2);
    for pod in &mut world.pods {
        pod.stops_after = 300;
    }
    world.set_image("good:2");
    assert_eq!(world.settle().summary.message, "2 of 2 pods have good:2");
    assert_eq!(phases(&world, "web-00"), ALL);
}

#[test]
fn two_images_in_quick_succession_end_with_the_second() {
    let mut world = fleet(3);
    for turns in 0..8 {
        let (first, second) = (format!("good:1{turns}"), format!("good:2{turns}"));
        world.set_image(&first);
        for _ in 0..turns {
            world.turn();
        }
        world.set_image(&second);
        world.settle();
        assert_eq!(updated(&world, &second).len(), 3, "after {turns} turns");
        assert!(world.trials.is_empty(), "preflights are cleaned up");
    }
}

#[test]
fn a_pod_that_is_deleted_in_any_phase_leaves_the_others_to_go_on() {
    for phase in &ALL[..5] {
        let mut world = fleet(3);
        world.set_image("good:2");
        world.until_phase("web-00", *phase);
        world.pods.remove(0);
        world.create("web-99", "node-0");
        assert_eq!(world.settle().summary.message, "3 of 3 pods have good:2");
    }
}

#[test]
fn a_kubelet_that_is_away_in_any_phase_is_waited_for() {
    for phase in &ALL[..5] {
        let mut world = fleet(2);
        world.set_image("good:2");
        world.until_phase("web-00", *phase);
        world.pod_mut("web-00").lost = true;
        for _ in 0..50 {
            world.turn();
        }
        world.pod_mut("web-00").lost = false;
        assert_eq!(world.settle().summary.state, State::Ready, "{phase}");
    }
}

#[test]
fn a_node_that_is_drained_in_the_middle_takes_its_pods_out_of_the_rollout() {
    let mut world = World::new("good:1", &[("web-0", "node-0"), ("web-1", "node-1")]);
    world.settle();
    world.set_image("good:2");
    world.until_phase("web-0", Phase::Soak);
    world.pod_mut("web-0").object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    world.create("web-2", "node-1");
    world.until(|world| updated(world, "good:2") == ["web-1", "web-2"]);
    assert_eq!(
        world.pod("web-0").order().phase,
        Phase::Soak,
        "nobody wrote to it"
    );
}
