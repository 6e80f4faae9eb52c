//! Calls that write to the API server: how they are made, and what their answers mean.

use kube::api::{DeleteParams, PatchParams, PostParams, Preconditions};
use kube::core::Status;
use outrigger_api::FIELD_MANAGER;

/// Something could not be written, created, deleted or tried.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be {action}: {error}")]
pub(crate) struct CallError {
    /// What it is, in words.
    what: String,
    /// What was to be done to it, such as `written`.
    action: &'static str,
    /// What the API server says.
    pub(crate) error: kube::Error,
}

/// Says of a call that failed what it was to do to what.
pub(crate) fn failed(
    what: impl Into<String>,
    action: &'static str,
) -> impl FnOnce(kube::Error) -> CallError {
    move |error| CallError {
        what: what.into(),
        action,
        error,
    }
}

/// An answer that means that somebody was faster is no failure, and gives `None`.
pub(crate) fn unless<T>(
    overtaken: impl FnOnce(&Status) -> bool,
    result: Result<T, kube::Error>,
) -> Result<Option<T>, kube::Error> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(kube::Error::Api(status)) if overtaken(&status) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether an object is gone, is not as it was seen, or is another one of its name.
pub(crate) fn is_other(status: &Status) -> bool {
    matches!(status.code, 404 | 409) || is_another(status)
}

/// Whether the UID is not that of the object with the name: of a precondition, or in a patch, which
/// is invalid then. There are other conflicts, such as with a budget that changes meanwhile.
pub(crate) fn is_another(status: &Status) -> bool {
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    status.is_conflict() && status.message.contains("UID")
        || status.is_invalid() && causes.any(|cause| cause.field == "metadata.uid")
}

/// Parameters of a creation by the operator.
pub(crate) fn creating() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

/// Parameters of a patch by the operator.
pub(crate) fn patching() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// Parameters of a deletion of an object with this UID and, if there is one, this resource version:
/// of none that came after it under its name.
pub(crate) fn deleting(uid: Option<String>, resource_version: Option<String>) -> DeleteParams {
    DeleteParams::default().preconditions(Preconditions {
        uid,
        resource_version,
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kube::Api;
    use kube::api::Patch;
    use outrigger_api_server::ApiServer;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_pod_that_came_under_the_name_of_another_is_told_by_each_call() {
        let api = ApiServer::default();
        api.put("/api/v1/namespaces/store/pods/a", json!({}));
        let pods: Api<Pod> = Api::namespaced(api.client(), "store");
        let gone = Some("the one before".to_owned());
        let merge = Patch::Merge(json!({"metadata": {"uid": gone}}));
        let apply = Patch::Apply(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"uid": gone},
        }));
        let applying = PatchParams::apply(FIELD_MANAGER);
        let failures = [
            pods.patch("a", &patching(), &merge).await.err(),
            pods.patch("a", &applying, &apply).await.err(),
            pods.delete("a", &deleting(gone, None)).await.err(),
        ];
        for failure in failures {
            let Some(kube::Error::Api(status)) = failure else {
                panic!("{failure:?}");
            };
            assert!(is_another(&status) && is_other(&status), "{status:?}");
        }
        let stale = deleting(None, Some("1000".to_owned()));
        let Err(kube::Error::Api(status)) = pods.delete("a", &stale).await else {
            panic!("the version is not that of the pod");
        };
        assert!(!is_another(&status) && is_other(&status), "{status:?}");
    }
}
