//! Pods that are created for a trial, or evicted.

use k8s_openapi::api::core::v1::Pod;
use kube::{Resource, ResourceExt};
use outrigger_injection::{Trial, preflight_pod};
use outrigger_rollout::Consumer;

use super::{Applied, ApplyError, Work, creation, outcome};
use crate::context::{MANAGED_BY_LABEL, MANAGER};
use crate::eviction::{self, Outcome};

impl Work<'_> {
    /// Tries an image with the configuration of a consumer.
    pub(super) async fn begin_trial(
        &self,
        consumer: &Consumer,
        trial: &Trial<'_>,
    ) -> Result<Applied, ApplyError> {
        let Some(resident) = self.consumers.resident(consumer) else {
            return Ok(Applied::Overtaken);
        };
        let rules = self
            .watched
            .context
            .lookup
            .namespace_rules(&self.namespace)
            .await?;
        let settings = &self.watched.context.settings;
        let mut pod = preflight_pod(
            &resident,
            trial,
            &self.watched.context.holder_image,
            settings,
            &rules,
        )?;
        pod.labels_mut()
            .insert(MANAGED_BY_LABEL.to_owned(), MANAGER.to_owned());
        pod.owner_references_mut()
            .extend(self.found.sidecar.controller_owner_ref(&()));
        let created = self.pods().create(&creation(), &pod).await;
        outcome(created, || {
            (format!("preflight pod {}", pod.name_any()), "created")
        })
    }

    /// A pod of the consumer, on the node if there is one.
    pub(super) fn like(&self, consumer: &Consumer, node: Option<&str>) -> Option<&Pod> {
        let name = self.found.sidecar.name_any();
        let pods = self.found.pods.iter().map(AsRef::as_ref);
        let mut pods = pods.filter(|pod| Consumer::read(pod, &name).as_ref() == Some(consumer));
        pods.find(|pod| {
            let spec = pod.spec.as_ref();
            node.is_none() || spec.and_then(|spec| spec.node_name.as_deref()) == node
        })
    }

    /// Evicts a pod; one that a budget keeps is tried again with the next look.
    pub(super) async fn evict(&self, name: &str, uid: &str) -> Result<Applied, ApplyError> {
        let Some(pod) = self.pod(uid) else {
            return Ok(Applied::Overtaken);
        };
        match eviction::evict(&self.watched.context.client, pod).await? {
            Outcome::Evicted => Ok(Applied::Done),
            Outcome::Gone => Ok(Applied::Overtaken),
            Outcome::Refused { message } => {
                self.refusals.lock().insert(name.to_owned(), message);
                Ok(Applied::Refused)
            }
        }
    }
}
