//! Pods that are created for a trial, or evicted.

use k8s_openapi::api::core::v1::Pod;
use kube::{Resource, ResourceExt};
use outrigger_injection::{Trial, orders, preflight_pod};
use outrigger_rollout::Consumer;

use super::{Applied, ApplyError, Work, outcome};
use crate::call::creating;
use crate::context::{MANAGED_BY_LABEL, MANAGER};
use crate::eviction::{self, Outcome};
use crate::succession::{Tried, WITHOUT_SIDECARS, controller_uid, objection, try_successor};

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
        let created = self.pods().create(&creating(), &pod).await;
        outcome(
            created,
            format!("preflight pod {}", pod.name_any()),
            "created",
        )
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
    pub(super) async fn evict(
        &self,
        name: &str,
        uid: &str,
        revision: &str,
    ) -> Result<Applied, ApplyError> {
        let Some(pod) = self.pod(uid) else {
            return Ok(Applied::Overtaken);
        };
        if let Some(message) = self.objection(pod, revision).await? {
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
    async fn objection(&self, pod: &Pod, revision: &str) -> Result<Option<String>, ApplyError> {
        let sidecar = self.found.sidecar.name_any();
        let consumer = Consumer::read(pod, &sidecar);
        let application = consumer.as_ref().and_then(Consumer::application);
        let Some(application) = application else {
            return Ok(None);
        };
        let controller = controller_uid(pod).unwrap_or_default();
        let Some(controller) = self.found.successors.controllers.get(&controller) else {
            return Ok(Some(objection(pod)));
        };
        let client = &self.watched.context.client;
        let tried = try_successor(client, application, pod, controller).await?;
        let wrong = match tried {
            Tried::Admitted(tried) => other_revision(&tried, &sidecar, revision),
            Tried::Wrong(what) => Some(what),
        };
        Ok(wrong.map(|what| format!("a pod like its successor, which was only tried, {what}")))
    }
}

/// What a pod has in place of a revision of a sidecar.
fn other_revision(pod: &Pod, sidecar: &str, revision: &str) -> Option<String> {
    match orders(pod).remove(sidecar) {
        Some(Ok(order)) if [&order.revision.a, &order.revision.b] == [revision; 2] => None,
        Some(Ok(order)) => Some(format!(
            "came back with revision {} of sidecar {sidecar}, and not {revision}: the admission webhook does not know of that yet",
            order.revision.a
        )),
        Some(Err(error)) => Some(format!(
            "came back with what is no order of sidecar {sidecar}: {error}"
        )),
        None => Some(WITHOUT_SIDECARS.to_owned()),
    }
}
