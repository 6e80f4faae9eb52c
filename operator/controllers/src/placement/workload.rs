use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Api, Resource, ResourceExt};
use outrigger_api::IntegratedApp;
use outrigger_placement::{Replaceable, Workload, is_gated};
use serde::de::DeserializeOwned;

use crate::context::Context;

/// The workload that an application's pods come from.
pub(super) struct FoundWorkload {
    /// How many pods it wants.
    pub(super) wanted: Workload,
    /// The Job, if it is one.
    job: Option<Job>,
}

impl FoundWorkload {
    fn unknown() -> FoundWorkload {
        FoundWorkload {
            wanted: Workload::Unknown,
            job: None,
        }
    }

    fn replicas(replicas: Option<i32>, start: Option<i32>) -> FoundWorkload {
        FoundWorkload {
            wanted: Workload::Replicas {
                replicas: number(replicas.unwrap_or(1)),
                start: number(start.unwrap_or(0)),
            },
            job: None,
        }
    }

    fn of_job(job: Job) -> FoundWorkload {
        let spec = job.spec.as_ref();
        let completions = spec.and_then(|spec| spec.completions);
        let parallelism = spec.and_then(|spec| spec.parallelism).unwrap_or(1);
        FoundWorkload {
            wanted: Workload::Indexed {
                // Without completions, one success ends the Job.
                completions: number(completions.unwrap_or(parallelism)),
                parallelism: number(parallelism),
            },
            job: Some(job),
        }
    }

    /// What becomes of a pod that is deleted.
    pub(super) fn replaceable(&self, pod: &Pod) -> Replaceable {
        Replaceable::of(pod, self.job.as_ref())
    }
}

fn number(count: i32) -> u32 {
    u32::try_from(count).unwrap_or_default()
}

/// The workload that an application names, or else the one that its pods come from: that of the
/// pods at the gate, if some wait. A kind that is not known here wants as many pods as there are,
/// and so does a workload that cannot be read: no pod waits for that.
pub(super) async fn read(
    context: &Context,
    application: &IntegratedApp,
    pods: &[Arc<Pod>],
) -> FoundWorkload {
    let namespace = application.namespace().unwrap_or_default();
    let reader = Reader {
        context,
        namespace: &namespace,
    };
    if let Some(workload) = &application.spec.workload_ref
        && let Some(found) = reader
            .workload(&workload.api_version, &workload.kind, &workload.name)
            .await
    {
        return found;
    }
    let youngest = pods
        .iter()
        .max_by_key(|pod| (is_gated(pod), pod.creation_timestamp(), pod.name_any()));
    let references = youngest.map_or(&[][..], |pod| pod.owner_references());
    let owners = match context.lookup.owners(&namespace, references).await {
        Ok(owners) => owners,
        Err(error) => {
            tracing::warn!(%error, namespace, "owners of a pod are not known");
            return FoundWorkload::unknown();
        }
    };
    for OwnerReference {
        api_version,
        kind,
        name,
        ..
    } in [owners.indirect, owners.direct].into_iter().flatten()
    {
        if let Some(found) = reader.workload(&api_version, &kind, &name).await {
            return found;
        }
    }
    FoundWorkload::unknown()
}

struct Reader<'a> {
    context: &'a Context,
    namespace: &'a str,
}

impl Reader<'_> {
    async fn workload(&self, api_version: &str, kind: &str, name: &str) -> Option<FoundWorkload> {
        let group = api_version.split_once('/').map(|(group, _)| group)?;
        match (group, kind) {
            ("apps", "Deployment") => {
                let spec = self.get::<Deployment>(name).await?.spec?;
                Some(FoundWorkload::replicas(spec.replicas, None))
            }
            ("apps", "StatefulSet") => {
                let spec = self.get::<StatefulSet>(name).await?.spec?;
                let start = spec.ordinals.and_then(|ordinals| ordinals.start);
                Some(FoundWorkload::replicas(spec.replicas, start))
            }
            ("apps", "ReplicaSet") => {
                let spec = self.get::<ReplicaSet>(name).await?.spec?;
                Some(FoundWorkload::replicas(spec.replicas, None))
            }
            ("batch", "Job") => self.get::<Job>(name).await.map(FoundWorkload::of_job),
            _ => None,
        }
    }

    async fn get<K>(&self, name: &str) -> Option<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + Debug,
    {
        let api = Api::<K>::namespaced(self.context.client.clone(), self.namespace);
        let found = api.get_opt(name).await;
        found.unwrap_or_else(|error| {
            let kind = K::kind(&());
            tracing::warn!(%error, namespace = self.namespace, name, "{kind} cannot be read");
            None
        })
    }
}
