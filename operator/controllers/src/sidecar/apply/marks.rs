//! Marks on ControllerRevisions: what is learnt of an image after its revision was kept.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::api::Patch;
use kube::{Api, ResourceExt};
use outrigger_rollout::{
    FAILED_ANNOTATION, FAILED_IN_ANNOTATION, Failure, KnownRevision, PROVEN_ANNOTATION,
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{Applied, ApplyError, outcome};
use crate::call::patching;

/// The ControllerRevisions of a sidecar. A mark is written only on one that is as it was read: an
/// annotation holds what was seen of several applications, and a write that knows of fewer would
/// forget the others.
pub(super) struct Marks {
    api: Api<ControllerRevision>,
    /// As they were read, or as the last mark left them.
    newest: Mutex<BTreeMap<String, ControllerRevision>>,
}

impl Marks {
    pub(super) fn new(api: Api<ControllerRevision>, found: &[ControllerRevision]) -> Marks {
        let found = found.iter().cloned();
        let newest = found.map(|revision| (revision.name_any(), revision));
        Marks {
            api,
            newest: Mutex::new(newest.collect()),
        }
    }

    /// Marks a revision as failed: for all pods, or for those of an application.
    pub(super) async fn fail(
        &self,
        revision: &str,
        application: Option<&str>,
        failure: &Failure,
    ) -> Result<Applied, ApplyError> {
        let annotations = match application {
            Some(application) => {
                let known = self
                    .newest
                    .lock()
                    .get(revision)
                    .and_then(KnownRevision::read);
                let mut failed_in = known.map_or_else(BTreeMap::new, |known| known.failed_in);
                failed_in.insert(application.to_owned(), failure.message.clone());
                json!({FAILED_IN_ANNOTATION: json!(failed_in).to_string()})
            }
            None => {
                let proven = failure.proven.then_some("true");
                json!({FAILED_ANNOTATION: failure.to_annotation(), PROVEN_ANNOTATION: proven})
            }
        };
        self.write(revision, json!({"metadata": {"annotations": annotations}}))
            .await
    }

    /// Sets an annotation of a revision.
    pub(super) async fn annotate(
        &self,
        revision: &str,
        key: &str,
        value: &str,
    ) -> Result<Applied, ApplyError> {
        let annotations = json!({"metadata": {"annotations": {key: value}}});
        self.write(revision, annotations).await
    }

    /// Writes a change, unless the revision has changed since.
    pub(super) async fn write(
        &self,
        revision: &str,
        mut change: Value,
    ) -> Result<Applied, ApplyError> {
        let version = self
            .newest
            .lock()
            .get(revision)
            .and_then(ResourceExt::resource_version);
        if let Some(version) = version {
            change["metadata"]["resourceVersion"] = version.into();
        }
        let patch = Patch::Merge(change);
        let patched = self.api.patch(revision, &patching(), &patch).await;
        if let Ok(patched) = &patched {
            self.newest
                .lock()
                .insert(revision.to_owned(), patched.clone());
        }
        outcome(patched, format!("ControllerRevision {revision}"), "patched")
    }
}

#[cfg(test)]
mod tests {
    use outrigger_api::conditions::reason;
    use outrigger_api_server::ApiServer;

    use super::*;

    const REVISION: &str = "/apis/apps/v1/namespaces/store/controllerrevisions/orders-1";

    /// What an operator reads now.
    fn read(api: &ApiServer) -> Marks {
        let found = serde_json::from_value(api.get(REVISION).unwrap()).unwrap();
        Marks::new(Api::namespaced(api.client(), "store"), &[found])
    }

    fn failed_in(api: &ApiServer) -> Value {
        let found = api.get(REVISION).unwrap();
        let text = &found["metadata"]["annotations"][FAILED_IN_ANNOTATION];
        serde_json::from_str(text.as_str().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn failures_of_several_applications_are_all_kept() {
        let api = ApiServer::default();
        api.put(
            REVISION,
            json!({"data": {"image": "sidecar:1"}, "revision": 1}),
        );
        let (marks, stale) = (read(&api), read(&api));
        let failure = Failure {
            reason: reason::REVISION_FAILED,
            message: "errors".to_owned(),
            proven: true,
        };
        for application in ["shop", "till"] {
            let applied = marks.fail("orders-1", Some(application), &failure);
            assert_eq!(applied.await.unwrap(), Applied::Done);
        }
        let both = json!({"shop": "errors", "till": "errors"});
        assert_eq!(failed_in(&api), both);
        let applied = stale.fail("orders-1", Some("bills"), &failure);
        assert_eq!(applied.await.unwrap(), Applied::Overtaken);
        assert_eq!(failed_in(&api), both, "what others wrote is left alone");
    }
}
