//! One simulated pod: the API server's rules for it, its kubelet, and its two slots.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use outrigger_control::{
    ConfigurationReport, HandoverReport, Order, Pair, PerSlot, Refusal, Report, Role, Slot,
    TrafficReport,
};
use outrigger_rollout::PodChange;
use serde_json::{Value, json};

/// How an image behaves, by a word in its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Good,
    /// It cannot be pulled.
    Missing,
    /// Its container ends as soon as it starts.
    Exits,
    /// Its worker ends a while after it began to serve.
    Crashes,
    /// It never becomes warm.
    Cold,
    /// It cannot take over.
    Clumsy,
    /// It refuses every configuration.
    Picky,
    /// It refuses the configuration of the application `shop`.
    Choosy,
    /// It never becomes warm for the application `shop`.
    Partial,
    /// It answers every request with 503.
    Errs,
    /// Its worker ends long after it began to serve.
    Fades,
}

/// After so many ticks of service a worker that fades ends.
const FADES_AFTER: u32 = 60;

impl Behaviour {
    pub(crate) fn of(image: &str) -> Behaviour {
        [
            ("missing", Behaviour::Missing),
            ("exits", Behaviour::Exits),
            ("crashes", Behaviour::Crashes),
            ("cold", Behaviour::Cold),
            ("clumsy", Behaviour::Clumsy),
            ("picky", Behaviour::Picky),
            ("choosy", Behaviour::Choosy),
            ("partial", Behaviour::Partial),
            ("errs", Behaviour::Errs),
            ("fades", Behaviour::Fades),
        ]
        .into_iter()
        .find(|(word, _)| image.contains(word))
        .map_or(Behaviour::Good, |(_, behaviour)| behaviour)
    }
}

/// A slot's container and the worker in it.
#[derive(Clone, Debug)]
struct SimSlot {
    id: u32,
    former: Option<u32>,
    image: String,
    /// Ticks until kubelet has replaced the container.
    replacing: Option<u32>,
    exited: bool,
    started: bool,
    age: u32,
    active_for: u32,
    restarts: u64,
    aborted: u64,
    traffic: TrafficReport,
}

impl SimSlot {
    fn running(&self) -> bool {
        self.started && self.replacing.is_none() && !self.exited
    }

    fn warm(&self) -> bool {
        self.running() && self.age >= 3 && Behaviour::of(&self.image) != Behaviour::Cold
    }
}

pub(crate) struct SimPod {
    pub(crate) object: Value,
    slots: PerSlot<SimSlot>,
    active: Slot,
    pair: Pair,
    containers: u32,
    /// The order that the slots read, and ticks until they read the annotation again.
    read: Order,
    unread: u32,
    /// Every image string that each slot had.
    pub(crate) images: PerSlot<Vec<String>>,
    pub(crate) silent: bool,
    /// The slots read no orders.
    pub(crate) deaf: bool,
    /// Kubelet is away with its node.
    pub(crate) lost: bool,
    /// Ticks until kubelet has tried the images of a pod whose slots have never started.
    trying: u32,
    /// Ticks from the request to stop to the next container.
    pub(crate) stops_after: u32,
    /// The slots that do not reach the store.
    pub(crate) away: &'static [Slot],
    /// Applications that are cold with every image.
    pub(crate) cold_tenants: &'static [&'static str],
    /// Applications whose configuration every image refuses.
    pub(crate) refused_tenants: &'static [&'static str],
    /// The slots that it has.
    present: &'static [Slot],
}

impl SimPod {
    pub(crate) fn new(
        name: &str,
        node: &str,
        application: &str,
        order: &Order,
        image: &str,
    ) -> SimPod {
        let names = match order.single {
            true => vec!["orders".to_owned()],
            false => Slot::BOTH.map(|slot| slot.container("orders")).to_vec(),
        };
        let containers: Vec<_> = names
            .iter()
            .map(|name| json!({"name": name, "image": image, "restartPolicy": "Always"}))
            .collect();
        let object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "namespace": "store", "uid": format!("uid-{name}"), "generation": 1,
                "labels": {"app": application, "outrigger.dev/app": application},
                "annotations": {"outrigger.dev/slot-orders": order.to_json().unwrap()},
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": application,
                    "uid": application, "controller": true,
                }],
            },
            "spec": {
                "nodeName": node,
                "containers": [{"name": "web", "image": "web:1"}],
                "initContainers": containers,
            },
        });
        let slot = |id| SimSlot {
            id,
            former: None,
            image: image.to_owned(),
            replacing: None,
            exited: false,
            started: Behaviour::of(image) != Behaviour::Missing,
            age: 10,
            active_for: 0,
            restarts: 0,
            aborted: 0,
            traffic: TrafficReport::default(),
        };
        let mut pod = SimPod {
            object,
            slots: PerSlot {
                a: slot(1),
                b: slot(2),
            },
            active: order.active,
            pair: Pair {
                term: order.term,
                takeover: 0,
            },
            containers: 2,
            read: order.clone(),
            unread: 0,
            images: PerSlot::both(vec![image.to_owned()]),
            silent: false,
            deaf: false,
            lost: false,
            trying: 0,
            stops_after: 4,
            away: &[],
            cold_tenants: &[],
            refused_tenants: &[],
            present: match order.single {
                true => &[Slot::A],
                false => &Slot::BOTH,
            },
        };
        pod.publish(1);
        pod
    }

    pub(crate) fn order(&self) -> Order {
        let text = &self.object["metadata"]["annotations"]["outrigger.dev/slot-orders"];
        Order::parse(text.as_str().unwrap()).unwrap()
    }

    pub(crate) fn pod(&self) -> Arc<Pod> {
        Arc::new(serde_json::from_value(self.object.clone()).unwrap())
    }

    pub(crate) fn active(&self) -> Slot {
        self.active
    }

    pub(crate) fn takeover(&self) -> u64 {
        self.pair.takeover
    }

    fn spec_image(&self, slot: Slot) -> String {
        let index = usize::from(slot == Slot::B);
        self.object["spec"]["initContainers"][index]["image"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Whether kubelet has done all that the spec asks for.
    fn settled(&self) -> bool {
        self.present.iter().all(|&slot| {
            self.slots.of(slot).running() && self.slots.of(slot).image == self.spec_image(slot)
        })
    }

    /// Takes a patch like the API server, and checks what must hold of every write.
    pub(crate) fn patch(&mut self, change: &PodChange) {
        let before = self.order();
        let settled = self.settled();
        let mut object = self.object.clone();
        json_patch::patch(&mut object, &change.patch).unwrap();
        let changed: Vec<_> = self
            .present
            .iter()
            .copied()
            .filter(|slot| {
                let index = usize::from(*slot == Slot::B);
                let path = format!("/spec/initContainers/{index}/image");
                object.pointer(&path) != self.object.pointer(&path)
            })
            .collect();
        self.object = object;
        let after = self.order();
        assert!(changed.len() <= 1, "both slots in one patch");
        match changed.first() {
            Some(slot) => {
                let other = self.slots.of(slot.peer());
                assert!(
                    self.present.len() == 1
                        || other.replacing.is_none() && other.image == self.spec_image(slot.peer()),
                    "slot {slot} was patched while the other one was being replaced"
                );
                let image = self.spec_image(*slot);
                let had = self.images.of_mut(*slot);
                assert!(!had.contains(&image), "{image} came back in slot {slot}");
                had.push(image);
                let generation = self.object["metadata"]["generation"].as_i64().unwrap();
                self.object["metadata"]["generation"] = (generation + 1).into();
                // Kubelet is about to be busy with this pod.
                self.unread = 8;
                self.trying = 8;
            }
            None => {
                assert!(settled, "an order while an image patch was unfinished");
                self.unread = 2;
            }
        }
        assert!(after.term >= before.term, "the term fell");
        if after.active != before.active {
            assert!(
                after.term > before.term,
                "another active slot in the same term"
            );
        }
    }

    /// A tenth of a second.
    pub(crate) fn tick(&mut self) {
        if self.lost {
            return;
        }
        self.kubelet();
        self.read_order();
        self.workers();
        let observed = self.object["metadata"]["generation"].as_i64().unwrap();
        self.publish(observed);
    }

    fn kubelet(&mut self) {
        // Until then it goes on telling of the former images, as it does.
        self.trying = self.trying.saturating_sub(1);
        for &slot in self.present {
            let image = self.spec_image(slot);
            let first = slot == Slot::A || self.slots.a.running();
            let state = self.slots.of_mut(slot);
            state.age += 1;
            if !state.started {
                // Slots start one after the other.
                let tried = self.trying == 0;
                state.started = first && tried && Behaviour::of(&image) != Behaviour::Missing;
                state.image = image;
                state.age = 0;
                continue;
            }
            match state.replacing {
                None if state.image != image => {
                    state.replacing = Some(self.stops_after);
                    // A standby that is told to stop just ends; an active slot hands over first.
                    if self.active == slot && self.present.len() > 1 {
                        self.active = slot.peer();
                        self.pair.takeover += 1;
                    }
                }
                Some(0) => {
                    self.containers += 1;
                    *state = SimSlot {
                        id: self.containers,
                        former: Some(state.id),
                        exited: Behaviour::of(&image) == Behaviour::Exits,
                        image,
                        started: true,
                        replacing: None,
                        age: 0,
                        active_for: 0,
                        restarts: 0,
                        aborted: 0,
                        traffic: TrafficReport::default(),
                    };
                }
                Some(left) => state.replacing = Some(left - 1),
                None => {}
            }
        }
    }

    fn read_order(&mut self) {
        if self.deaf || self.read == self.order() {
            return;
        }
        match self.unread {
            0 => self.read = self.order(),
            _ => self.unread -= 1,
        }
    }

    fn workers(&mut self) {
        let term = self.read.term;
        let called = self.read.active;
        if term > self.pair.term {
            let slot = self.slots.of_mut(called);
            if self.active == called {
                self.pair = Pair { term, takeover: 0 };
            } else if slot.warm() && Behaviour::of(&slot.image) == Behaviour::Clumsy {
                slot.aborted += 1;
            } else if slot.warm() {
                self.active = called;
                slot.active_for = 0;
                self.pair = Pair { term, takeover: 0 };
            }
        }
        let slot = self.slots.of_mut(self.active);
        slot.active_for += 1;
        let behaviour = Behaviour::of(&slot.image);
        if slot.running() {
            slot.traffic.answered += 10;
            slot.traffic.server_errors += match behaviour {
                Behaviour::Errs => 10,
                _ => 0,
            };
        }
        let crashes = behaviour == Behaviour::Crashes && slot.active_for == 5
            || behaviour == Behaviour::Fades && slot.active_for == FADES_AFTER;
        if crashes {
            slot.restarts += 1;
            self.active = self.active.peer();
            self.pair.takeover += 1;
        }
    }

    /// Somebody gives a slot another image.
    pub(crate) fn meddle(&mut self, slot: Slot, image: &str) {
        let index = usize::from(slot == Slot::B);
        self.object["spec"]["initContainers"][index]["image"] = image.into();
        let generation = self.object["metadata"]["generation"].as_i64().unwrap();
        self.object["metadata"]["generation"] = (generation + 1).into();
    }

    /// Ends a worker, as `kill -9` does.
    pub(crate) fn kill(&mut self, slot: Slot) {
        self.slots.of_mut(slot).restarts += 1;
        if self.active == slot {
            self.active = slot.peer();
            self.pair.takeover += 1;
        }
    }

    /// Ends a slot's container, which does not start again.
    pub(crate) fn exit(&mut self, slot: Slot) {
        self.slots.of_mut(slot).exited = true;
    }

    fn publish(&mut self, observed: i64) {
        let statuses: Vec<_> = self
            .present
            .iter()
            .enumerate()
            .map(|(index, &slot)| {
                let state = self.slots.of(slot);
                let name = &self.object["spec"]["initContainers"][index]["name"];
                if !state.started {
                    let reason = match slot {
                        Slot::A => "ErrImagePull",
                        Slot::B => "PodInitializing",
                    };
                    return json!({
                        "name": name, "image": state.image, "imageID": "",
                        "ready": false, "restartCount": 0, "state": {"waiting": {"reason": reason}},
                    });
                }
                let ended = json!({"terminated": {
                    "exitCode": i32::from(state.exited), "containerID": state.id.to_string(),
                }});
                let last = state.former.map(
                    |id| json!({"terminated": {"exitCode": 0, "containerID": id.to_string()}}),
                );
                json!({
                    "name": name,
                    "image": state.image,
                    "imageID": format!("registry/{}", digest_of(&state.image)),
                    "ready": state.running(),
                    "restartCount": 0,
                    "containerID": state.id.to_string(),
                    "state": if state.running() { json!({"running": {}}) } else { ended },
                    "lastState": last.unwrap_or(json!({})),
                })
            })
            .collect();
        let ready = self
            .present
            .iter()
            .map(|slot| self.slots.of(*slot))
            .all(|slot| slot.started && !slot.exited);
        self.object["status"] = json!({
            "phase": "Running",
            "podIP": "10.0.0.1",
            "observedGeneration": observed,
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
            "initContainerStatuses": statuses,
        });
    }

    pub(crate) fn report(&self, slot: Slot) -> Option<Report> {
        let state = self.slots.of(slot);
        if self.silent || !state.running() {
            return None;
        }
        let config = self.read.config.of(slot).clone();
        let behaviour = Behaviour::of(&state.image);
        let picky = behaviour == Behaviour::Picky;
        let warm = state.warm() && !self.away.contains(&slot);
        let role = match self.active == slot {
            true => Role::Active,
            false => Role::Standby,
        };
        Some(Report {
            sidecar: "orders".into(),
            slot,
            version: "1".into(),
            role,
            pair: self.pair,
            order_term: Some(self.read.term),
            order_refused: None,
            warm,
            not_warm: (!warm).then(|| "store is away".into()),
            cold_tenants: troubled(self.cold_tenants, behaviour == Behaviour::Partial),
            configuration: ConfigurationReport {
                hash: (!picky).then(|| config.clone()),
                refused: picky.then(|| Refusal {
                    hash: config,
                    message: "keyFields is empty".into(),
                }),
                refused_tenants: troubled(self.refused_tenants, behaviour == Behaviour::Choosy),
            },
            worker_restarts: state.restarts,
            drained: role == Role::Standby,
            traffic: state.traffic.clone(),
            handover: HandoverReport {
                aborted: state.aborted,
                last_error: (state.aborted > 0).then(|| "no acknowledgement".into()),
                ..HandoverReport::default()
            },
        })
    }
}

/// Applications that have trouble with every image, and `shop` if it has with this one.
fn troubled(always: &[&str], shop: bool) -> BTreeMap<String, String> {
    let shop = shop.then_some("shop");
    let names = always.iter().copied().chain(shop);
    names
        .map(|name| (name.to_owned(), "no store".to_owned()))
        .collect()
}

/// The digest of an image: its name says what it is, so its slots behave like it.
pub(crate) fn digest_of(image: &str) -> String {
    match image.split_once('@') {
        Some((_, digest)) => format!("image@{digest}"),
        None => format!("image@sha256:{}", image.replace([':', '/'], "-")),
    }
}
