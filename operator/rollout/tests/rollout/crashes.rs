//! The operator dies after every n-th action, forgets everything, and still comes to the same end.

use outrigger_control::Phase;
use outrigger_rollout::State;

use crate::fleet::at_once;
use crate::world::World;

const PODS: [(&str, &str); 2] = [("web-0", "node-0"), ("web-1", "node-1")];

/// Plays a story with an operator that dies after every n-th action, for every n, and compares the
/// ends.
fn every_crash(play: impl Fn(&mut World) -> State) {
    let end = |dies_after| {
        let mut world = World::new("good:1", &PODS);
        world.dies_after = dies_after;
        world.settle();
        let state = play(&mut world);
        ((state, world.end_state()), world.actions)
    };
    let (calm, actions) = end(None);
    for n in 1..=actions {
        assert_eq!(end(Some(n)).0, calm, "dies after every {n}th action");
    }
}

#[test]
fn a_swap_survives_every_crash() {
    every_crash(|world| {
        world.set_image("good:2");
        world.settle().summary.state
    });
}

#[test]
fn swaps_there_and_back_survive_every_crash() {
    every_crash(|world| {
        for image in ["good:2", "good:1"] {
            world.set_image(image);
            world.settle();
        }
        world.settle().summary.state
    });
}

#[test]
fn going_back_in_the_middle_survives_every_crash() {
    every_crash(|world| {
        world.set_image("good:2");
        world.until_phase("web-0", Phase::Soak);
        world.set_image("good:1");
        world.settle().summary.state
    });
}

#[test]
fn failing_images_survive_every_crash() {
    for image in ["crashes:2", "exits:2", "clumsy:2", "picky:2", "cold:2"] {
        every_crash(|world| {
            world.set_image(image);
            world.settle().summary.state
        });
    }
}

#[test]
fn a_rollback_of_pods_that_soaked_survives_every_crash() {
    every_crash(|world| {
        world.update().soak_seconds = Some(0);
        world.set_image("fades:2");
        world.settle().summary.state
    });
}

#[test]
fn pods_that_are_swapped_together_survive_every_crash() {
    every_crash(|world| {
        at_once(world, "100%");
        world.set_image("good:2");
        world.settle().summary.state
    });
}
