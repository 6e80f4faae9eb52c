//! Pods that have to be near their data.

use outrigger_placement::{AskedFor, DataState, Mode, Replaceable};
use serde_json::json;

use crate::world::{World, at};

fn world(places: &[u32]) -> World {
    let mut world = World::of(places);
    world.locality.mode = Mode::Required;
    world.add_data(&[(&[1], 8), (&[2], 4)]);
    world
}

#[test]
fn a_pod_is_sent_to_one_node() {
    let mut world = world(&[1, 1]);
    world.add_pod("risk-a");
    world.step();
    assert_eq!(world.explanation("risk-a").mode, AskedFor::Required);
    assert_eq!(
        world.pods["risk-a"]["spec"]["affinity"]["nodeAffinity"],
        json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]},
        ]}})
    );
}

#[test]
fn a_pod_waits_for_room_and_then_need_not_be_near() {
    let mut world = world(&[0, 0, 4]);
    world.add_pod("risk-a");
    let decision = world.step();
    let [waiting] = &decision.waiting[..] else {
        panic!("{decision:?}")
    };
    assert_eq!(waiting.until, Some(at(300)));
    assert_eq!(decision.deadline, Some(at(300)));
    assert_eq!(
        waiting.reason,
        "waits for a node that holds some of its 12.0 MiB and can run it, until 2026-01-01T00:05:00Z: node-1 ruled out: no room: the pod asks for 1 cpu, less is free; node-2 ruled out: no room: the pod asks for 1 cpu, less is free"
    );
    world.seconds = 300;
    world.step();
    world.schedule();
    assert_eq!(world.places()["risk-a"].as_deref(), Some("node-3"));
    let reason = world.explanation("risk-a").reason;
    assert!(
        reason.contains("it need not be near its data any more after 300 s"),
        "{reason}"
    );
}

#[test]
fn a_pod_for_which_the_scheduler_makes_room_is_waited_for() {
    let mut world = world(&[1, 1]);
    world.add_pod("risk-a");
    world.step();
    let other = world.add_pod("other");
    other["spec"] = json!({"containers": other["spec"]["containers"], "nodeName": "node-1"});
    world.schedule();
    let nominate = |world: &mut World, node: &str| {
        let pod = world.pods.get_mut("risk-a").unwrap();
        pod["status"]["nominatedNodeName"] = node.into();
    };
    nominate(&mut world, "node-1");
    world.seconds = 100;
    let decision = world.step();
    assert_eq!(decision.replacements, []);
    assert_eq!(
        decision.waiting[0].reason,
        "sent to node-1; the scheduler is making room there for it"
    );
    nominate(&mut world, "");
    assert_eq!(world.step().replacements[0].pod, "risk-a");
}

#[test]
fn a_pod_that_is_not_bound_is_replaced_and_its_node_avoided() {
    let mut world = world(&[1, 1]);
    world.add_pod("risk-a");
    world.step();
    // The node is filled between release and binding.
    let other = world.add_pod("other");
    other["spec"] = json!({"containers": other["spec"]["containers"], "nodeName": "node-1"});
    world.schedule();
    world.seconds = 59;
    let decision = world.step();
    assert_eq!(decision.replacements, []);
    assert_eq!(decision.deadline, Some(at(60)));
    world.seconds = 60;
    let decision = world.step();
    assert_eq!(decision.replacements[0].pod, "risk-a");
    assert_eq!(world.avoided[0].node, "node-1");
    assert_eq!(
        world.avoided[0].reason,
        "pod risk-a was sent to node-1 and not bound within 60 s; the scheduler says: no node is available"
    );
    world.pods.remove("other");
    world.add_pod("risk-b");
    world.step();
    let explanation = world.explanation("risk-b");
    assert_eq!(explanation.node.as_deref(), Some("node-2"));
    assert!(explanation.excluded["node-1"].starts_with("avoided: pod risk-a was sent"));
}

#[test]
fn a_node_that_was_created_again_is_not_avoided() {
    let mut world = world(&[0, 1]);
    world.add_pod("risk-a");
    world.step();
    world.cordon("node-2");
    world.schedule();
    world.seconds = 60;
    world.step();
    assert_eq!(world.avoided[0].node, "node-2");
    world.add_node("node-2", 1);
    world.add_pod("risk-b");
    world.step();
    assert_eq!(world.explanation("risk-b").node.as_deref(), Some("node-2"));
}

#[test]
fn time_runs_on_for_the_pod_that_replaces_another() {
    let mut world = world(&[0, 1, 4]);
    world.locality.relax_after_seconds = 100;
    world.add_pod("risk-a");
    world.step();
    world.cordon("node-2");
    world.schedule();
    world.seconds = 60;
    world.step();
    world.add_pod("risk-b");
    assert_eq!(world.step().waiting[0].until, Some(at(100)));
    world.seconds = 100;
    world.step();
    world.schedule();
    assert_eq!(world.places()["risk-b"].as_deref(), Some("node-3"));
}

#[test]
fn a_pod_that_nobody_would_replace_is_left_alone_and_told_of() {
    for (replaceable, expected) in [
        (
            Replaceable::No {
                reason: "no controller owns it".to_owned(),
            },
            "it is not replaced: no controller owns it",
        ),
        (
            Replaceable::CountedByJob {
                job: "j".to_owned(),
                left: 0,
            },
            "it is not replaced: its Job counts deleted pods as failed, and bears no more failures",
        ),
    ] {
        let mut world = world(&[1]);
        world.replaceable = replaceable;
        world.add_pod("risk-a");
        world.step();
        world.cordon("node-1");
        world.schedule();
        world.seconds = 60;
        let decision = world.step();
        assert_eq!(decision.replacements, []);
        let reason = &decision.waiting[0].reason;
        assert!(reason.ends_with(expected), "{reason}");
    }
}

#[test]
fn a_job_is_never_made_to_fail_by_replacements() {
    let mut world = world(&[2]);
    world.replaceable = Replaceable::CountedByJob {
        job: "j".to_owned(),
        left: 1,
    };
    world.add_pod("risk-a");
    world.add_pod("risk-b");
    world.step();
    world.cordon("node-1");
    world.schedule();
    world.seconds = 60;
    let decision = world.decide();
    assert_eq!(
        (decision.replacements.len(), decision.waiting.len()),
        (1, 1)
    );
}

#[test]
fn a_scheduler_that_has_not_come_to_a_pod_is_not_out_of_time() {
    let mut world = world(&[1]);
    world.add_pod("risk-a")["status"]["conditions"] = json!([
        {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"},
    ]);
    world.step();
    world.seconds = 600;
    assert_eq!(world.decide().replacements, []);
}

#[test]
fn data_that_cannot_be_looked_at_are_waited_for() {
    let mut world = world(&[1]);
    world.data[0].state = DataState::Failed {
        reason: "NameNode is in safe mode".to_owned(),
        last_known: None,
    };
    world.add_pod("risk-a");
    let decision = world.step();
    assert_eq!(decision.waiting[0].until, Some(at(300)));
    let reason = &decision.waiting[0].reason;
    assert!(
        reason.ends_with("Dataset data-0 cannot be looked at: NameNode is in safe mode"),
        "{reason}"
    );
    world.seconds = 300;
    world.step();
    let explanation = world.explanation("risk-a");
    assert_eq!((explanation.node, explanation.mode), (None, AskedFor::None));
}
