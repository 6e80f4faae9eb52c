//! What pods and people are told.

use outrigger_placement::{AskedFor, DataState, Locals, Split, Workload, is_gated, let_go};
use serde_json::json;

use crate::world::{MIB, World, at, part, read};

#[test]
fn a_reason_is_one_sentence_for_people() {
    let mut world = World::of(&[4, 4, 4, 0]);
    world.add_data(&[(&[1], 20), (&[2], 12), (&[3], 4), (&[4], 14)]);
    world.cordon("node-1");
    world.add_pod("risk-a");
    world.step();
    let explanation = world.explanation("risk-a");
    assert_eq!(
        explanation.reason,
        "node-2 holds 12.0 MiB of its 50.0 MiB (24 %); next best node-3 holds 4.0 MiB; node-1 ruled out: cordoned; node-4 ruled out: no room: the pod asks for 1 cpu, less is free"
    );
    assert_eq!(explanation.excluded["node-1"], "cordoned");
    assert_eq!(explanation.runner_up.unwrap().node, "node-3");
}

#[test]
fn a_better_node_that_others_get_is_named() {
    let mut world = World::of(&[1, 1]);
    let parts = vec![
        part("p0", &[(&[1], 8), (&[2], 7)]),
        part("p1", &[(&[1], 8)]),
    ];
    world.add_parts(Split::ByIndex, parts);
    world.workload = Workload::Replicas {
        replicas: 2,
        start: 0,
    };
    world.add_indexed(0);
    world.step();
    assert_eq!(
        world.explanation("risk-0").reason,
        "node-2 holds 7.0 MiB of its 15.0 MiB (47 %); node-1 holds 8.0 MiB, but is for other pods of risk"
    );
}

#[test]
fn data_on_no_node_let_pods_go_anywhere() {
    let mut world = World::of(&[4]);
    world.add_data(&[(&[], 8)]);
    world.add_pod("risk-a");
    world.step();
    let explanation = world.explanation("risk-a");
    assert_eq!(
        explanation.reason,
        "no node holds any of its 8.0 MiB, so it may run anywhere"
    );
    assert_eq!(explanation.mode, AskedFor::None);
    assert_eq!(explanation.total_bytes, 8 * MIB);
    assert_eq!(world.pods["risk-a"]["spec"]["affinity"], json!(null));
}

#[test]
fn few_data_place_no_pod() {
    let mut world = World::of(&[4]);
    world.add_data(&[(&[1], 1)]);
    world.locality.threshold_bytes = 2 * MIB;
    world.add_pod("risk-a");
    world.step();
    assert_eq!(
        world.explanation("risk-a").reason,
        "its data have 1.0 MiB, less than locality.thresholdBytes, 2.0 MiB, so it may run anywhere"
    );
}

#[test]
fn a_gated_pod_of_an_application_without_data_is_let_go() {
    let mut world = World::of(&[4]);
    world.add_pod("risk-a");
    world.step();
    assert_eq!(
        world.explanation("risk-a").reason,
        "no Dataset that IntegratedApp risk names exists, so it may run anywhere"
    );
}

#[test]
fn a_pod_of_no_application_is_let_go_and_keeps_the_gates_of_others() {
    let mut world = World::of(&[4]);
    let pod = world.add_pod("risk-a");
    pod["spec"]["schedulingGates"] = json!([
        {"name": "example.com/quota"}, {"name": "outrigger.dev/placement"},
    ]);
    let release = let_go(&read(pod), "IntegratedApp risk is gone", at(0)).unwrap();
    world.release(&release);
    let pod = &world.pods["risk-a"];
    assert_eq!(
        pod["spec"]["schedulingGates"],
        json!([{"name": "example.com/quota"}])
    );
    assert_eq!(world.explanation("risk-a"), release.explanation);
    assert!(!is_gated(&read(pod)));
}

#[test]
fn a_first_scan_is_waited_for_but_not_long() {
    let mut world = World::of(&[4]);
    world.add_data(&[(&[1], 8)]);
    let located = world.data[0].state.clone();
    world.data[0].state = DataState::NotScannedYet { since: at(2) };
    world.add_pod("risk-a");
    let decision = world.step();
    assert_eq!(
        decision.waiting[0].reason,
        "waits for the first scan of Dataset data-0, until 2026-01-01T00:00:32Z"
    );
    assert_eq!(decision.deadline, Some(at(32)));
    let mut scanned = world.clone();
    scanned.data[0].state = located;
    scanned.step();
    assert_eq!(
        scanned.explanation("risk-a").node.as_deref(),
        Some("node-1")
    );
    world.seconds = 32;
    world.step();
    assert_eq!(
        world.explanation("risk-a").reason,
        "nothing is known of its data, so it may run anywhere; the first scan of Dataset data-0 has not ended"
    );
}

#[test]
fn places_that_were_known_before_count_while_data_cannot_be_looked_at() {
    let mut world = World::of(&[4]);
    world.add_data(&[(&[1], 8)]);
    let DataState::Located { located, .. } = world.data[0].state.clone() else {
        panic!()
    };
    world.data[0].state = DataState::Failed {
        reason: "no NameNode answers".to_owned(),
        last_known: Some(located),
    };
    world.add_pod("risk-a");
    world.step();
    assert_eq!(
        world.explanation("risk-a").reason,
        "node-1 holds 8.0 MiB of its 8.0 MiB (100 %); where Dataset data-0 is was found before it could not be looked at: no NameNode answers"
    );
}

#[test]
fn a_long_failure_of_a_dataset_is_told_in_part() {
    let mut world = World::of(&[4]);
    world.add_data(&[(&[1], 8)]);
    world.data[0].state = DataState::Failed {
        reason: "no NameNode answers; ".repeat(1000),
        last_known: None,
    };
    world.add_pod("risk-a");
    world.step();
    let reason = world.explanation("risk-a").reason;
    assert!(reason.contains("Dataset data-0 does not count"), "{reason}");
    assert!(reason.ends_with('…') && reason.len() < 512, "{reason}");
}

#[test]
fn of_many_nodes_that_are_ruled_out_some_are_told() {
    let mut world = World::of(&[1; 20]);
    let held: Vec<_> = (1..=20)
        .map(|node| ([node], u64::from(21 - node)))
        .collect();
    let held: Vec<(&[u32], u64)> = held.iter().map(|(nodes, mib)| (&nodes[..], *mib)).collect();
    world.add_data(&held);
    for node in 1..=19 {
        world.cordon(&format!("node-{node}"));
    }
    world.add_pod("risk-a");
    world.step();
    let explanation = world.explanation("risk-a");
    assert_eq!(explanation.node.as_deref(), Some("node-20"));
    assert_eq!(explanation.excluded.len(), 8);
    assert!(explanation.reason.ends_with(
        "node-1 ruled out: cordoned; node-2 ruled out: cordoned; node-3 ruled out: cordoned; and 16 more nodes ruled out"
    ), "{}", explanation.reason);
}

#[test]
fn a_node_that_is_gone_is_named() {
    let mut world = World::of(&[4]);
    world.add_data(&[(&[1], 4), (&[9], 8)]);
    world.add_pod("risk-a");
    world.step();
    assert_eq!(
        world.explanation("risk-a").reason,
        "node-1 holds 4.0 MiB of its 12.0 MiB (33 %); node-9 ruled out: not in the cluster any more"
    );
}

#[test]
fn what_is_achieved_is_said_of_the_real_node() {
    let mut world = World::of(&[4, 4, 4]);
    world.add_data(&[(&[1], 12), (&[2], 4)]);
    world.add_pod("risk-a");
    world.step();
    let on = |node: &str, known: bool| {
        let mut pod = world.pods["risk-a"].clone();
        pod["spec"]["nodeName"] = node.into();
        let data = if known { &world.data[..] } else { &[] };
        Locals::new(data)
            .of(&read(&pod))
            .map(|achieved| achieved.local_bytes)
    };
    assert_eq!(on("node-1", true), Some(12 * MIB));
    assert_eq!(on("node-2", true), Some(4 * MIB));
    assert_eq!(on("node-3", true), Some(0));
    assert_eq!(on("node-1", false), Some(12 * MIB));
    assert_eq!(on("node-2", false), Some(4 * MIB));
    assert_eq!(on("node-3", false), None);
    assert_eq!(
        Locals::new(&world.data).of(&read(&world.pods["risk-a"])),
        None
    );
}
