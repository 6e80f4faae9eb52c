use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::Status;
use kube::{Api, Client, Resource, ResourceExt};
use outrigger_api::FIELD_MANAGER;
use outrigger_control::{Tenants, layout};
use outrigger_injection::{FunctionPod, NamespaceRules, Place, Refusal, function_pod};
use outrigger_lookup::LookupError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::decide::{Decision, told};
use super::documents::owners;
use super::pods::{SHAPE, Spot, named, shape_of};
use super::read::{Found, is_function_pod};
use super::watched::Watched;
use crate::call::{CallError, creating, deleting, failed, is_other, patching, unless};
use crate::context::{MANAGED_BY_LABEL, MANAGER};
use crate::relations::is_owned;

/// Something could not be written, created or deleted.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApplyError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Rules(#[from] LookupError),
    #[error("{what} cannot be made: {refusal}")]
    Refused { what: String, refusal: Box<Refusal> },
    #[error("{what} exists and is not Outrigger's; delete it, or rename the IntegrationSidecar")]
    Foreign { what: String },
}

/// Pause after a write that somebody else's was faster than.
const OVERTAKEN: Duration = Duration::from_secs(1);

/// The first failure of several steps, none of which keeps the others from being tried.
#[derive(Default)]
struct Attempts(Option<ApplyError>);

impl Attempts {
    fn note<T>(&mut self, step: Result<T, ApplyError>) -> Option<T> {
        match step {
            Ok(done) => Some(done),
            Err(failure) => {
                self.0.get_or_insert(failure);
                None
            }
        }
    }

    fn end(self) -> Result<(), ApplyError> {
        self.0.map_or(Ok(()), Err)
    }
}

/// Carries a decision out, as much of it as can be. When there is more to do.
///
/// The Service comes first; then deletions, which make room in a quota; then function pods are told
/// of their tenants, who wait for no other pod; then come documents, before the pods that read them.
pub(super) async fn apply(
    watched: &Watched,
    found: &Found,
    decision: &Decision,
) -> Result<Option<Duration>, ApplyError> {
    let work = Work::new(watched, found);
    let mut attempts = Attempts::default();
    let mut again = Vec::new();
    if let Some(service) = &decision.service {
        again.extend(attempts.note(work.write(service, found.service.as_deref()).await));
    }
    for (name, uid) in &decision.pods.delete {
        again.extend(attempts.note(delete::<Pod>(&work.api(), name, uid).await));
    }
    again.extend(attempts.note(work.tell(decision).await));
    if let Some(config_map) = &decision.config_map {
        again.extend(attempts.note(work.write(config_map, found.config_map.as_deref()).await));
    }
    again.extend(attempts.note(work.create(decision).await));
    attempts.end().map(|()| again.into_iter().flatten().min())
}

/// Deletes what nobody needs any more. When there is more to do.
pub(super) async fn remove(
    watched: &Watched,
    found: &Found,
) -> Result<Option<Duration>, ApplyError> {
    let work = Work::new(watched, found);
    let mut again = None;
    if let Some(service) = &found.service {
        let uid = service.uid().unwrap_or_default();
        again = delete::<Service>(&work.api(), &service.name_any(), &uid).await?;
    }
    if let Some(config_map) = &found.config_map {
        let uid = config_map.uid().unwrap_or_default();
        again = again.or(delete::<ConfigMap>(&work.api(), &config_map.name_any(), &uid).await?);
    }
    Ok(again)
}

struct Work<'a> {
    watched: &'a Watched,
    found: &'a Found,
    client: Client,
    namespace: String,
}

impl<'a> Work<'a> {
    fn new(watched: &'a Watched, found: &'a Found) -> Work<'a> {
        Work {
            watched,
            found,
            client: watched.context.client.clone(),
            namespace: found.sidecar.namespace().unwrap_or_default(),
        }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates function pods; when to look again, if somebody is in the way of some.
    async fn create(&self, decision: &Decision) -> Result<Option<Duration>, ApplyError> {
        if decision.pods.create.is_empty() {
            return Ok(None);
        }
        let context = &self.watched.context;
        let rules = context.lookup.namespace_rules(&self.namespace).await?;
        let mut again = Vec::new();
        let mut attempts = Attempts::default();
        for (name, spot) in &decision.pods.create {
            let created = self.create_pod(decision, name, spot, &rules).await;
            again.extend(attempts.note(created).flatten());
        }
        attempts.end().map(|()| again.into_iter().min())
    }

    async fn create_pod(
        &self,
        decision: &Decision,
        name: &str,
        spot: &Spot,
        rules: &NamespaceRules,
    ) -> Result<Option<Duration>, ApplyError> {
        let context = &self.watched.context;
        let what = format!("function {}", named(name, spot));
        let told = told(&self.found.consumers, &decision.plan, spot);
        let wanted = FunctionPod {
            name,
            place: match spot {
                Spot::Node(node) => Place::Node(node),
                Spot::Anywhere => Place::Any,
            },
            tenants: &told.tenants,
            holder_image: &context.holder_image,
        };
        let refused = |refusal| ApplyError::Refused {
            what: what.clone(),
            refusal: Box::new(refusal),
        };
        let mut pod =
            function_pod(&decision.plan, &wanted, &context.settings, rules).map_err(refused)?;
        pod.labels_mut()
            .insert(MANAGED_BY_LABEL.to_owned(), MANAGER.to_owned());
        pod.labels_mut()
            .insert(SHAPE.to_owned(), decision.shape.clone());
        pod.metadata.owner_references = Some(owners(&self.found.sidecar));
        let created = self.api::<Pod>().create(&creating(), &pod).await;
        if let Err(kube::Error::Api(status)) = &created
            && status.is_already_exists()
        {
            self.expect_own(name, &what).await?;
        }
        // One of the name may be there and not be known, and a quota may have changed meanwhile: two
        // reasons with one code.
        let is_in_the_way = |status: &Status| status.code == 409;
        again_after(is_in_the_way, created, what, "created")
    }

    /// Expects that a pod with a name, if there is one, is a function pod of the sidecar, and will
    /// be heard of. With another owner, or without our label, it will not.
    async fn expect_own(&self, name: &str, what: &str) -> Result<(), ApplyError> {
        // The operator may list pods, and not get one.
        let this = ListParams::default().fields(&format!("metadata.name={name}"));
        let found = self.api::<Pod>().list(&this).await;
        let found = found.map_err(failed(what, "read"))?;
        let mut found = found.items.iter();
        match found.all(|pod| is_function_pod(pod, &self.found.sidecar)) {
            true => Ok(()),
            false => Err(ApplyError::Foreign {
                what: what.to_owned(),
            }),
        }
    }

    /// Tells function pods of their tenants; until when some have to wait for that.
    async fn tell(&self, decision: &Decision) -> Result<Option<Duration>, ApplyError> {
        let mut again = Vec::new();
        let mut attempts = Attempts::default();
        for (pod, tenants) in &decision.retold {
            let uid = pod.uid().unwrap_or_default();
            if let Err(rest) = self.watched.memory.may_tell(&uid) {
                again.push(rest);
                continue;
            }
            let patch = retelling(pod, decision.plan.name(), tenants);
            let name = pod.name_any();
            let patched = self.api::<Pod>().patch(&name, &patching(), &patch).await;
            let told = again_after(is_other, patched, format!("function pod {name}"), "patched");
            again.extend(attempts.note(told).flatten());
        }
        attempts.end().map(|()| again.into_iter().min())
    }

    /// Writes an object of the sidecar, whole. One of the name that is somebody else's is left
    /// alone. When to look again.
    async fn write<K>(&self, wanted: &K, known: Option<&K>) -> Result<Option<Duration>, ApplyError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned
            + Serialize,
    {
        let (api, name) = (self.api::<K>(), wanted.name_any());
        let what = format!("{} {name}", K::kind(&()));
        let uid = match known {
            Some(known) => known.uid(),
            // What is known has the operator's labels. There may be one without.
            None => match api.get_opt(&name).await {
                Ok(None) => None,
                Ok(Some(found)) if is_owned(&found, &self.found.sidecar) => found.uid(),
                Ok(Some(_)) => return Err(ApplyError::Foreign { what }),
                Err(error) => return Err(failed(what, "read")(error).into()),
            },
        };
        let mut wanted = wanted.clone();
        wanted.meta_mut().uid = uid;
        write(&api, &wanted).await
    }
}

/// Writes an object, whole; with a UID only if it is the one that was seen. When to look again.
pub(super) async fn write<K>(api: &Api<K>, wanted: &K) -> Result<Option<Duration>, ApplyError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
{
    let (name, was_seen) = (wanted.name_any(), wanted.meta().uid.is_some());
    // Created by an apply too: what a create writes, no later apply takes away. One that appears
    // meanwhile is not forced.
    let mut parameters = PatchParams::apply(FIELD_MANAGER);
    parameters.force = was_seen;
    let written = api.patch(&name, &parameters, &Patch::Apply(wanted)).await;
    let overtaken = |status: &Status| was_seen && is_other(status);
    let what = format!("{} {name}", K::kind(&()));
    again_after(overtaken, written, what, "written")
}

/// A write of the tenants, and of the shape for the Service, to the very pod that was seen.
fn retelling(pod: &Pod, sidecar: &str, tenants: &Tenants) -> Patch<serde_json::Value> {
    let key = layout::tenants_annotation(sidecar);
    // Addresses and names always have a JSON form.
    let text = serde_json::to_string(tenants).unwrap_or_default();
    let mut metadata = json!({"uid": pod.uid(), "annotations": {key: text}});
    if let Some(shape) = shape_of(pod) {
        metadata["labels"] = json!({SHAPE: shape});
    }
    Patch::Merge(json!({"metadata": metadata}))
}

/// Deletes an object only if it is the one that was seen. When to look again.
async fn delete<K>(api: &Api<K>, name: &str, uid: &str) -> Result<Option<Duration>, ApplyError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let deleted = api
        .delete(name, &deleting(Some(uid.to_owned()), None))
        .await;
    again_after(
        is_other,
        deleted,
        format!("{} {name}", K::kind(&())),
        "deleted",
    )
}

/// When to look again after a call that somebody was faster than: the API server may say so though
/// nothing has changed, so that no event follows.
fn again_after<T>(
    overtaken: impl FnOnce(&Status) -> bool,
    result: Result<T, kube::Error>,
    what: String,
    action: &'static str,
) -> Result<Option<Duration>, ApplyError> {
    let done = unless(overtaken, result).map_err(failed(what, action))?;
    Ok(done.is_none().then_some(OVERTAKEN))
}
