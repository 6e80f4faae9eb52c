//! Which function pods there are to be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Service};
use outrigger_control::Tenants;
use outrigger_injection::{FunctionPod, NamespaceRules, Place, Settings, function_pod};
use outrigger_plan::SharedPlan;
use proptest::prelude::*;
use serde_json::json;

use crate::sharing::pods::{Change, SHAPE as KEY, Situation, Spot, decide};
use crate::sharing::service::service;

pub(super) const SHAPE: &str = "shape";
const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

pub(super) fn plan() -> SharedPlan {
    let sidecar = serde_json::from_value(json!({
        "apiVersion": "outrigger.dev/v1alpha1", "kind": "IntegrationSidecar",
        "metadata": {"name": "orders", "namespace": "store", "uid": "u"},
        "spec": {"image": "sidecar:1", "sharing": "Node", "functions": [{"name": "once", "custom": {}}]},
    }));
    SharedPlan::new(&sidecar.unwrap(), [], Vec::new()).unwrap()
}

pub(super) fn node(name: &str) -> Spot {
    Spot::Node(name.into())
}

/// A cluster with function pods of one sidecar.
pub(super) struct World {
    plan: SharedPlan,
    pub(super) pods: Vec<Arc<Pod>>,
    service: Option<Service>,
    uids: usize,
}

impl World {
    pub(super) fn new() -> World {
        World {
            plan: plan(),
            pods: Vec::new(),
            service: None,
            uids: 0,
        }
    }

    pub(super) fn create(&mut self, name: &str, spot: &Spot, shape: &str) {
        let wanted = FunctionPod {
            name,
            place: match spot {
                Spot::Node(node) => Place::Node(node),
                Spot::Anywhere => Place::Any,
            },
            tenants: &Tenants::default(),
            holder_image: "operator:1",
        };
        let settings = Settings::default();
        let rules = NamespaceRules::default();
        let mut pod = function_pod(&self.plan, &wanted, &settings, &rules).unwrap();
        self.uids += 1;
        pod.metadata.uid = Some(format!("uid-{}", self.uids));
        let shape = (KEY.to_owned(), shape.to_owned());
        pod.metadata.labels.get_or_insert_default().extend([shape]);
        self.pods.push(Arc::new(pod));
    }

    pub(super) fn edit(&mut self, index: usize, change: serde_json::Value) {
        let mut value = serde_json::to_value(&*self.pods[index]).unwrap();
        json_patch::merge(&mut value, &change);
        self.pods[index] = Arc::new(serde_json::from_value(value).unwrap());
    }

    pub(super) fn ready(&mut self, index: usize) {
        let conditions = json!([{"type": "Ready", "status": "True"}]);
        self.edit(
            index,
            json!({"status": {"phase": "Running", "conditions": conditions}}),
        );
    }

    pub(super) fn decide(&self, wanted: &[(Spot, usize)], expired: &[Spot]) -> Change {
        decide(&Situation {
            plan: &self.plan,
            shape: SHAPE,
            wanted: &wanted.iter().cloned().collect::<BTreeMap<_, _>>(),
            pods: &self.pods,
            service: self.service.as_ref(),
            expired: &expired.iter().cloned().collect::<BTreeSet<_>>(),
            now: NOW,
        })
    }

    /// The Service leads to pods of a shape.
    pub(super) fn lead_to(&mut self, shape: &str) {
        let done = Change::default();
        self.service = service(&self.plan, shape, &[], None, &done);
    }

    pub(super) fn carry_out(&mut self, change: &Change) {
        let found = self.service.as_ref();
        if let Some(service) = service(&self.plan, SHAPE, &[], found, change) {
            self.service = Some(service);
        }
        self.pods.retain(|pod| {
            let uid = pod.metadata.uid.clone().unwrap();
            !change.delete.iter().any(|(_, deleted)| *deleted == uid)
        });
        for (name, spot) in &change.create {
            self.create(name, spot, SHAPE);
        }
    }
}

#[test]
fn a_node_with_a_consumer_has_one_pod_until_the_grace_is_over() {
    let mut world = World::new();
    let wanted = [(node("n1"), 1)];
    let change = world.decide(&wanted, &[]);
    assert_eq!(change.create.len(), 1);
    world.carry_out(&change);
    let pending = world.decide(&wanted, &[]);
    assert_eq!((pending.desired, pending.ready), (1, 0));
    assert!(pending.create.is_empty() && pending.delete.is_empty());
    world.ready(0);
    assert_eq!(world.decide(&wanted, &[]).ready, 1);
    let idle = world.decide(&[], &[]);
    assert!(idle.delete.is_empty(), "the grace");
    let over = world.decide(&[], &[node("n1")]);
    assert_eq!(over.delete.len(), 1);
}

#[test]
fn a_pod_that_is_ending_has_a_successor_of_another_name_at_once() {
    let mut world = World::new();
    let wanted = [(node("n1"), 1)];
    world.carry_out(&world.decide(&wanted, &[]));
    world.ready(0);
    world.edit(
        0,
        json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
    );
    let change = world.decide(&wanted, &[]);
    assert_eq!(change.create.len(), 1);
    assert_ne!(
        Some(&change.create[0].0),
        world.pods[0].metadata.name.as_ref()
    );
    assert!(change.delete.is_empty());
}

#[test]
fn a_failed_pod_is_replaced_with_a_pause() {
    let mut world = World::new();
    let wanted = [(node("n1"), 1)];
    world.carry_out(&world.decide(&wanted, &[]));
    let created = |seconds: i64| {
        let created = NOW - jiff::SignedDuration::from_secs(seconds);
        json!({
            "metadata": {"creationTimestamp": created.to_string()},
            "status": {"phase": "Failed", "reason": "Evicted"},
        })
    };
    world.edit(0, created(4));
    let early = world.decide(&wanted, &[]);
    assert!(early.create.is_empty() && early.delete.is_empty());
    assert_eq!(early.again, Some(jiff::SignedDuration::from_secs(6)));
    world.edit(0, created(10));
    let late = world.decide(&wanted, &[]);
    assert_eq!((late.create.len(), late.delete.len()), (1, 1));
}

#[test]
fn pods_of_another_shape_go_when_successors_serve_in_all_places() {
    let mut world = World::new();
    let wanted = [(node("n1"), 1), (node("n2"), 1)];
    world.create("old-1", &node("n1"), "former");
    world.create("old-2", &node("n2"), "former");
    world.ready(0);
    world.ready(1);
    world.lead_to("former");
    let change = world.decide(&wanted, &[]);
    assert_eq!((change.create.len(), change.delete.len()), (2, 0));
    assert_eq!(change.holding, [node("n1"), node("n2")]);
    assert_eq!(change.ready, 2);
    world.carry_out(&change);
    world.ready(2);
    let waits = Change {
        desired: 2,
        ready: 2,
        lacks: true,
        holding: vec![node("n2")],
        ..Change::default()
    };
    assert_eq!(world.decide(&wanted, &[]), waits);
    world.ready(3);
    let change = world.decide(&wanted, &[]);
    assert!(
        change.holding.is_empty() && change.delete.is_empty(),
        "the Service first"
    );
    world.carry_out(&change);
    let names: Vec<_> = world.decide(&wanted, &[]).delete;
    let names: Vec<_> = names.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["old-1", "old-2"]);
}

#[test]
fn a_place_that_former_pods_do_not_serve_holds_up_no_other() {
    let mut world = World::new();
    let wanted = [(node("n1"), 1), (node("lost"), 1)];
    world.create("old-1", &node("n1"), "former");
    world.create("old-2", &node("lost"), "former");
    world.ready(0);
    world.lead_to("former");
    world.carry_out(&world.decide(&wanted, &[]));
    let of_n1 = world.pods.iter().position(|pod| {
        let spot = crate::sharing::pods::spot(pod);
        spot == node("n1") && pod.metadata.name.as_deref() != Some("old-1")
    });
    world.ready(of_n1.unwrap());
    let change = world.decide(&wanted, &[]);
    assert!(change.lacks && change.holding.is_empty());
    world.carry_out(&change);
    assert_eq!(world.decide(&wanted, &[]).delete.len(), 2);
}

#[test]
fn pods_that_the_service_does_not_lead_to_go_at_once() {
    let mut world = World::new();
    world.create("older", &node("n1"), "another");
    world.ready(0);
    world.lead_to("former");
    assert_eq!(world.decide(&[(node("n1"), 1)], &[]).delete[0].0, "older");
}

#[test]
fn surplus_pods_go_and_those_that_serve_stay() {
    let mut world = World::new();
    world.carry_out(&world.decide(&[(Spot::Anywhere, 3)], &[]));
    world.ready(2);
    let serving = world.pods[2].metadata.uid.clone().unwrap();
    let change = world.decide(&[(Spot::Anywhere, 1)], &[]);
    assert_eq!(change.delete.len(), 2);
    assert!(change.delete.iter().all(|(_, uid)| *uid != serving));
}

proptest! {
    /// Whatever is there: what is done once leads to what is wanted, and twice does nothing more.
    #[test]
    fn any_start_leads_to_one_end(
        found in prop::collection::vec((0..3_usize, prop::bool::ANY, prop::bool::ANY, 0..3_u8), 0..8),
        counts in prop::collection::vec(0..3_usize, 3),
    ) {
        let spots = [node("n1"), node("n2"), Spot::Anywhere];
        let mut world = World::new();
        for (index, (spot, current, ready, state)) in found.into_iter().enumerate() {
            let shape = if current { SHAPE } else { "former" };
            world.create(&format!("found-{index}"), &spots[spot], shape);
            if ready {
                world.ready(index);
            }
            match state {
                0 => world.edit(index, json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})),
                1 => world.edit(index, json!({"status": {"phase": "Failed"}})),
                _ => {}
            }
        }
        let wanted: Vec<_> = spots.iter().cloned().zip(counts).filter(|(_, count)| *count > 0).collect();
        for _ in 0..3 {
            let change = world.decide(&wanted, &spots);
            let names: BTreeSet<_> = change.create.iter().map(|(name, _)| name).collect();
            prop_assert_eq!(names.len(), change.create.len());
            world.carry_out(&change);
            // kubelets start what lives and take away what is ending.
            world.pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
            for index in 0..world.pods.len() {
                world.ready(index);
            }
        }
        let total: usize = wanted.iter().map(|(_, count)| count).sum();
        prop_assert_eq!(world.pods.len(), total);
        let settled = Change { desired: total, ready: total, ..Change::default() };
        prop_assert_eq!(world.decide(&wanted, &spots), settled);
    }
}
