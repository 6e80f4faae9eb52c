//! Several pods at once, and those that are left out.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use outrigger_api::conditions::reason;
use outrigger_control::Phase;
use outrigger_plan::revision_name;
use outrigger_rollout::State;
use serde_json::json;

use crate::world::World;

/// Pods `web-00` and so on, on four nodes, after the first image.
pub(crate) fn fleet(pods: usize) -> World {
    let mut world = World::new("good:1", &[]);
    for pod in 0..pods {
        world.create(&format!("web-{pod:02}"), &format!("node-{}", pod % 4));
    }
    world.settle();
    world.done.clear();
    world
}

pub(crate) fn at_once(world: &mut World, share: &str) {
    world.update().max_unavailable = Some(IntOrString::String(share.into()));
}

fn in_swap(world: &World) -> usize {
    let pods = world.pods.iter();
    pods.filter(|pod| pod.order().phase != Phase::Rest).count()
}

pub(crate) fn updated(world: &World, image: &str) -> Vec<String> {
    let revision = revision_name("orders", image);
    let pods = world.pods.iter().filter(|pod| {
        let found = pod.order().revision;
        found.a == revision && found.b == revision
    });
    let names = pods.map(|pod| pod.object["metadata"]["name"].as_str().unwrap().to_owned());
    names.collect()
}

/// The most pods that were in a swap at once on the way to the end.
fn most_at_once(world: &mut World) -> usize {
    let mut most = 0;
    for _ in 0..2_000 {
        let decision = world.turn();
        most = most.max(in_swap(world));
        if decision.summary.state == State::Ready {
            return most;
        }
    }
    panic!("never over: {:?}", world.decide());
}

#[test]
fn as_many_pods_are_swapped_at_once_as_may_be_rounded_down() {
    for (share, expected) in [("10%", 2), ("1%", 1), ("50%", 12)] {
        let mut world = fleet(25);
        at_once(&mut world, share);
        world.set_image("good:2");
        assert_eq!(most_at_once(&mut world), expected, "{share}");
        assert_eq!(updated(&world, "good:2").len(), 25);
    }
}

#[test]
fn an_application_is_disturbed_by_its_own_share_only() {
    let mut world = fleet(20);
    for pod in 0..4 {
        world.create_of(&format!("a-{pod}"), "node-0", "till");
    }
    world.settle();
    at_once(&mut world, "25%");
    world.set_image("good:2");
    // The world checks the limits of both with each swap that begins.
    assert_eq!(most_at_once(&mut world), 6);
}

#[test]
fn the_status_names_the_swaps_sorted_and_no_more_than_sixteen() {
    let mut world = fleet(40);
    at_once(&mut world, "50%");
    world.set_image("good:2");
    world.until(|world| in_swap(world) == 20);
    world.turn();
    let swaps = world.sidecar.status.clone().unwrap().swaps;
    let names: Vec<_> = swaps.iter().map(|swap| swap.pod.as_str()).collect();
    assert_eq!(names.len(), 16);
    assert!(names.is_sorted());
    assert_eq!(names[0], "web-00");
}

#[test]
fn pods_in_a_swap_count_against_a_budget_that_does_not_know_of_them() {
    let mut world = fleet(8);
    at_once(&mut world, "100%");
    let budget = json!({
        "metadata": {"name": "shop"},
        "spec": {"selector": {"matchLabels": {"app": "shop"}}},
        "status": {"disruptionsAllowed": 3, "currentHealthy": 8, "desiredHealthy": 5, "expectedPods": 8},
    });
    world.budgets = vec![serde_json::from_value(budget).unwrap()];
    world.set_image("good:2");
    assert_eq!(most_at_once(&mut world), 3);
}

#[test]
fn pods_that_a_budget_knows_of_count_against_it_once() {
    let mut world = fleet(4);
    at_once(&mut world, "100%");
    let budget = json!({
        "metadata": {"name": "shop"},
        "spec": {"selector": {"matchLabels": {"app": "shop"}}},
        "status": {"disruptionsAllowed": 1, "currentHealthy": 3, "desiredHealthy": 2, "expectedPods": 4},
    });
    world.budgets = vec![serde_json::from_value(budget).unwrap()];
    world.set_image("good:2");
    world.until_phase("web-00", Phase::PatchStandby);
    // It is not Ready, so that the budget has counted it already.
    world.pod_mut("web-00").lost = true;
    let ready = &mut world.pod_mut("web-00").object["status"]["conditions"][0];
    *ready = json!({"type": "Ready", "status": "False"});
    world.until(|world| in_swap(world) == 2);
}

#[test]
fn pods_that_were_broken_before_neither_block_nor_count() {
    let mut world = fleet(6);
    world.update().max_unavailable = Some(IntOrString::Int(2));
    for _ in 0..300 {
        for name in ["web-00", "web-01", "web-02"] {
            let status = &mut world.pod_mut(name).object["status"]["conditions"][0];
            *status = json!({"type": "Ready", "status": "False"});
        }
        world.set_image_once("good:2");
        world.turn();
    }
    assert_eq!(updated(&world, "good:2"), ["web-03", "web-04", "web-05"]);
}

#[test]
fn a_partition_keeps_the_last_pods_and_their_successors() {
    let mut world = fleet(5);
    world.update().partition = Some(IntOrString::String("50%".into()));
    world.set_image("good:2");
    let decision = world.settle();
    assert_eq!(decision.summary.state, State::Ready);
    assert_eq!(decision.summary.reason, reason::PARTITION_REACHED);
    assert_eq!(
        decision.summary.message,
        "3 pods keep their revision by spec.update.partition; 2 of 5 pods have good:2"
    );
    assert_eq!(updated(&world, "good:2"), ["web-00", "web-01"]);
    assert!(world.trials.is_empty(), "preflights are cleaned up");
    // A pod that comes anew gets the former revision, and no other is begun for it.
    world
        .pods
        .retain(|pod| pod.object["metadata"]["name"] != "web-04");
    world.create("web-04", "node-0");
    world.settle();
    assert_eq!(updated(&world, "good:2"), ["web-00", "web-01"]);
    world.update().partition = None;
    assert_eq!(world.settle().summary.message, "5 of 5 pods have good:2");
}

#[test]
fn pods_on_a_node_that_is_gone_are_named_and_left_for_later() {
    let mut world = fleet(4);
    world.set_image("good:2");
    world.until_phase("web-00", Phase::PatchStandby);
    world.pod_mut("web-00").lost = true;
    world.lost_nodes.insert("node-0".into());
    for _ in 0..600 {
        world.turn();
    }
    assert_eq!(updated(&world, "good:2"), ["web-01", "web-02", "web-03"]);
    world.lost_nodes.clear();
    world.pod_mut("web-00").lost = false;
    assert_eq!(world.settle().summary.state, State::Ready);
}
