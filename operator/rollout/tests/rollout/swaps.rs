//! Complete swaps.

use outrigger_api::conditions::reason;
use outrigger_control::{Phase, Slot};
use outrigger_plan::revision_name;
use outrigger_rollout::{Action, State};

use crate::world::World;

/// The phases of a pod, as they were written.
pub(crate) fn phases(world: &World, pod: &str) -> Vec<Phase> {
    let written = world.done.iter().filter_map(|action| match action {
        Action::Patch(change) if change.pod == pod => Some(change.after.phase),
        _ => None,
    });
    written.collect()
}

pub(crate) const ALL: [Phase; 6] = [
    Phase::PatchStandby,
    Phase::Warm,
    Phase::Handover,
    Phase::Soak,
    Phase::PatchOld,
    Phase::Rest,
];

#[test]
fn a_new_image_reaches_every_pod_phase_by_phase_and_one_pod_at_a_time() {
    let mut world = World::new("good:1", &[("web-0", "node-0"), ("web-1", "node-1")]);
    world.settle();
    world.done.clear();
    world.set_image("good:2");
    let decision = world.settle();
    assert_eq!(decision.summary.state, State::Ready);
    assert_eq!(decision.summary.message, "2 of 2 pods have good:2");
    assert_eq!(phases(&world, "web-0"), ALL);
    assert_eq!(phases(&world, "web-1"), ALL);
    let pods = world.done.iter().filter_map(|action| match action {
        Action::Patch(change) => Some(change.pod.as_str()),
        _ => None,
    });
    let pods: Vec<_> = pods.collect();
    assert!(pods.is_sorted(), "{pods:?}");
    let status = world.sidecar.status.as_ref().unwrap();
    let current = status.current_revision.as_ref().unwrap();
    assert_eq!(current.name, revision_name("orders", "good:2"));
    assert_eq!(current.digest.as_deref(), Some("sha256:good-2"));
    assert_eq!(status.update_revision, None);
    assert_eq!(world.pod("web-0").active(), Slot::B);
    assert!(world.trials.is_empty());
}

#[test]
fn new_pods_get_the_former_image_until_all_pods_have_the_new_one() {
    let mut world = World::new("good:1", &[("web-0", "node-0")]);
    world.settle();
    world.set_image("good:2");
    world.until_phase("web-0", Phase::Soak);
    world.create("web-1", "node-1");
    let former = revision_name("orders", "good:1");
    assert_eq!(world.pod("web-1").order().revision.a, former);
    world.settle();
    assert_eq!(phases(&world, "web-1"), ALL);
    world.create("web-2", "node-1");
    let newest = revision_name("orders", "good:2");
    assert_eq!(world.pod("web-2").order().revision.a, newest);
}

#[test]
fn many_swaps_bring_no_image_string_twice() {
    // The simulated pod checks that with every patch.
    let mut world = World::new("good:1", &[("web-0", "node-0")]);
    for image in ["good:2", "good:1", "good:2", "good:3", "good:1"] {
        world.set_image(image);
        assert_eq!(world.settle().summary.state, State::Ready);
    }
    assert_eq!(world.pod("web-0").images.a.len(), 6);
}

#[test]
fn going_back_in_any_phase_ends_with_the_old_image() {
    for phase in &ALL[..5] {
        let mut world = World::new("good:1", &[("web-0", "node-0")]);
        world.settle();
        let current = world.sidecar.status.clone().unwrap().current_revision;
        world.set_image("good:2");
        world.until_phase("web-0", *phase);
        world.set_image("good:1");
        let decision = world.settle();
        assert_eq!(decision.summary.state, State::Ready, "{phase}");
        assert_eq!(decision.status.current_revision, current, "{phase}");
        let contents = "[\"image@sha256:good-1\", \"image@sha256:good-1\"]";
        assert!(world.end_state()[0].ends_with(contents), "{phase}");
        assert_eq!(world.pod("web-0").order().phase, Phase::Rest);
    }
}

#[test]
fn a_third_image_in_any_phase_is_followed_after_a_consistent_end() {
    for phase in &ALL[..5] {
        let mut world = World::new("good:1", &[("web-0", "node-0"), ("web-1", "node-1")]);
        world.settle();
        world.set_image("good:2");
        world.until_phase("web-0", *phase);
        world.set_image("good:3");
        let decision = world.settle();
        assert_eq!(
            decision.summary.message, "2 of 2 pods have good:3",
            "{phase}"
        );
    }
}

#[test]
fn a_pod_that_rescued_itself_gets_the_new_image_where_it_does_not_serve() {
    let mut world = World::new("good:1", &[("web-0", "node-0")]);
    world.settle();
    world.pod_mut("web-0").kill(Slot::A);
    assert_eq!(world.pod("web-0").active(), Slot::B);
    world.set_image("good:2");
    world.until_phase("web-0", Phase::PatchStandby);
    let order = world.pod("web-0").order();
    assert_eq!((order.active, order.term), (Slot::B, 2));
    world.until_phase("web-0", Phase::Soak);
    assert_eq!(world.pod("web-0").active(), Slot::A);
    world.settle();
    assert_eq!(world.pod("web-0").takeover(), 0);
}

#[test]
fn a_rescue_before_the_handover_is_no_failure_of_the_new_image() {
    let mut world = World::new("good:1", &[("web-0", "node-0")]);
    world.settle();
    world.set_image("good:2");
    world.until(|world| {
        let pod = world.pod("web-0");
        pod.order().phase == Phase::Warm && pod.report(Slot::B).is_some_and(|report| report.warm)
    });
    world.pod_mut("web-0").kill(Slot::A);
    assert_eq!(world.settle().summary.state, State::Ready);
    assert_eq!(world.pod("web-0").active(), Slot::B);
}

#[test]
fn a_configuration_change_is_an_order_without_a_term_and_no_rollout() {
    let mut world = World::new("good:1", &[("web-0", "node-0")]);
    world.settle();
    world.done.clear();
    world.sidecar.spec.functions[0].port = Some(15001);
    world.published = false;
    world.turn();
    assert_eq!(world.done, []);
    world.published = true;
    let decision = world.settle();
    assert_eq!(decision.summary.reason, reason::SUCCEEDED);
    let hash = world.plan().sidecars[0].document_hash().unwrap().to_owned();
    let order = world.pod("web-0").order();
    assert_eq!((&order.config.a, &order.config.b), (&hash, &hash));
    assert_eq!((order.term, order.phase), (1, Phase::Rest));
    assert_eq!(world.done.len(), 1);
}

#[test]
fn old_revisions_go_except_those_in_use() {
    let mut world = World::new("good:1", &[("web-0", "node-0")]);
    world.sidecar.spec.revision_history_limit = Some(1);
    for image in ["good:1", "good:2", "good:3", "good:4"] {
        world.set_image(image);
        world.settle();
    }
    let kept: Vec<_> = ["good:1", "good:2", "good:3", "good:4"]
        .into_iter()
        .filter(|image| {
            world
                .revisions
                .contains_key(&revision_name("orders", image))
        })
        .collect();
    assert_eq!(kept, ["good:3", "good:4"]);
}

#[test]
fn a_digest_that_only_the_status_tells_is_marked_when_the_image_changes() {
    let mut world = World::new("good:1", &[("web-1", "n1")]);
    world.settle();
    let (name, revision) = world.revisions.iter_mut().next().unwrap();
    let (name, marks) = (name.clone(), &mut revision.metadata.annotations);
    assert!(marks.take().is_some(), "it was marked");
    world.set_image("good:2");
    world.settle();
    assert!(world.revisions[&name].metadata.annotations.is_some());
}

#[test]
fn the_newest_revision_has_a_number_of_its_own() {
    let mut world = World::new("good:1", &[("web-1", "n1")]);
    world.settle();
    world.set_image("good:2");
    world.settle();
    for revision in world.revisions.values_mut() {
        revision.revision = 1;
    }
    world.settle();
    let mut numbers: Vec<_> = world.revisions.values().map(|it| it.revision).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
}
