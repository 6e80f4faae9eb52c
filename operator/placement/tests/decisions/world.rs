//! A cluster of a few nodes: pods come behind the gate, decisions are applied to their JSON, and a
//! scheduler that knows room, cordons and node affinity binds them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node as KubeNode, Pod};
use outrigger_placement::{
    AppPod, Avoided, Claim, Data, DataState, Decision, Explanation, Locality, Located, Mode, Node,
    Part, Release, Replaceable, Situation, Split, Workload, decide, is_gated, takes_room,
};
use serde_json::{Value, json};

pub(crate) const MIB: u64 = 1 << 20;

pub(crate) fn at(seconds: i64) -> Timestamp {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    start + SignedDuration::from_secs(seconds)
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) nodes: BTreeMap<String, Value>,
    pub(crate) pods: BTreeMap<String, Value>,
    pub(crate) claims: BTreeMap<String, Vec<Claim>>,
    pub(crate) replaceable: Replaceable,
    pub(crate) locality: Locality,
    pub(crate) workload: Workload,
    pub(crate) data: Vec<Data>,
    pub(crate) avoided: Vec<Avoided>,
    pub(crate) seconds: i64,
    created: u32,
}

impl World {
    /// Nodes `node-1` and so on with so many places each, for pods that ask for one CPU.
    pub(crate) fn of(places: &[u32]) -> World {
        let mut world = World {
            nodes: BTreeMap::new(),
            pods: BTreeMap::new(),
            claims: BTreeMap::new(),
            replaceable: Replaceable::Yes,
            locality: Locality {
                mode: Mode::Preferred,
                relax_after_seconds: 300,
                bind_timeout_seconds: 60,
                threshold_bytes: MIB,
                max_skew: 1,
            },
            workload: Workload::Unknown,
            data: Vec::new(),
            avoided: Vec::new(),
            seconds: 0,
            created: 0,
        };
        for (index, places) in places.iter().enumerate() {
            world.add_node(&format!("node-{}", index + 1), *places);
        }
        world
    }

    pub(crate) fn add_node(&mut self, name: &str, places: u32) {
        self.created += 1;
        let node = json!({
            "metadata": {
                "name": name, "uid": format!("n{}", self.created),
                "creationTimestamp": at(self.seconds).to_string(),
                "labels": {"kubernetes.io/hostname": name},
            },
            "spec": {},
            "status": {
                "allocatable": {"cpu": places.to_string(), "memory": "64Gi", "pods": "110"},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        });
        self.nodes.insert(name.to_owned(), node);
    }

    /// Adds a pod behind the gate, created now.
    pub(crate) fn add_pod(&mut self, name: &str) -> &mut Value {
        self.created += 1;
        let pod = json!({
            "metadata": {
                "name": name, "namespace": "risk", "uid": format!("p{}", self.created),
                "creationTimestamp": at(self.seconds).to_string(),
                "labels": {"app": "risk", "pod-template-hash": "t1"},
            },
            "spec": {
                "schedulingGates": [{"name": "outrigger.dev/placement"}],
                "containers": [{"name": "app", "resources": {"requests": {"cpu": "1"}}}],
            },
            "status": {"phase": "Pending"},
        });
        self.pods.insert(name.to_owned(), pod);
        self.pods.get_mut(name).unwrap()
    }

    pub(crate) fn add_indexed(&mut self, index: u32) -> String {
        let name = format!("risk-{index}");
        let pod = self.add_pod(&name);
        pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] = index.to_string().into();
        name
    }

    /// Data of which every pod reads all: bytes in MiB by the numbers of the nodes that hold them.
    pub(crate) fn add_data(&mut self, groups: &[(&[u32], u64)]) {
        let part = part("all", groups);
        self.add_parts(Split::All, vec![part]);
    }

    pub(crate) fn add_parts(&mut self, split: Split, parts: Vec<Part>) {
        self.data.push(Data {
            dataset: format!("data-{}", self.data.len()),
            weight: 1,
            split,
            state: DataState::Located {
                located: Arc::new(Located { parts }),
                as_of: at(0),
            },
        });
    }

    pub(crate) fn situation(&self) -> Situation {
        let pods: Vec<Pod> = self.pods.values().map(read).collect();
        let nodes = self.nodes.values().map(|node| {
            let node: KubeNode = serde_json::from_value(node.clone()).unwrap();
            let on = |pod: &&Pod| {
                let spec = pod.spec.as_ref().unwrap();
                spec.node_name == node.metadata.name
            };
            Node::new(&node, pods.iter().filter(on))
        });
        let nodes = nodes.collect();
        let app = |pod: Pod| {
            let name = pod.metadata.name.clone().unwrap();
            AppPod {
                pod: Arc::new(pod),
                claims: self.claims.get(&name).cloned().unwrap_or_default(),
                replaceable: self.replaceable.clone(),
            }
        };
        Situation {
            application: "risk".to_owned(),
            locality: self.locality,
            nodes,
            pods: pods.iter().cloned().map(app).collect(),
            workload: self.workload,
            data: self.data.clone(),
            reserved: Vec::new(),
            avoided: self.avoided.clone(),
            now: at(self.seconds),
        }
    }

    pub(crate) fn decide(&self) -> Decision {
        decide(&self.situation())
    }

    /// Decides and applies all of it.
    pub(crate) fn step(&mut self) -> Decision {
        let decision = self.decide();
        self.avoided.clone_from(&decision.avoided);
        for release in &decision.releases {
            self.release(release);
        }
        for replacement in &decision.replacements {
            let pod = self.pods.remove(&replacement.pod).unwrap();
            assert_eq!(pod["metadata"]["uid"], replacement.uid.as_str());
        }
        decision
    }

    /// Applies a release as the API server would: all of the patch, or nothing.
    pub(crate) fn release(&mut self, release: &Release) {
        let Some(pod) = self.pods.get_mut(&release.pod) else {
            return;
        };
        let mut patched = pod.clone();
        if json_patch::patch(&mut patched, &release.patch).is_ok() {
            *pod = patched;
        }
    }

    /// Binds each released pod to the node with the greatest preference that has room.
    pub(crate) fn schedule(&mut self) {
        let names: Vec<_> = self.pods.keys().cloned().collect();
        for name in names {
            let pod = read(&self.pods[&name]);
            let spec = pod.spec.as_ref().unwrap();
            if spec.node_name.is_some() || spec.scheduling_gates.iter().flatten().next().is_some() {
                continue;
            }
            let able = self.nodes.keys().filter(|node| self.can_run(node, &pod));
            let best = able.max_by_key(|node| {
                let used = self.used(node);
                (preference(&pod, node), std::cmp::Reverse(used))
            });
            let best = best.cloned();
            let pod = self.pods.get_mut(&name).unwrap();
            if let Some(node) = best {
                pod["spec"]["nodeName"] = node.into();
                pod["status"]["phase"] = "Running".into();
            } else {
                pod["status"]["conditions"] = json!([{
                    "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                    "message": "no node is available",
                }]);
            }
        }
    }

    fn used(&self, node: &str) -> u32 {
        let on = |pod: &&Value| pod["spec"]["nodeName"] == node && takes_room(&read(pod));
        u32::try_from(self.pods.values().filter(on).count()).unwrap()
    }

    fn can_run(&self, name: &str, pod: &Pod) -> bool {
        let node = &self.nodes[name];
        let places: u32 = node["status"]["allocatable"]["cpu"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        let spec = serde_json::to_value(pod.spec.as_ref().unwrap()).unwrap();
        let terms = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            ["nodeSelectorTerms"];
        let matches = |term: &Value| {
            let fields = term["matchFields"].as_array().into_iter().flatten();
            fields.clone().all(|field| field["values"][0] == name)
        };
        let allowed = terms
            .as_array()
            .is_none_or(|terms| terms.iter().any(matches));
        allowed && node["spec"]["unschedulable"] != json!(true) && self.used(name) < places
    }

    /// Where each pod is, or was sent to while it is not bound.
    pub(crate) fn places(&self) -> BTreeMap<String, Option<String>> {
        let place = |(name, pod): (&String, &Value)| {
            let bound = pod["spec"]["nodeName"].as_str().map(str::to_owned);
            let sent = || Explanation::of(&read(pod))?.unwrap().node;
            (name.clone(), bound.or_else(sent))
        };
        self.pods.iter().map(place).collect()
    }

    /// How many pods are on each node, or were sent there.
    pub(crate) fn counts(&self) -> BTreeMap<String, u32> {
        let mut counts = BTreeMap::new();
        for node in self.places().into_values().flatten() {
            *counts.entry(node).or_default() += 1;
        }
        counts
    }

    pub(crate) fn gated(&self) -> BTreeSet<&str> {
        let gated = self.pods.iter().filter(|(_, pod)| is_gated(&read(pod)));
        gated.map(|(name, _)| name.as_str()).collect()
    }

    pub(crate) fn explanation(&self, pod: &str) -> Explanation {
        Explanation::of(&read(&self.pods[pod])).unwrap().unwrap()
    }

    pub(crate) fn cordon(&mut self, node: &str) {
        self.nodes.get_mut(node).unwrap()["spec"]["unschedulable"] = true.into();
    }
}

fn preference(pod: &Pod, node: &str) -> u64 {
    let spec = serde_json::to_value(pod.spec.as_ref().unwrap()).unwrap();
    let terms =
        &spec["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"];
    let terms = terms.as_array().into_iter().flatten();
    let matching = terms.filter(|term| term["preference"]["matchFields"][0]["values"][0] == node);
    matching.map(|term| term["weight"].as_u64().unwrap()).sum()
}

pub(crate) fn read(pod: &Value) -> Pod {
    serde_json::from_value(pod.clone()).unwrap()
}

/// A part with bytes in MiB by the numbers of the nodes that hold them.
pub(crate) fn part(name: &str, groups: &[(&[u32], u64)]) -> Part {
    let mut part = Part {
        name: name.to_owned(),
        ..Part::default()
    };
    for (nodes, mib) in groups {
        let nodes = nodes.iter().map(|node| format!("node-{node}")).collect();
        *part.groups.entry(nodes).or_default() += mib * MIB;
        part.bytes += mib * MIB;
    }
    part
}
