//! Images of slots that somebody else changes.

use outrigger_api::conditions::reason;
use outrigger_control::Slot;
use outrigger_rollout::State;

use crate::sim::digest_of;
use crate::world::World;

fn world() -> World {
    let mut world = World::new("good:1", &[("web-0", "node-0")]);
    for image in ["good:1", "good:2"] {
        world.set_image(image);
        world.settle();
    }
    world
}

fn image(world: &World, slot: Slot) -> String {
    let index = usize::from(slot == Slot::B);
    let image = &world.pod("web-0").object["spec"]["initContainers"][index]["image"];
    image.as_str().unwrap().to_owned()
}

/// Turns often enough for everything that can happen.
fn turns(world: &mut World) {
    for _ in 0..300 {
        world.turn();
    }
}

#[test]
fn a_changed_image_is_given_back_once_and_then_told() {
    for slot in Slot::BOTH {
        let mut world = world();
        world.pod_mut("web-0").meddle(slot, "evil:9");
        turns(&mut world);
        assert_eq!(digest_of(&image(&world, slot)), digest_of("good:2"));
        assert_eq!(world.settle().summary.state, State::Ready);
        world.pod_mut("web-0").meddle(slot, "evil:9");
        world.done.clear();
        turns(&mut world);
        assert_eq!(image(&world, slot), "evil:9", "no fight");
        assert_eq!(world.done, []);
        let decision = world.settle();
        assert_eq!(decision.summary.reason, reason::IMAGE_DRIFT);
        let message = &decision.summary.message;
        assert!(message.contains("the image evil:9 again"), "{message}");
        // The next swap brings both slots to one image again.
        world.set_image("good:3");
        assert_eq!(world.settle().summary.message, "1 of 1 pods have good:3");
        assert_eq!(digest_of(&image(&world, slot)), digest_of("good:3"));
    }
}

#[test]
fn both_slots_are_given_back_one_after_the_other() {
    let mut world = world();
    for slot in Slot::BOTH {
        world.pod_mut("web-0").meddle(slot, "evil:9");
    }
    turns(&mut world);
    for slot in Slot::BOTH {
        assert_eq!(digest_of(&image(&world, slot)), digest_of("good:2"));
    }
}

#[test]
fn the_same_content_under_another_name_is_left_as_it_is() {
    let mut world = world();
    let (_, digest) = digest_of("good:2")
        .split_once('@')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let mirrored = format!("mirror/good@{digest}");
    world.pod_mut("web-0").meddle(Slot::B, &mirrored);
    world.done.clear();
    turns(&mut world);
    assert_eq!(image(&world, Slot::B), mirrored);
    assert_eq!(world.done, []);
}

#[test]
fn a_pause_gives_nothing_back() {
    let mut world = world();
    world.update().paused = Some(true);
    world.pod_mut("web-0").meddle(Slot::A, "evil:9");
    turns(&mut world);
    assert_eq!(image(&world, Slot::A), "evil:9");
}
