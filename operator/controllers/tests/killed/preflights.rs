//! A kubelet that runs nothing but preflight pods, all of which succeed.

use outrigger_api_server::ApiServer;
use outrigger_control::layout;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

const PODS: &str = "/api/v1/namespaces/store/pods/";

/// Lets preflights succeed until it is dropped.
pub(crate) fn pass(api: &ApiServer) -> AbortOnDropHandle<()> {
    let api = api.clone();
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            api.until_all(PODS, |pods| pods.iter().any(is_new)).await;
            for mut pod in api.under(PODS).into_iter().filter(is_new) {
                let image = pod["spec"]["containers"][0]["image"].as_str().unwrap();
                let digest = image.replace([':', '/'], "-");
                pod["status"] = json!({"phase": "Succeeded", "containerStatuses": [{
                    "name": "preflight", "image": image, "imageID": format!("repo@sha256:{digest}"),
                    "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 0}},
                }]});
                api.put(
                    &format!("{PODS}{}", pod["metadata"]["name"].as_str().unwrap()),
                    pod,
                );
            }
        }
    }))
}

/// Waits until there were preflights, and are none any more.
pub(crate) async fn until_done(api: &ApiServer) {
    let first = |found: Option<&Value>| {
        found.is_some_and(|found| !found["status"]["currentRevision"]["digest"].is_null())
    };
    api.until(crate::shop::SIDECAR, first).await;
    api.until_all(PODS, |pods| !pods.iter().any(is_preflight))
        .await;
}

fn is_preflight(pod: &Value) -> bool {
    !pod["metadata"]["labels"][layout::PREFLIGHT_LABEL].is_null()
}

fn is_new(pod: &Value) -> bool {
    is_preflight(pod) && pod["status"].is_null()
}
