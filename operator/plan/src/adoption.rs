use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use outrigger_api::{IntegratedApp, WorkloadReference};
use outrigger_control::layout::{PREFLIGHT_LABEL, SHARED_LABEL};

use crate::selector;

/// A pod's controller and that one's own controller: ReplicaSet and Deployment, Job and CronJob.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Owners {
    /// The controller of the pod.
    pub direct: Option<OwnerReference>,
    /// The controller of that controller.
    pub indirect: Option<OwnerReference>,
}

impl Owners {
    /// The controller named in an object's metadata.
    pub fn controller(owners: &[OwnerReference]) -> Option<&OwnerReference> {
        owners.iter().find(|owner| owner.controller == Some(true))
    }

    /// Whether the controller of the pod is of a kind that other workloads create, so that its own
    /// controller has to be looked up.
    pub fn has_intermediary(&self) -> bool {
        self.direct.as_ref().is_some_and(|owner| {
            let kind = ControllerKind::of(owner);
            matches!(kind, ControllerKind::ReplicaSet | ControllerKind::Job)
        })
    }

    fn include(&self, workload: &WorkloadReference) -> bool {
        [&self.direct, &self.indirect]
            .into_iter()
            .flatten()
            .any(|owner| {
                group(&owner.api_version) == group(&workload.api_version)
                    && owner.kind == workload.kind
                    && owner.name == workload.name
            })
    }
}

/// The kinds of controllers of pods that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControllerKind {
    /// Of `apps`.
    ReplicaSet,
    /// Of `apps`.
    StatefulSet,
    /// Of `apps`.
    DaemonSet,
    /// Of `batch`.
    Job,
    /// Of Outrigger: it creates function pods.
    IntegrationSidecar,
    /// Any other kind, and one of the same name of another group.
    Other,
}

impl ControllerKind {
    /// By group and kind, whatever the version.
    pub fn of(owner: &OwnerReference) -> ControllerKind {
        match (group(&owner.api_version), owner.kind.as_str()) {
            ("apps", "ReplicaSet") => ControllerKind::ReplicaSet,
            ("apps", "StatefulSet") => ControllerKind::StatefulSet,
            ("apps", "DaemonSet") => ControllerKind::DaemonSet,
            ("batch", "Job") => ControllerKind::Job,
            ("outrigger.dev", "IntegrationSidecar") => ControllerKind::IntegrationSidecar,
            _ => ControllerKind::Other,
        }
    }
}

/// The applications that match a pod.
#[derive(Debug)]
pub struct Adoption<'a> {
    /// The one that serves it: the oldest, by creation and then by name.
    pub serving: &'a IntegratedApp,
    /// The others.
    pub refused: Vec<&'a IntegratedApp>,
}

/// The applications of the pod's namespace that match it; `None` when there is none, and for the
/// operator's own pods: preflights, and function pods of shared sidecars.
pub fn adopting<'a>(
    pod: &Pod,
    owners: &Owners,
    applications: impl IntoIterator<Item = &'a IntegratedApp>,
) -> Option<Adoption<'a>> {
    let of_ours = [PREFLIGHT_LABEL, SHARED_LABEL];
    if of_ours
        .iter()
        .any(|label| pod.labels().contains_key(*label))
    {
        return None;
    }
    let mut matching: Vec<_> = applications
        .into_iter()
        .filter(|application| application.metadata.deletion_timestamp.is_none())
        .filter(|application| {
            let spec = &application.spec;
            let by_reference = spec.workload_ref.as_ref();
            let by_labels = spec.selector.as_ref();
            by_reference.is_some_and(|workload| owners.include(workload))
                || by_labels.is_some_and(|selector| selector::matches(selector, pod.labels()))
        })
        .collect();
    matching.sort_by_key(|application| (application.creation_timestamp(), application.name_any()));
    let mut matching = matching.into_iter();
    Some(Adoption {
        serving: matching.next()?,
        refused: matching.collect(),
    })
}

fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn application(name: &str, created: &str, spec: serde_json::Value) -> IntegratedApp {
        serde_json::from_value(json!({
            "apiVersion": "outrigger.dev/v1alpha1",
            "kind": "IntegratedApp",
            "metadata": {"name": name, "creationTimestamp": created},
            "spec": spec,
        }))
        .unwrap()
    }

    fn by_label(name: &str, created: &str) -> IntegratedApp {
        let spec = json!({"selector": {"matchLabels": {"app": "shop"}}, "sidecars": []});
        application(name, created, spec)
    }

    fn pod(labels: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "labels": labels}})).unwrap()
    }

    fn owner(api_version: &str, kind: &str, name: &str) -> Option<OwnerReference> {
        Some(OwnerReference {
            api_version: api_version.into(),
            kind: kind.into(),
            name: name.into(),
            controller: Some(true),
            ..OwnerReference::default()
        })
    }

    #[test]
    fn the_oldest_application_serves_and_the_others_are_named() {
        let applications = [
            by_label("younger", "2026-02-01T00:00:00Z"),
            by_label("older", "2026-01-01T00:00:00Z"),
        ];
        let pod = pod(json!({"app": "shop"}));
        let adoption = adopting(&pod, &Owners::default(), &applications).unwrap();
        assert_eq!(adoption.serving.name_any(), "older");
        assert_eq!(adoption.refused[0].name_any(), "younger");
    }

    #[test]
    fn applications_of_one_second_are_ordered_by_name() {
        let applications = [
            by_label("b", "2026-01-01T00:00:00Z"),
            by_label("a", "2026-01-01T00:00:00Z"),
        ];
        let pod = pod(json!({"app": "shop"}));
        let adoption = adopting(&pod, &Owners::default(), &applications).unwrap();
        assert_eq!(adoption.serving.name_any(), "a");
    }

    #[test]
    fn a_workload_is_found_through_its_replica_set_whatever_the_version_of_its_group() {
        let reference = json!({
            "workloadRef": {"apiVersion": "argoproj.io/v1", "kind": "Rollout", "name": "shop"},
            "sidecars": [],
        });
        let applications = [application("shop", "2026-01-01T00:00:00Z", reference)];
        let owners = Owners {
            direct: owner("apps/v1", "ReplicaSet", "shop-5d8"),
            indirect: owner("argoproj.io/v1alpha1", "Rollout", "shop"),
        };
        assert!(owners.has_intermediary());
        assert!(adopting(&pod(json!({})), &owners, &applications).is_some());
        let other = Owners {
            indirect: owner("apps/v1", "Deployment", "shop"),
            ..owners
        };
        assert!(adopting(&pod(json!({})), &other, &applications).is_none());
    }

    #[test]
    fn preflight_and_function_pods_belong_to_nobody() {
        let applications = [by_label("shop", "2026-01-01T00:00:00Z")];
        for label in [PREFLIGHT_LABEL, SHARED_LABEL] {
            let pod = pod(json!({"app": "shop", label: "orders"}));
            assert!(adopting(&pod, &Owners::default(), &applications).is_none());
        }
    }
}
