use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use kube::ResourceExt;

use crate::{AppPod, Explanation, InvalidExplanation, Replaceable, is_gated, takes_room};

/// A pod of the application, read.
pub(crate) struct View<'a> {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) app: &'a AppPod,
    pub(crate) created: Timestamp,
    /// What it has in common with the pods that it can stand for.
    pub(crate) template: &'a str,
    /// Its index in an Indexed Job or a StatefulSet.
    pub(crate) index: Option<u32>,
    pub(crate) stage: Stage<'a>,
    /// Why it was released as it was.
    pub(crate) explanation: Option<Result<Explanation, InvalidExplanation>>,
}

/// How far a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage<'a> {
    /// Behind our gate.
    Gated,
    /// Without our gate, and on no node.
    Released,
    /// On a node.
    Bound(&'a str),
    /// It succeeded.
    Succeeded,
    /// It failed, or is going away.
    Gone,
}

impl<'a> View<'a> {
    /// A pod of a situation.
    pub(crate) fn of(app: &'a AppPod) -> View<'a> {
        let pod = app.pod.as_ref();
        let created = pod.creation_timestamp().map(|created| created.0);
        let uid = pod.uid().unwrap_or_default();
        View {
            name: pod.name_any(),
            uid,
            app,
            created: created.unwrap_or(Timestamp::UNIX_EPOCH),
            template: template(pod),
            index: index(pod),
            stage: stage(pod),
            explanation: Explanation::of(pod),
        }
    }

    /// The node that it is on, or was sent to and may still be bound to.
    pub(crate) fn node(&self) -> Option<&str> {
        match self.stage {
            Stage::Bound(node) => Some(node),
            Stage::Released => self.valid_explanation()?.node.as_deref(),
            Stage::Gated | Stage::Succeeded | Stage::Gone => None,
        }
    }

    pub(crate) fn valid_explanation(&self) -> Option<&Explanation> {
        self.explanation.as_ref()?.as_ref().ok()
    }

    /// Whether it runs, or will once the scheduler has bound it.
    pub(crate) fn is_placed(&self) -> bool {
        matches!(self.stage, Stage::Released | Stage::Bound(_))
    }

    /// The node on which the scheduler makes pods of lower priority end for it.
    pub(crate) fn nominated(&self) -> Option<&str> {
        let status = self.app.pod.status.as_ref()?;
        status.nominated_node_name.as_deref()
    }

    /// What the scheduler says of it, if it is not bound.
    pub(crate) fn scheduled(&self) -> Option<&PodCondition> {
        let status = self.app.pod.status.as_ref()?;
        let mut conditions = status.conditions.iter().flatten();
        conditions.find(|condition| condition.type_ == "PodScheduled" && condition.status != "True")
    }
}

fn stage(pod: &Pod) -> Stage<'_> {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    match node.filter(|node| !node.is_empty()) {
        _ if phase == Some("Succeeded") => Stage::Succeeded,
        _ if pod.metadata.deletion_timestamp.is_some() || !takes_room(pod) => Stage::Gone,
        Some(node) => Stage::Bound(node),
        None if is_gated(pod) => Stage::Gated,
        None => Stage::Released,
    }
}

/// The hash of its template, or else the UID of its controller: pods of one Job are alike.
fn template(pod: &Pod) -> &str {
    let label = |key: &str| pod.labels().get(key).map(String::as_str);
    let mut owners = pod.owner_references().iter();
    let controller = owners.find(|owner| owner.controller == Some(true));
    label("pod-template-hash")
        .or_else(|| label("controller-revision-hash"))
        .or_else(|| controller.map(|owner| owner.uid.as_str()))
        .unwrap_or_default()
}

/// The index of a pod in an Indexed Job or a StatefulSet.
pub fn index(pod: &Pod) -> Option<u32> {
    const OF_JOB: &str = "batch.kubernetes.io/job-completion-index";
    const OF_STATEFUL_SET: &str = "apps.kubernetes.io/pod-index";
    let of_job = pod.annotations().get(OF_JOB);
    let of_job = of_job.or_else(|| pod.labels().get(OF_JOB));
    let index = of_job.or_else(|| pod.labels().get(OF_STATEFUL_SET));
    index?.parse().ok()
}

impl Replaceable {
    /// What becomes of a pod that is deleted; `job` is its Job, if a Job owns it and is known.
    pub fn of(pod: &Pod, job: Option<&Job>) -> Replaceable {
        let mut owners = pod.owner_references().iter();
        let no = |reason: String| Replaceable::No { reason };
        let Some(owner) = owners.find(|owner| owner.controller == Some(true)) else {
            return no("no controller owns it".to_owned());
        };
        match (owner.kind.as_str(), job) {
            ("ReplicaSet" | "StatefulSet" | "ReplicationController", _) => Replaceable::Yes,
            ("Job", Some(job)) if job.metadata.uid.as_ref() == Some(&owner.uid) => {
                of_job(pod, job, &owner.uid)
            }
            ("Job", _) => no(format!("Job {} is not known", owner.name)),
            (kind, _) => no(format!(
                "it is not known whether {kind} {} would replace it",
                owner.name
            )),
        }
    }
}

/// A Job counts a deleted pod as failed.
fn of_job(pod: &Pod, job: &Job, uid: &str) -> Replaceable {
    const DEFAULT_LIMIT: i32 = 6;
    const FAILURES_OF_INDEX: &str = "batch.kubernetes.io/job-index-failure-count";
    let spec = job.spec.as_ref();
    let per_index = spec.and_then(|spec| spec.backoff_limit_per_index);
    let (job, limit, failed) = match per_index {
        Some(limit) => {
            let failed = pod.annotations().get(FAILURES_OF_INDEX);
            let failed = failed.and_then(|count| count.parse().ok());
            let index = index(pod).unwrap_or_default();
            (format!("{uid}/{index}"), limit, failed)
        }
        None => {
            let limit = spec.and_then(|spec| spec.backoff_limit);
            let failed = job.status.as_ref().and_then(|status| status.failed);
            (uid.to_owned(), limit.unwrap_or(DEFAULT_LIMIT), failed)
        }
    };
    let left = limit.saturating_sub(failed.unwrap_or(0));
    Replaceable::CountedByJob {
        job,
        left: u32::try_from(left).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use serde_json::{Value, json};

    use super::*;

    fn owned(kind: &str, annotations: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {
            "name": "risk-0",
            "annotations": annotations,
            "ownerReferences": [{
                "apiVersion": "v1", "kind": kind, "name": "risk", "uid": "j", "controller": true,
            }],
        }}))
        .unwrap()
    }

    fn job(spec: Value, failed: i32) -> Job {
        let mut spec = spec;
        spec["template"] = json!({});
        let status = json!({"failed": failed});
        serde_json::from_value(json!({"metadata": {"uid": "j"}, "spec": spec, "status": status}))
            .unwrap()
    }

    #[test]
    fn a_pod_is_replaceable_when_its_controller_is_known_to_replace_it() {
        for (kind, expected) in [
            ("ReplicaSet", None),
            ("StatefulSet", None),
            ("Job", Some("Job risk is not known")),
            (
                "Workflow",
                Some("it is not known whether Workflow risk would replace it"),
            ),
        ] {
            let expected = match expected {
                None => Replaceable::Yes,
                Some(reason) => Replaceable::No {
                    reason: reason.to_owned(),
                },
            };
            assert_eq!(Replaceable::of(&owned(kind, json!({})), None), expected);
        }
        let bare = Replaceable::of(&Pod::default(), None);
        assert!(matches!(bare, Replaceable::No { .. }));
    }

    #[test]
    fn a_job_bears_as_many_deletions_as_its_limit_leaves() {
        let count = "batch.kubernetes.io/job-index-failure-count";
        let index = "batch.kubernetes.io/job-completion-index";
        let annotations = json!({count: "1", index: "4"});
        for (spec, failed, key, left) in [
            (json!({}), 2, "j", 4),
            (json!({"backoffLimit": 0}), 0, "j", 0),
            (json!({"backoffLimit": 1}), 5, "j", 0),
            (json!({"backoffLimitPerIndex": 3}), 99, "j/4", 2),
        ] {
            let found =
                Replaceable::of(&owned("Job", annotations.clone()), Some(&job(spec, failed)));
            let job = key.to_owned();
            assert_eq!(found, Replaceable::CountedByJob { job, left });
        }
    }
}
