//! A namespace with one sidecar and one application, and an operator that may die at any action.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use outrigger_api::{IntegratedApp, IntegrationSidecar, UpdateSpec};
use outrigger_control::{Order, PerSlot, Phase, Slot};
use outrigger_injection::{NamespaceRules, Resident, Settings, Trial, preflight_pod};
use outrigger_plan::{ApplicationPlan, Referenced, revision_for_new_pod, revision_name};
use outrigger_rollout::{
    Action, Answer, Answers, Application, Consumer, DIGEST_ANNOTATION, Decision, FAILED_ANNOTATION,
    FAILED_IN_ANNOTATION, Observed, PROVEN_ANNOTATION, State, decide,
};
use serde_json::{Value, json};

use crate::sim::{SimPod, digest_of};

const TICK: SignedDuration = SignedDuration::from_millis(100);
/// Time passes faster after this many turns without an action.
const IDLE: u32 = 20;
/// Ticks that a preflight takes.
const TRIAL_TICKS: u32 = 5;

pub(crate) struct World {
    pub(crate) sidecar: IntegrationSidecar,
    pub(crate) application: IntegratedApp,
    pub(crate) published: bool,
    /// The application cannot be served as it stands.
    pub(crate) invalid: bool,
    pub(crate) pods: Vec<SimPod>,
    pub(crate) revisions: BTreeMap<String, ControllerRevision>,
    pub(crate) trials: BTreeMap<String, (u32, Value)>,
    pub(crate) budgets: Vec<PodDisruptionBudget>,
    pub(crate) lost_nodes: BTreeSet<String>,
    pub(crate) missing: BTreeMap<Consumer, usize>,
    /// Pods whose evictions are refused.
    pub(crate) refuses: BTreeSet<String>,
    /// Those that were, by the last refusal.
    refused: Vec<String>,
    pub(crate) now: Timestamp,
    silent_since: Timestamp,
    /// Kubelet's answer for images that no node can run.
    pub(crate) unusable: BTreeMap<String, Value>,
    /// The operator dies after this many actions, each time.
    pub(crate) dies_after: Option<usize>,
    pub(crate) actions: usize,
    idle: u32,
    pub(crate) done: Vec<Action>,
    pub(crate) evicted: Vec<String>,
}

fn is_swapping(order: &Order) -> bool {
    order.phase != Phase::Rest || order.revision.a != order.revision.b
}

pub(crate) fn sidecar(image: &str) -> IntegrationSidecar {
    serde_json::from_value(json!({
        "apiVersion": "outrigger.dev/v1alpha1", "kind": "IntegrationSidecar",
        "metadata": {"name": "orders", "namespace": "store", "uid": "sidecar", "generation": 1},
        "spec": {
            "image": image,
            "functions": [{"name": "once", "idempotency": {"keyFields": ["/id"]}}],
            "store": {"postgresql": {
                "host": "db", "database": "orders", "credentials": {"secretName": "db"},
            }},
            "update": {"soakSeconds": 2},
        },
    }))
    .unwrap()
}

impl World {
    /// A sidecar with an image, and pods that have it.
    pub(crate) fn new(image: &str, pods: &[(&str, &str)]) -> World {
        let mut world = World {
            sidecar: sidecar(image),
            application: serde_json::from_value(json!({
                "apiVersion": "outrigger.dev/v1alpha1", "kind": "IntegratedApp",
                "metadata": {"name": "shop", "namespace": "store"},
                "spec": {
                    "selector": {"matchLabels": {"app": "shop"}},
                    "sidecars": [{"name": "orders"}],
                },
            }))
            .unwrap(),
            published: true,
            invalid: false,
            pods: Vec::new(),
            revisions: BTreeMap::new(),
            trials: BTreeMap::new(),
            budgets: Vec::new(),
            lost_nodes: BTreeSet::new(),
            missing: BTreeMap::new(),
            refuses: BTreeSet::new(),
            refused: Vec::new(),
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            silent_since: "2026-01-01T00:00:00Z".parse().unwrap(),
            unusable: BTreeMap::new(),
            dies_after: None,
            actions: 0,
            idle: 0,
            done: Vec::new(),
            evicted: Vec::new(),
        };
        for (name, node) in pods {
            world.create(name, node);
        }
        world
    }

    /// A pod as the injector makes it now.
    pub(crate) fn create(&mut self, name: &str, node: &str) {
        self.create_of(name, node, "shop");
    }

    /// A pod of an application.
    pub(crate) fn create_of(&mut self, name: &str, node: &str, application: &str) {
        let single = self.sidecar.spec.container.is_some();
        let (revision, image) = revision_for_new_pod(&self.sidecar);
        let order = Order {
            v: Order::VERSION,
            term: 1,
            active: Slot::A,
            config: PerSlot::both(self.plan().sidecars[0].order_config().unwrap().to_owned()),
            revision: PerSlot::both(revision),
            admin: PerSlot { a: 15020, b: 15021 },
            phase: Phase::Rest,
            since: "1970-01-01T00:00:00Z".into(),
            single,
            replaced: None,
            notes: Default::default(),
        };
        let pod = SimPod::new(name, node, application, &order, &image);
        self.pods.push(pod);
    }

    pub(crate) fn plan(&self) -> ApplicationPlan {
        self.plan_of("shop")
    }

    fn plan_of(&self, name: &str) -> ApplicationPlan {
        let mut application = self.application.clone();
        application.metadata.name = Some(name.to_owned());
        let referenced = Referenced {
            sidecars: BTreeMap::from([("orders".to_owned(), self.sidecar.clone())]),
            ..Referenced::default()
        };
        ApplicationPlan::new(&application, &referenced).unwrap()
    }

    pub(crate) fn set_image_once(&mut self, image: &str) {
        if self.sidecar.spec.image != image {
            self.set_image(image);
        }
    }

    pub(crate) fn set_image(&mut self, image: &str) {
        self.sidecar.spec.image = image.to_owned();
        *self.sidecar.metadata.generation.as_mut().unwrap() += 1;
    }

    /// The update rules, to change.
    pub(crate) fn update(&mut self) -> &mut UpdateSpec {
        self.sidecar.spec.update.get_or_insert_default()
    }

    pub(crate) fn pod(&self, name: &str) -> &SimPod {
        let mut pods = self.pods.iter();
        pods.find(|pod| pod.object["metadata"]["name"] == name)
            .unwrap()
    }

    pub(crate) fn pod_mut(&mut self, name: &str) -> &mut SimPod {
        let mut pods = self.pods.iter_mut();
        pods.find(|pod| pod.object["metadata"]["name"] == name)
            .unwrap()
    }

    fn answers(&self, ask: &BTreeSet<String>) -> BTreeMap<String, Answers> {
        let answer = |pod: &SimPod, slot| match pod.report(slot) {
            Some(report) => Answer::Report(Box::new(report)),
            None => Answer::Silent {
                since: match pod.silent {
                    true => self.silent_since,
                    false => self.now,
                },
                error: "connection refused".into(),
            },
        };
        self.pods
            .iter()
            .map(|pod| (pod.object["metadata"]["uid"].as_str().unwrap(), pod))
            .filter(|(uid, _)| ask.contains(*uid))
            .map(|(uid, pod)| {
                let answers = PerSlot {
                    a: answer(pod, Slot::A),
                    b: answer(pod, Slot::B),
                };
                (uid.to_owned(), answers)
            })
            .collect()
    }

    fn has_pods_of(&self, application: &str) -> bool {
        let mut pods = self.pods.iter();
        pods.any(|pod| pod.object["metadata"]["labels"]["app"] == application)
    }

    fn application_of(&self, name: &str) -> Application {
        let plan = self.plan_of(name);
        Application {
            name: name.to_owned(),
            sidecar: "orders".into(),
            documents: match self.published {
                true => BTreeSet::from([plan.sidecars[0].order_config().unwrap().to_owned()]),
                false => BTreeSet::new(),
            },
            plan: match self.invalid {
                true => Err("no such sidecar".into()),
                false => Ok(plan),
            },
        }
    }

    /// What the operator decides now, its questions answered.
    pub(crate) fn decide(&self) -> Decision {
        let names = ["shop", "till"];
        let names = names
            .iter()
            .filter(|name| **name == "shop" || self.has_pods_of(name));
        let applications: Vec<_> = names.map(|name| self.application_of(name)).collect();
        let pods: Vec<Arc<Pod>> = self.pods.iter().map(SimPod::pod).collect();
        let revisions: Vec<_> = self.revisions.values().cloned().collect();
        let trials: Vec<Arc<Pod>> = self
            .trials
            .values()
            .map(|(_, trial)| Arc::new(serde_json::from_value(trial.clone()).unwrap()))
            .collect();
        let mut answers = BTreeMap::new();
        let mut budgets = None;
        loop {
            let decision = decide(&Observed {
                sidecar: &self.sidecar,
                applications: &applications,
                shared: None,
                pods: &pods,
                lost_nodes: &self.lost_nodes,
                missing: &self.missing,
                refused: &self.refused,
                revisions: &revisions,
                trials: &trials,
                budgets,
                answers: &answers,
                now: self.now,
            });
            let more: BTreeSet<_> = decision
                .ask
                .iter()
                .filter(|uid| !answers.contains_key(*uid))
                .cloned()
                .collect();
            let asks_budgets = decision.ask_budgets && budgets.is_none();
            if more.is_empty() && !asks_budgets {
                return decision;
            }
            if asks_budgets {
                budgets = Some(self.budgets.as_slice());
            }
            answers.extend(self.answers(&more));
        }
    }

    /// One turn of the operator and a tenth of a second of everything else.
    pub(crate) fn turn(&mut self) -> Decision {
        let decision = self.decide();
        let mut alive = true;
        for action in &decision.actions {
            alive = self.survives();
            if !alive {
                break;
            }
            self.apply(action);
        }
        if alive && self.sidecar.status.as_ref() != Some(&decision.status) && self.survives() {
            self.sidecar.status = Some(decision.status.clone());
        }
        self.idle = match decision.actions.is_empty() {
            true => self.idle + 1,
            false => 0,
        };
        self.now += if self.idle < IDLE { TICK } else { 10 * TICK };
        for pod in &mut self.pods {
            pod.tick();
        }
        self.tick_trials();
        decision
    }

    /// Whether the operator lives to do one more thing.
    fn survives(&mut self) -> bool {
        self.actions += 1;
        self.dies_after
            .is_none_or(|n| !self.actions.is_multiple_of(n + 1))
    }

    /// Turns until nothing is left to do.
    pub(crate) fn settle(&mut self) -> Decision {
        let mut quiet = 0;
        for _ in 0..3_000 {
            let decision = self.turn();
            let over = decision.summary.state != State::Reconciling
                && decision.actions.is_empty()
                && self.sidecar.status.as_ref() == Some(&decision.status)
                && decision.status.swaps.is_empty();
            quiet = if over { quiet + 1 } else { 0 };
            if quiet == 5 {
                return decision;
            }
        }
        panic!("never settled: {:?}", self.decide());
    }

    /// Turns until something is so.
    pub(crate) fn until(&mut self, wanted: impl Fn(&World) -> bool) {
        for _ in 0..3_000 {
            if wanted(self) {
                return;
            }
            self.turn();
        }
        panic!("never came: {:?}", self.decide());
    }

    pub(crate) fn until_phase(&mut self, pod: &str, phase: Phase) {
        self.until(|world| world.pod(pod).order().phase == phase);
    }

    /// Lets the pods' slots fall silent for a network's sake.
    pub(crate) fn silence(&mut self) {
        self.silent_since = self.now;
        for pod in &mut self.pods {
            pod.silent = true;
        }
    }

    fn apply(&mut self, action: &Action) {
        self.done.push(action.clone());
        match action {
            Action::KeepRevision(revision) => {
                let object = revision.to_object(&self.sidecar);
                let former = self.revisions.insert(revision.name.clone(), object);
                assert!(former.is_none());
            }
            Action::Renumber { revision, number } => {
                self.revisions.get_mut(revision).unwrap().revision = *number;
            }
            Action::RecordDigest { revision, digest } => {
                self.annotate(revision, DIGEST_ANNOTATION, digest.clone());
            }
            Action::FailRevision {
                revision,
                application: None,
                failure,
            } => {
                self.annotate(revision, FAILED_ANNOTATION, failure.to_annotation());
                if failure.proven {
                    self.annotate(revision, PROVEN_ANNOTATION, "true".into());
                }
            }
            Action::FailRevision {
                revision,
                application: Some(application),
                failure,
            } => {
                let failed_in = json!({application: failure.message}).to_string();
                self.annotate(revision, FAILED_IN_ANNOTATION, failed_in);
            }
            Action::RemoveRevision(name) => {
                self.revisions.remove(name).unwrap();
            }
            Action::Try {
                consumer,
                node,
                image,
                revision,
            } => {
                let application = consumer.application().unwrap();
                self.begin_trial(application, node.as_deref(), image, revision);
            }
            Action::EndTrial(name) => {
                self.trials.remove(name).unwrap();
            }
            Action::Patch(change) => {
                self.pod_mut(&change.pod).patch(change);
                if is_swapping(&change.after) && !is_swapping(&change.before) {
                    self.keeps_its_limits();
                }
            }
            Action::Evict { pod, revision, .. } => {
                // The successor may be created before anything else is written.
                assert_eq!(revision_for_new_pod(&self.sidecar).0, *revision);
                self.evict(pod);
            }
        }
    }

    /// What must hold whenever one more pod is disturbed.
    fn keeps_its_limits(&self) {
        let share = self.sidecar.spec.effective_update().max_unavailable;
        for application in ["shop", "till", ""] {
            let pods = self.pods.iter().filter(|pod| {
                let metadata = &pod.object["metadata"];
                let ours = application.is_empty() || metadata["labels"]["app"] == application;
                ours && metadata["deletionTimestamp"].is_null()
            });
            let (mut all, mut disturbed) = (0, 0);
            for pod in pods {
                all += 1;
                let node = pod.object["spec"]["nodeName"].as_str().unwrap();
                let lost = self.lost_nodes.contains(node);
                disturbed += usize::from(is_swapping(&pod.order()) && !lost);
            }
            let allowed = share.rounded_down(all).max(1);
            assert!(
                disturbed <= allowed,
                "{disturbed} of {all} pods of {application:?}"
            );
        }
    }

    fn evict(&mut self, pod: &str) {
        if self.refuses.contains(pod) {
            self.refused.retain(|refused| refused != pod);
            self.refused.push(pod.to_owned());
            return;
        }
        self.evicted.push(pod.to_owned());
        let ends = format!("{:.0}", self.now + SignedDuration::from_secs(1));
        self.pod_mut(pod).object["metadata"]["deletionTimestamp"] = ends.into();
    }

    /// Marks an image's revision as one that has failed and is taken from pods.
    pub(crate) fn take_back(&mut self, image: &str) {
        let revision = revision_name("orders", image);
        self.annotate(&revision, FAILED_ANNOTATION, "RevisionFailed: seen".into());
        self.annotate(&revision, PROVEN_ANNOTATION, "true".into());
    }

    fn annotate(&mut self, revision: &str, key: &str, value: String) {
        let object = self.revisions.get_mut(revision).unwrap();
        let annotations = object.metadata.annotations.get_or_insert_default();
        annotations.insert(key.to_owned(), value);
    }

    fn begin_trial(&mut self, application: &str, node: Option<&str>, image: &str, revision: &str) {
        let plan = self.plan_of(application);
        let trial = Trial {
            image,
            revision,
            node,
            like: None,
        };
        let pod = preflight_pod(
            &Resident::of(&plan, &plan.sidecars[0]).unwrap(),
            &trial,
            "operator:1",
            &Settings::default(),
            &NamespaceRules::default(),
        )
        .unwrap();
        let mut pod = serde_json::to_value(pod).unwrap();
        pod["metadata"]["creationTimestamp"] = format!("{:.0}", self.now).into();
        pod["spec"]["nodeName"] = node.unwrap_or("node-9").into();
        let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
        let former = self.trials.insert(name, (TRIAL_TICKS, pod));
        assert!(former.is_none(), "a preflight was begun twice");
    }

    fn tick_trials(&mut self) {
        for (left, pod) in self.trials.values_mut() {
            *left = left.saturating_sub(1);
            if *left > 0 {
                continue;
            }
            let image = pod["spec"]["containers"][0]["image"].as_str().unwrap();
            let unusable = self.unusable.iter().find(|(word, _)| image.contains(*word));
            let ended = json!({"terminated": {
                "exitCode": 0, "finishedAt": pod["metadata"]["creationTimestamp"],
            }});
            let state = unusable.map_or(ended, |(_, state)| state.clone());
            pod["status"] = json!({"phase": "Running", "containerStatuses": [{
                "name": "preflight", "image": image, "ready": false, "restartCount": 0,
                "imageID": format!("registry/{}", digest_of(image)),
                "state": state,
            }]});
        }
    }

    /// Revision and content of each slot of each pod, and where new pods begin.
    pub(crate) fn end_state(&self) -> Vec<String> {
        let mut state: Vec<_> = self
            .pods
            .iter()
            .map(|pod| {
                let order = pod.order();
                let digests = Slot::BOTH.map(|slot| digest_of(pod.images.of(slot).last().unwrap()));
                format!(
                    "{} {} {}/{} {digests:?}",
                    pod.object["metadata"]["name"], order.phase, order.revision.a, order.revision.b
                )
            })
            .collect();
        let status = self.sidecar.status.as_ref().unwrap();
        state.push(format!("current {:?}", status.current_revision));
        state.push(format!("update {:?}", status.update_revision));
        state
    }
}
