use json_patch::Patch as Changes;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Patch;
use kube::{Api, Client, ResourceExt};

use crate::call::{deleting, is_another, patching};

/// What came of a write to a pod.
pub(super) enum Written<T> {
    /// It is as asked for.
    Done(T),
    /// The pod is gone.
    Gone,
    /// The API server does not take it, however often it is asked.
    Refused(kube::Error),
}

/// Lets a pod go by a patch that the gate is part of.
pub(super) async fn release(
    client: &Client,
    pod: &Pod,
    changes: &Changes,
) -> Result<Written<Pod>, kube::Error> {
    let patch = Patch::<()>::Json(changes.clone());
    let patched = api(client, pod)
        .patch(&pod.name_any(), &patching(), &patch)
        .await;
    judged(patched)
}

/// Deletes a pod, and none that came after it under its name.
pub(super) async fn delete(client: &Client, pod: &Pod) -> Result<Written<()>, kube::Error> {
    let this = deleting(pod.uid(), None);
    let deleted = api(client, pod).delete(&pod.name_any(), &this).await;
    match deleted {
        Err(kube::Error::Api(status)) if is_another(&status) => Ok(Written::Gone),
        deleted => judged(deleted.map(|_| ())),
    }
}

fn api(client: &Client, pod: &Pod) -> Api<Pod> {
    Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default())
}

fn judged<T>(result: Result<T, kube::Error>) -> Result<Written<T>, kube::Error> {
    match result {
        Ok(done) => Ok(Written::Done(done)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Written::Gone),
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 422) => {
            Ok(Written::Refused(kube::Error::Api(status)))
        }
        Err(error) => Err(error),
    }
}
