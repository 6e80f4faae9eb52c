//! Revisions that fail in the fleet.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use outrigger_api::RollbackSpec;
use outrigger_api::conditions::reason;
use outrigger_control::{Phase, Slot};
use outrigger_rollout::{Action, State};

use crate::fleet::{at_once, fleet, updated};
use crate::world::World;

fn failed(world: &mut World) -> String {
    let decision = world.settle();
    assert_eq!(decision.summary.state, State::Stalled);
    assert_eq!(decision.summary.reason, reason::REVISION_FAILED);
    assert_eq!(updated(world, "good:1").len(), world.pods.len());
    decision.summary.message
}

#[test]
fn an_image_that_answers_with_errors_is_taken_back_from_all_pods() {
    let mut world = fleet(10);
    at_once(&mut world, "20%");
    world.set_image("errs:2");
    let message = failed(&mut world);
    assert!(
        message
            .contains("to 2 pods of application shop were answered with a 5xx status, and 0.0 %"),
        "{message}"
    );
}

#[test]
fn errors_of_pods_that_are_swapped_one_by_one_add_up() {
    let mut world = fleet(10);
    world.set_image("errs:2");
    failed(&mut world);
    let begun = world.done.iter().filter(|action| {
        matches!(action, Action::Patch(change) if change.before.phase == Phase::Rest && change.after.phase == Phase::PatchStandby)
    });
    // The first alone is no proof, the second is; and the first goes back.
    assert_eq!(begun.count(), 3);
}

#[test]
fn errors_that_the_former_image_has_as_well_are_no_failure() {
    let mut world = World::new("errs:1", &[("web-0", "node-0")]);
    world.settle();
    world.set_image("errs:2");
    assert_eq!(world.settle().summary.state, State::Ready);
}

#[test]
fn a_limit_of_a_hundred_points_allows_all_errors() {
    let mut world = fleet(2);
    world.update().rollback = Some(RollbackSpec {
        error_ratio_percent: Some(100),
        ..RollbackSpec::default()
    });
    world.set_image("errs:2");
    assert_eq!(world.settle().summary.state, State::Ready);
}

#[test]
fn the_errors_of_one_application_are_held_against_the_image_there_only() {
    let mut world = fleet(2);
    for pod in 0..2 {
        world.create_of(&format!("a-{pod}"), "node-0", "till");
    }
    world.settle();
    world.set_image("good:2");
    world.until(|world| updated(world, "good:2").len() == 2);
    let name = world.revisions.keys().max().unwrap().clone();
    let name = match world.revisions[&name].revision {
        2 => name,
        _ => world.revisions.keys().min().unwrap().clone(),
    };
    let annotations = &mut world.revisions.get_mut(&name).unwrap().metadata.annotations;
    annotations.get_or_insert_default().insert(
        outrigger_rollout::FAILED_IN_ANNOTATION.into(),
        r#"{"till": "7.0 % of 100 requests"}"#.into(),
    );
    let decision = world.settle();
    assert_eq!(decision.summary.state, State::Stalled);
    assert_eq!(updated(&world, "good:1"), ["a-0", "a-1"]);
    assert_eq!(updated(&world, "good:2"), ["web-00", "web-01"]);
    assert_eq!(decision.status.current_revision.unwrap().image, "good:1");
}

#[test]
fn an_image_that_crashes_after_its_soak_is_taken_back_while_the_rollout_goes_on() {
    let mut world = fleet(20);
    world.set_image("fades:2");
    let message = failed(&mut world);
    assert!(message.contains("after its soak"), "{message}");
}

#[test]
fn pods_of_the_same_application_after_one_that_crashed_are_asked_whether_they_have_too() {
    let mut world = World::new("good:1", &[]);
    for pod in 0..8 {
        world.create_of(&format!("a-{pod}"), "node-0", "till");
    }
    for pod in 0..40 {
        world.create(&format!("web-{pod:02}"), "node-0");
    }
    world.settle();
    at_once(&mut world, "100%");
    world.update().partition = Some(IntOrString::Int(1));
    world.set_image("good:2");
    world.settle();
    assert_eq!(updated(&world, "good:2").len(), 47);
    let active = world.pod("web-20").active();
    world.pod_mut("web-20").kill(active);
    world.until(|world| world.decide().ask.len() > 1);
    let expected = (21..39).chain(0..14).map(|pod| format!("uid-web-{pod:02}"));
    assert_eq!(world.decide().ask, expected.collect());
}

#[test]
fn the_word_of_one_slot_takes_the_image_from_no_other_pod() {
    let mut world = fleet(20);
    world.set_image("good:2");
    world.until(|world| updated(world, "good:2").len() == 8);
    world.until(|world| {
        world
            .pods
            .iter()
            .any(|pod| pod.order().phase == Phase::Soak)
    });
    let mut pods = world.pods.iter_mut();
    let soaking = pods.find(|pod| pod.order().phase == Phase::Soak).unwrap();
    let active = soaking.active();
    soaking.kill(active);
    let decision = world.settle();
    assert_eq!(decision.summary.reason, reason::REVISION_FAILED);
    assert!(
        decision
            .summary
            .message
            .contains("8 pods have it and keep it"),
        "{}",
        decision.summary.message
    );
    assert_eq!(updated(&world, "good:2").len(), 8);
}

#[test]
fn the_end_of_a_worker_of_the_old_image_is_not_held_against_the_new_one() {
    for phase in [Phase::PatchStandby, Phase::Warm, Phase::Soak] {
        let mut world = fleet(2);
        world.set_image("good:2");
        world.until_phase("web-00", phase);
        world.pod_mut("web-00").kill(Slot::A);
        assert_eq!(world.settle().summary.state, State::Ready, "{phase}");
    }
}

#[test]
fn a_batch_of_a_bad_image_is_the_last_and_goes_back() {
    for image in ["crashes:2", "exits:2"] {
        let mut world = fleet(20);
        at_once(&mut world, "10%");
        world.set_image(image);
        failed(&mut world);
        let touched = world.pods.iter().filter(|pod| pod.images.b.len() > 1);
        assert_eq!(touched.count(), 2, "{image}");
    }
}

#[test]
fn a_broken_pod_that_holds_all_room_goes_back_first_wherever_it_sorts() {
    let mut world = fleet(4);
    world.update().partition = Some(IntOrString::Int(1));
    world.set_image("good:2");
    world.settle();
    world.pod_mut("web-02").exit(Slot::A);
    world.turn();
    world.take_back("good:2");
    world.done.clear();
    failed(&mut world);
    let mut begun = world.done.iter().filter_map(|action| match action {
        Action::Patch(change) if change.before.phase == Phase::Rest => Some(change.pod.as_str()),
        _ => None,
    });
    assert_eq!(begun.next(), Some("web-02"));
}

#[test]
fn a_broken_pod_that_stops_the_others_is_named_with_its_container() {
    let mut world = fleet(4);
    world.update().partition = Some(IntOrString::Int(1));
    world.set_image("good:2");
    world.settle();
    world.pod_mut("web-02").exit(Slot::A);
    world.turn();
    let holds = "pod web-02 holds the room of spec.update.maxUnavailable: container orders-a does not run: ended with exit code 1";
    world.update().partition = None;
    world.until(|world| world.decide().summary.reason == reason::WAITING);
    let message = world.decide().summary.message;
    assert!(message.starts_with(holds), "{message}");
    world.take_back("good:2");
    let message = world.decide().summary.message;
    assert!(
        message.contains(&format!("3 pods go back ({holds})")),
        "{message}"
    );
}

#[test]
fn another_image_during_a_rollback_is_followed() {
    let mut world = fleet(10);
    world.set_image("errs:2");
    world.until(|world| world.decide().summary.reason == reason::REVISION_FAILED);
    world.set_image("good:3");
    assert_eq!(world.settle().summary.message, "10 of 10 pods have good:3");
}

#[test]
fn a_pause_holds_a_rollback_too_and_says_so() {
    let mut world = fleet(10);
    world.set_image("errs:2");
    world.until(|world| updated(world, "errs:2").len() == 1);
    world.until(|world| world.decide().summary.reason == reason::REVISION_FAILED);
    world.update().paused = Some(true);
    let decision = world.settle();
    assert!(
        decision
            .summary
            .message
            .contains("1 pods have it until spec.update.paused is false"),
        "{}",
        decision.summary.message
    );
    world.update().paused = None;
    failed(&mut world);
}
