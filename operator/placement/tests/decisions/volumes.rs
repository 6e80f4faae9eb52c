//! Pods with claims of their own.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::{StorageClass, VolumeAttachment};
use outrigger_placement::{AskedFor, Claim, Mode, Place, claim_names};
use serde_json::{Value, json};

use crate::world::{World, at, read};

fn claim(world: &World, claim: Value, volume: Value, class: Value, attached: &[&str]) -> Claim {
    let claim: PersistentVolumeClaim = serde_json::from_value(claim).unwrap();
    let volume: Option<PersistentVolume> = serde_json::from_value(volume).unwrap();
    let class: Option<StorageClass> = serde_json::from_value(class).unwrap();
    let attachments = attached.iter().map(|node| {
        serde_json::from_value::<VolumeAttachment>(json!({
            "metadata": {"name": "a"},
            "spec": {"attacher": "csi", "nodeName": node, "source": {"persistentVolumeName": "pv-0"}},
            "status": {"attached": true},
        }))
        .unwrap()
    });
    let attachments: Vec<_> = attachments.collect();
    let nodes = world.situation().nodes;
    Claim::new(
        "data",
        Some(&claim),
        volume.as_ref(),
        class.as_ref(),
        &attachments,
        &nodes,
    )
}

fn bound_claim() -> Value {
    json!({
        "metadata": {"name": "data", "namespace": "risk", "uid": "c1"},
        "spec": {"volumeName": "pv-0"},
        "status": {"phase": "Bound"},
    })
}

fn volume(key: &str, operator: &str, values: Value) -> Value {
    json!({
        "metadata": {"name": "pv-0", "creationTimestamp": at(0).to_string()},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "claimRef": {"namespace": "risk", "name": "data", "uid": "c1"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": key, "operator": operator, "values": values}]},
            ]}},
        },
    })
}

fn local_volume(node: &str) -> Value {
    volume("kubernetes.io/hostname", "In", json!([node]))
}

fn holders(world: &World, volume: Value, attached: &[&str]) -> Vec<String> {
    let claim = claim(world, bound_claim(), volume, json!(null), attached);
    claim
        .holders(&world.situation().nodes)
        .into_iter()
        .collect()
}

#[test]
fn a_volume_is_where_its_node_affinity_lets_it_be() {
    let mut world = World::of(&[1, 1, 1]);
    world.nodes.get_mut("node-3").unwrap()["metadata"]["labels"]["zone"] = "b".into();
    for (volume, expected) in [
        (local_volume("node-2"), &["node-2"][..]),
        (
            volume("zone", "DoesNotExist", json!(null)),
            &["node-1", "node-2"],
        ),
        (volume("zone", "In", json!(["b"])), &["node-3"]),
        (local_volume("node-9"), &[]),
    ] {
        assert_eq!(holders(&world, volume.clone(), &[]), expected, "{volume}");
    }
}

#[test]
fn a_network_disk_is_where_it_is_attached() {
    let world = World::of(&[1, 1]);
    let anywhere = volume("kubernetes.io/os", "DoesNotExist", json!(null));
    assert_eq!(holders(&world, anywhere, &["node-2"]), ["node-2"]);
}

#[test]
fn a_volume_that_any_node_can_mount_is_nearer_to_none() {
    let world = World::of(&[1, 1]);
    let mut volume = local_volume("node-1");
    volume["spec"]["nodeAffinity"] = json!(null);
    assert_eq!(holders(&world, volume, &[]), [""; 0]);
}

#[test]
fn a_volume_of_one_node_leaves_its_pod_no_other() {
    let mut world = World::of(&[1, 1, 1]);
    world.nodes.get_mut("node-3").unwrap()["metadata"]["labels"]["zone"] = "b".into();
    let mut anywhere = local_volume("node-2");
    anywhere["spec"]["nodeAffinity"] = json!(null);
    for (volume, expected) in [
        (local_volume("node-2"), Some("node-2")),
        (volume("zone", "In", json!(["b"])), Some("node-3")),
        (volume("zone", "DoesNotExist", json!(null)), None),
        (local_volume("node-9"), None),
        (anywhere, None),
    ] {
        // Where a disk is attached now says nothing of where it can be.
        let found = claim(
            &world,
            bound_claim(),
            volume.clone(),
            json!(null),
            &["node-1"],
        );
        let nodes = world.situation().nodes;
        assert_eq!(found.only_node(&nodes), expected, "{volume}");
    }
}

#[test]
fn a_local_volume_is_not_on_a_node_that_was_created_again() {
    let mut world = World::of(&[1]);
    world.seconds = 1;
    world.add_node("node-1", 1);
    assert_eq!(holders(&world, local_volume("node-1"), &[]), [""; 0]);
    // A disk in a zone does not go away with a node.
    let in_zone = volume("zone", "DoesNotExist", json!(null));
    assert_eq!(holders(&world, in_zone, &[]), ["node-1"]);
}

#[test]
fn a_claim_is_where_its_state_says() {
    let world = World::of(&[1]);
    let waits = json!({
        "metadata": {"name": "local"}, "provisioner": "p", "volumeBindingMode": "WaitForFirstConsumer",
    });
    let at_once = json!({"metadata": {"name": "fast"}, "provisioner": "p"});
    let pending = json!({"metadata": {"name": "data"}, "spec": {}, "status": {"phase": "Pending"}});
    let mut lost = bound_claim();
    lost["status"]["phase"] = "Lost".into();
    let mut of_another = local_volume("node-1");
    of_another["spec"]["claimRef"]["uid"] = "c0".into();
    let gone = Place::Lost {
        volume: "pv-0".to_owned(),
    };
    let anywhere = Place::NotYetAnywhere {
        class: "local".to_owned(),
        terms: None,
    };
    let none = json!(null);
    for (found, volume, class, expected) in [
        (&pending, &none, &waits, anywhere),
        (&pending, &none, &at_once, Place::BeingBound),
        (&pending, &none, &none, Place::BeingBound),
        (&lost, &none, &none, gone.clone()),
        (&bound_claim(), &none, &none, gone.clone()),
        (&bound_claim(), &of_another, &none, gone),
    ] {
        let claim = claim(&world, found.clone(), volume.clone(), class.clone(), &[]);
        assert_eq!(claim.place, expected, "{found} {volume} {class}");
    }
    let missing = Claim::new("data", None, None, None, [], &[]);
    assert_eq!(missing.place, Place::Missing);
}

#[test]
fn claims_are_those_that_a_pod_names_and_those_made_for_it() {
    let mut world = World::of(&[1]);
    let pod = world.add_pod("risk-0");
    pod["spec"]["volumes"] = json!([
        {"name": "data", "persistentVolumeClaim": {"claimName": "data-risk-0"}},
        {"name": "scratch", "ephemeral": {}},
        {"name": "config", "emptyDir": {}},
    ]);
    let names: Vec<_> = claim_names(&read(pod)).into_iter().collect();
    assert_eq!(names, ["data-risk-0", "risk-0-scratch"]);
}

/// A world where the pod `risk-0` mounts a claim bound by a volume on a node.
fn tied(places: &[u32], node: &str) -> World {
    let mut world = World::of(places);
    world.add_data(&[(&[1], 8), (&[2], 4)]);
    world.add_pod("risk-0");
    let claim = claim(&world, bound_claim(), local_volume(node), json!(null), &[]);
    world.claims.insert("risk-0".to_owned(), vec![claim]);
    world
}

#[test]
fn a_pod_is_sent_where_its_volume_is() {
    let mut world = tied(&[4, 4], "node-2");
    world.step();
    let explanation = world.explanation("risk-0");
    assert_eq!(explanation.node.as_deref(), Some("node-2"));
    assert_eq!(
        explanation.excluded["node-1"],
        "PersistentVolume pv-0 spec.nodeAffinity of the pod's claim data asks for kubernetes.io/hostname In [node-2]"
    );
}

#[test]
fn a_pod_that_was_never_at_the_gate_waits_for_the_node_of_its_claim() {
    let mut world = tied(&[4, 4], "node-2");
    let pod = world.pods.get_mut("risk-0").unwrap();
    pod["spec"]["schedulingGates"] = json!(null);
    assert!(world.decide().waiting.is_empty(), "nobody has tried");
    let pod = world.pods.get_mut("risk-0").unwrap();
    pod["status"]["conditions"] = json!([{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/2 nodes are available",
    }]);
    world.cordon("node-2");
    let decision = world.decide();
    assert_eq!(
        decision.waiting[0].reason,
        "its claim data is on node-2 only, which is ruled out: cordoned; the scheduler says: 0/2 nodes are available"
    );
    assert!(decision.releases.is_empty() && decision.replacements.is_empty());
}

#[test]
fn a_selector_and_a_volume_that_no_node_meets_are_both_named() {
    let mut world = tied(&[4, 4], "node-2");
    world.nodes.get_mut("node-1").unwrap()["metadata"]["labels"]["disk"] = "ssd".into();
    world.pods.get_mut("risk-0").unwrap()["spec"]["nodeSelector"] = json!({"disk": "ssd"});
    world.step();
    let explanation = world.explanation("risk-0");
    assert_eq!(explanation.mode, AskedFor::None);
    assert!(
        explanation.reason.starts_with(
            "the pod's spec.nodeSelector asks for disk=ssd (node-1), but PersistentVolume pv-0 spec.nodeAffinity of the pod's claim data asks for kubernetes.io/hostname In [node-2] (node-2): no node matches both"
        ),
        "{}",
        explanation.reason
    );
}

#[test]
fn a_volume_on_a_node_that_is_gone_is_named_before_release() {
    let mut world = tied(&[4, 4], "node-9");
    world.locality.mode = Mode::Required;
    let decision = world.step();
    let reason = &decision.waiting[0].reason;
    assert!(
        reason.ends_with(
            "PersistentVolume pv-0 spec.nodeAffinity of the pod's claim data asks for kubernetes.io/hostname In [node-9], which no node matches"
        ),
        "{reason}"
    );
}

#[test]
fn a_lost_claim_is_named() {
    let mut world = tied(&[4, 4], "node-1");
    let volume = "pv-0".to_owned();
    world.claims.get_mut("risk-0").unwrap()[0].place = Place::Lost { volume };
    world.step();
    let reason = world.explanation("risk-0").reason;
    assert!(
        reason.starts_with(
            "the pod's claim data has lost its PersistentVolume pv-0, which no node matches"
        ),
        "{reason}"
    );
}

#[test]
fn a_claim_that_will_be_bound_anywhere_is_waited_for_only_before_a_pod_is_sent_to_one_node() {
    let mut world = tied(&[4, 4], "node-1");
    world.claims.get_mut("risk-0").unwrap()[0].place = Place::BeingBound;
    let mut required = world.clone();
    required.locality.mode = Mode::Required;
    let expected = "PersistentVolumeClaim data is not bound yet, and its StorageClass does not wait for the pod";
    let reason = &required.step().waiting[0].reason;
    assert!(reason.ends_with(expected), "{reason}");
    world.step();
    let explanation = world.explanation("risk-0");
    assert_eq!(explanation.node.as_deref(), Some("node-1"));
    assert!(
        explanation.reason.ends_with(expected),
        "{}",
        explanation.reason
    );
}
