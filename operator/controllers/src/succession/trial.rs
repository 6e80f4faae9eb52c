use k8s_openapi::api::core::v1::{PersistentVolumeClaimVolumeSource, Pod, Volume};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt};
use outrigger_injection::application;
use outrigger_plan::Owners;

use super::controllers::Controller;
use crate::call::{CallError, creating, failed};

/// What became of a pod that no webhook gave anything.
pub(crate) const WITHOUT_SIDECARS: &str =
    "came back without its sidecars: the admission webhook is away, or does not know it";

/// What came of a pod that was only tried.
#[derive(Debug)]
pub(crate) enum Tried {
    /// It was admitted as a pod of the application, and is like this.
    Admitted(Box<Pod>),
    /// It was not, or not as one: what became of it.
    Wrong(String),
}

/// Tries the pod that a controller would create in another one's stead. The API server admits such a
/// pod with all that changes it on the way, and forgets it.
pub(crate) async fn try_successor(
    client: &Client,
    application_name: &str,
    pod: &Pod,
    controller: &Controller,
) -> Result<Tried, CallError> {
    let namespace = pod.namespace().unwrap_or_default();
    let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
    let parameters = PostParams {
        dry_run: true,
        ..creating()
    };
    let tried = match pods.create(&parameters, &successor(pod, controller)).await {
        Ok(tried) => tried,
        Err(kube::Error::Api(status)) if (400..500).contains(&status.code) => {
            return Ok(Tried::Wrong(format!("was refused: {}", status.message)));
        }
        Err(error) => {
            let what = format!("a pod like the successor of {}", pod.name_any());
            return Err(failed(what, "tried")(error));
        }
    };
    Ok(match application(&tried) == Some(application_name) {
        true => Tried::Admitted(Box::new(tried)),
        false => Tried::Wrong(WITHOUT_SIDECARS.to_owned()),
    })
}

/// A pod as a controller would create it, under another name.
fn successor(pod: &Pod, controller: &Controller) -> Pod {
    let template = controller.template.clone();
    let metadata = template.metadata.unwrap_or_default();
    let mut owner = Owners::controller(pod.owner_references()).cloned();
    if let Some(owner) = &mut owner {
        // It takes a right of its own to block somebody's deletion.
        owner.block_owner_deletion = None;
    }
    let mut spec = template.spec;
    if let Some(spec) = &mut spec {
        let claims = controller.claims.iter().map(|name| Volume {
            name: name.clone(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: format!("{name}-{}", pod.name_any()),
                read_only: None,
            }),
            ..Volume::default()
        });
        spec.volumes.get_or_insert_default().extend(claims);
    }
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", controller.name)),
            namespace: pod.namespace(),
            labels: metadata.labels,
            annotations: metadata.annotations,
            owner_references: owner.map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_successor_is_what_its_controller_would_create() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {
            "name": "db-1", "namespace": "store", "labels": {"outrigger.dev/app": "shop"},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "u",
                "controller": true, "blockOwnerDeletion": true,
            }],
        }}))
        .unwrap();
        let controller = Controller {
            name: "db".into(),
            replicas: 2,
            template: serde_json::from_value(json!({
                "metadata": {"labels": {"app": "db"}},
                "spec": {"containers": [{"name": "db", "image": "db:1"}]},
            }))
            .unwrap(),
            claims: vec!["data".into()],
        };
        assert_eq!(
            serde_json::to_value(successor(&pod, &controller)).unwrap(),
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {
                    "generateName": "db-", "namespace": "store", "labels": {"app": "db"},
                    "ownerReferences": [{
                        "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "u",
                        "controller": true,
                    }],
                },
                "spec": {
                    "containers": [{"name": "db", "image": "db:1"}],
                    "volumes": [{
                        "name": "data", "persistentVolumeClaim": {"claimName": "data-db-1"},
                    }],
                },
            })
        );
    }
}
