//! Pods that are created for a trial, or evicted.

use k8s_openapi::api::core::v1::Pod;
use kube::{Resource, ResourceExt};
use outrigger_injection::{Trial, preflight_pod};
use outrigger_rollout::Consumer;

use super::{Applied, ApplyError, Work, creation, outcome};
use crate::context::{MANAGED_BY_LABEL, MANAGER};
use crate::eviction::{self, Outcome};
use crate::succession::{Tried, controller_uid, objection, try_successor};

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

    /// Evicts a pod whose successor was tried. One that a budget keeps, or whose successor would not
    /// come with its sidecars, is tried again with the next look.
    pub(super) async fn evict(&self, name: &str, uid: &str) -> Result<Applied, ApplyError> {
        let Some(pod) = self.pod(uid) else {
            return Ok(Applied::Overtaken);
        };
        if let Some(message) = self.objection(pod).await? {
            self.refusals.lock().insert(name.to_owned(), message);
            return Ok(Applied::Refused);
        }
        match eviction::evict(&self.watched.context.client, pod).await? {
            Outcome::Evicted => Ok(Applied::Done),
            Outcome::Gone => Ok(Applied::Overtaken),
            Outcome::Refused { message } => {
                self.refusals.lock().insert(name.to_owned(), message);
                Ok(Applied::Refused)
            }
        }
    }

    /// Why a pod would have no successor that is right. Function pods are the operator's own.
    async fn objection(&self, pod: &Pod) -> Result<Option<String>, ApplyError> {
        let consumer = Consumer::read(pod, &self.found.sidecar.name_any());
        let application = consumer.as_ref().and_then(Consumer::application);
        let Some(application) = application else {
            return Ok(None);
        };
        let controller = controller_uid(pod).unwrap_or_default();
        let Some(controller) = self.found.successors.controllers.get(&controller) else {
            return Ok(Some(objection(pod)));
        };
        let client = &self.watched.context.client;
        Ok(
            match try_successor(client, application, pod, controller).await? {
                Tried::Admitted(_) => None,
                Tried::Wrong(what) => Some(format!(
                    "a pod like its successor, which was only tried, {what}"
                )),
            },
        )
    }
}
