//! Tenants may edit their namespaces, and still not give orders to slots.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use outrigger_e2e::slots;
use serde_json::json;

use crate::scene::{Scene, Test, test};

const ORDER: &str = "outrigger.dev/slot-orders";

pub(crate) fn tests() -> Vec<Test> {
    vec![test!(
        a_tenant_with_the_role_edit_cannot_give_orders_to_slots
    )]
}

async fn a_tenant_with_the_role_edit_cannot_give_orders_to_slots(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let shop = scene.open(&scene.example()?).await?;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "tenant", "namespace": scene.namespace},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit",
        },
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "tenant"}],
    });
    scene.cluster().apply_one(&binding).await?;
    let pod = shop.pods().await?.remove(0);
    let name = pod.name_any();
    let tenant = scene.cluster().as_user("tenant")?;
    let pods: Api<Pod> = tenant.objects(scene.namespace);
    let patch = async |change| {
        pods.patch(&name, &PatchParams::default(), &Patch::Merge(change))
            .await
    };
    // The role works at all.
    patch(json!({"metadata": {"annotations": {"tenant": "was here"}}})).await?;

    let order = slots::order(&pod, "orders")?;
    let mut forged = order.clone();
    forged.term += 1;
    forged.active = order.active.peer();
    for (change, what) in [
        (
            json!({"metadata": {"annotations": {ORDER: forged.to_json()?}}}),
            "annotations",
        ),
        (
            json!({"metadata": {"annotations": {ORDER: null}}}),
            "annotations",
        ),
        (
            json!({"metadata": {"annotations": {"outrigger.dev/new": "1"}}}),
            "annotations",
        ),
        (
            json!({"metadata": {"labels": {"outrigger.dev/app": "other"}}}),
            "labels",
        ),
    ] {
        let Err(kube::Error::Api(refusal)) = patch(change.clone()).await else {
            anyhow::bail!("{change} was taken");
        };
        assert_eq!(refusal.code, 403, "{change}: {}", refusal.message);
        let expected = format!("{what} outrigger.dev/* of pod {name} are changed only by");
        assert!(refusal.message.contains(&expected), "{}", refusal.message);
    }
    let after = shop.pods().await?.remove(0);
    assert_eq!(slots::order(&after, "orders")?, order);
    Ok(())
}
