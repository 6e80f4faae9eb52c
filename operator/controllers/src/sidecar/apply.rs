mod marks;
mod pods;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{FutureExt, StreamExt, stream};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, Patch};
use kube::core::Status;
use kube::{Api, Resource, ResourceExt};
use outrigger_injection::{Refusal, Trial};
use outrigger_lookup::LookupError;
use outrigger_rollout::{Action, Consumers, DIGEST_ANNOTATION, KnownRevision};
use parking_lot::Mutex;
use serde_json::json;

use self::marks::Marks;
use super::documents::unused;
use super::read::Found;
use super::story::{ending, story};
use super::watched::Watched;
use crate::call::{CallError, creating, deleting, failed, is_other, patching, unless};
use crate::context::{MANAGED_BY_LABEL, MANAGER};
use crate::events::Story;
use crate::eviction::Why;
use crate::relations::is_owned;

/// Orders written at once: a new configuration is one for each pod.
const AT_ONCE: usize = 8;

/// An action could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApplyError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Rules(#[from] LookupError),
    #[error("the image cannot be tried: {0}")]
    Refused(#[from] Refusal),
}

/// What became of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Applied {
    Done,
    /// What it rests on has changed since it was read: the next look sees more.
    Overtaken,
    /// A budget does not allow it now, or it would bring no better.
    Refused,
}

/// What came of a decision's actions.
pub(super) struct Outcomes {
    /// Whether all of them were still right.
    pub(super) current: bool,
    /// What was against evictions, by name of the pod.
    pub(super) refusals: BTreeMap<String, String>,
}

/// Carries the actions out, in their order.
pub(super) async fn apply(
    watched: &Watched,
    found: &Found,
    consumers: &Consumers<'_>,
    actions: &[Action],
) -> Result<Outcomes, ApplyError> {
    let namespace = found.sidecar.namespace().unwrap_or_default();
    let revisions = Api::namespaced(watched.context.client.clone(), &namespace);
    let work = Work {
        watched,
        found,
        consumers,
        namespace,
        marks: Marks::new(revisions, &found.revisions),
        refusals: Mutex::default(),
    };
    let of = |stage| {
        actions
            .iter()
            .filter(move |action| Stage::of(action) == stage)
    };
    let mut all = true;
    for revision in of(Stage::Keep) {
        all &= work.finish(revision).await?;
    }
    for mark in of(Stage::Mark) {
        if !work.finish(mark).await? {
            return Ok(Outcomes {
                current: false,
                refusals: BTreeMap::new(),
            });
        }
    }
    let orders: Vec<_> = of(Stage::Order)
        .map(|order| work.finish(order).boxed())
        .collect();
    let orders = stream::iter(orders).buffer_unordered(AT_ONCE).collect();
    let mut applied: Vec<_> = orders.await;
    for action in of(Stage::Rest) {
        applied.push(work.finish(action).await);
    }
    applied.push(work.forget_documents().await);
    for applied in applied {
        all &= applied?;
    }
    Ok(Outcomes {
        current: all,
        refusals: work.refusals.into_inner(),
    })
}

/// When an action has its turn. An order may rest on a mark, and waits when that was not written;
/// but no order rests on another, and none on the rest: a pod that takes no order, or a preflight
/// that is not admitted, stops no other swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Keep,
    Mark,
    Order,
    Rest,
}

impl Stage {
    fn of(action: &Action) -> Stage {
        match action {
            Action::KeepRevision(_) => Stage::Keep,
            Action::Renumber { .. } | Action::RecordDigest { .. } | Action::FailRevision { .. } => {
                Stage::Mark
            }
            Action::Patch(_) => Stage::Order,
            Action::RemoveRevision(_)
            | Action::Try { .. }
            | Action::EndTrial(_)
            | Action::Evict { .. } => Stage::Rest,
        }
    }
}

struct Work<'a> {
    watched: &'a Watched,
    found: &'a Found,
    consumers: &'a Consumers<'a>,
    namespace: String,
    marks: Marks,
    refusals: Mutex<BTreeMap<String, String>>,
}

impl Work<'_> {
    /// Carries an action out and tells of it; whether it was still right.
    async fn finish(&self, action: &Action) -> Result<bool, ApplyError> {
        let applied = self.carry_out(action).await?;
        if applied == Applied::Done {
            self.tell(action).await;
        }
        Ok(applied != Applied::Overtaken)
    }

    async fn carry_out(&self, action: &Action) -> Result<Applied, ApplyError> {
        match action {
            Action::KeepRevision(revision) => self.keep(revision).await,
            Action::Renumber { revision, number } => {
                self.marks
                    .write(revision, json!({"revision": number}))
                    .await
            }
            Action::RecordDigest { revision, digest } => {
                let marks = &self.marks;
                marks.annotate(revision, DIGEST_ANNOTATION, digest).await
            }
            Action::FailRevision {
                revision,
                application,
                failure,
            } => {
                let application = application.as_deref();
                self.marks.fail(revision, application, failure).await
            }
            Action::RemoveRevision(name) => {
                let deleted = self
                    .revisions()
                    .delete(name, &DeleteParams::default())
                    .await;
                outcome(deleted, format!("ControllerRevision {name}"), "deleted")
            }
            Action::Try {
                consumer,
                node,
                image,
                revision,
            } => {
                let trial = Trial {
                    image,
                    revision,
                    node: node.as_deref(),
                    like: self.like(consumer, node.as_deref()),
                };
                self.begin_trial(consumer, &trial).await
            }
            Action::EndTrial(name) => {
                let deleted = self.pods().delete(name, &DeleteParams::default()).await;
                outcome(deleted, format!("preflight pod {name}"), "deleted")
            }
            Action::Patch(change) => {
                let patch = Patch::<()>::Json(change.patch.clone());
                let patched = self.pods().patch(&change.pod, &patching(), &patch).await;
                outcome(patched, format!("pod {}", change.pod), "patched")
            }
            Action::Evict { pod, uid, revision } => self.evict(pod, uid, revision).await,
        }
    }

    async fn keep(&self, revision: &KnownRevision) -> Result<Applied, ApplyError> {
        let mut object = revision.to_object(&self.found.sidecar);
        object
            .labels_mut()
            .insert(MANAGED_BY_LABEL.to_owned(), MANAGER.to_owned());
        let name = &revision.name;
        let found = self.watched.revisions.get(&self.namespace, name);
        if let Some(leftover) = found.filter(|found| !is_owned(&**found, &self.found.sidecar)) {
            // Of a former sidecar of the name: nobody else deletes one that it left without an owner.
            let deleted = self.revisions().delete(name, &just(&*leftover)).await;
            outcome(deleted, format!("ControllerRevision {name}"), "deleted")?;
        }
        let created = self.revisions().create(&creating(), &object).await;
        outcome(created, format!("ControllerRevision {name}"), "created")
    }

    /// Deletes the documents that nobody needs; whether they were still as they were read.
    async fn forget_documents(&self) -> Result<bool, ApplyError> {
        let client = self.watched.context.client.clone();
        let config_maps = Api::<ConfigMap>::namespaced(client, &self.namespace);
        let mut all = true;
        for documents in unused(self.found) {
            let name = documents.name_any();
            let deleted = config_maps.delete(&name, &just(documents)).await;
            let applied = outcome(deleted, format!("ConfigMap {name}"), "deleted")?;
            all &= applied == Applied::Done;
        }
        Ok(all)
    }

    async fn tell(&self, action: &Action) {
        let sidecar = &self.found.sidecar;
        let metrics = &self.watched.context.metrics.swaps;
        let mut about = None;
        match action {
            Action::FailRevision { .. } => metrics.failed(),
            Action::Evict { uid, .. } => {
                about = self.pod(uid);
                let evictions = &self.watched.context.metrics.evictions;
                evictions.count(Why::NewRevision);
            }
            Action::Patch(change) => {
                let status = sidecar.status.as_ref();
                let current = status.and_then(|status| status.current_revision.as_ref());
                let current = current.map(|revision| revision.name.as_str());
                if let Some(ended) = ending(change, current) {
                    metrics.ended(ended);
                }
                metrics.written(change);
                about = self.pod(&change.uid);
            }
            _ => {}
        }
        let about = about.map(|pod| pod.object_ref(&()));
        let Some(told) = story(action, &sidecar.name_any(), about.clone()) else {
            return;
        };
        tracing::info!(
            namespace = self.namespace,
            name = sidecar.name_any(),
            reason = told.reason,
            message = told.note,
            "IntegrationSidecar"
        );
        let events = &self.watched.context.events;
        let regarding = sidecar.object_ref(&());
        let of_the_pod = Story {
            related: Some(regarding.clone()),
            ..told.clone()
        };
        let pod = async {
            if let Some(pod) = &about {
                events.publish(pod, &of_the_pod).await;
            }
        };
        tokio::join!(events.publish(&regarding, &told), pod);
    }

    fn pod(&self, uid: &str) -> Option<&Arc<Pod>> {
        let mut pods = self.found.pods.iter();
        pods.find(|pod| pod.uid().as_deref() == Some(uid))
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.watched.context.client.clone(), &self.namespace)
    }

    fn revisions(&self) -> Api<ControllerRevision> {
        Api::namespaced(self.watched.context.client.clone(), &self.namespace)
    }
}

/// Deletes an object only as it was seen.
fn just(object: &impl ResourceExt) -> DeleteParams {
    deleting(object.uid(), object.resource_version())
}

/// An object that is there already, is gone, or is not as it was, is no failure.
fn outcome<T>(
    result: Result<T, kube::Error>,
    what: impl Into<String>,
    action: &'static str,
) -> Result<Applied, ApplyError> {
    let done = unless(|status| is_other(status) || is_stale(status), result);
    Ok(match done.map_err(failed(what, action))? {
        Some(_) => Applied::Done,
        None => Applied::Overtaken,
    })
}

/// Whether the test of a JSON patch failed. The API server says no more than that it rejects such a
/// patch; what it says of an object that is invalid or that a policy denies is longer.
fn is_stale(status: &Status) -> bool {
    let message = &status.message;
    status.code == 422 && !message.contains("is invalid") && !message.contains("denied")
}
