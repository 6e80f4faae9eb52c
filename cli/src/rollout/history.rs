//! `rollout history`: the images that a sidecar had.

use anyhow::Context;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use outrigger_api::IntegrationSidecar;
use outrigger_control::{PerSlot, layout};
use outrigger_injection::orders;
use outrigger_plan::revision_name;
use outrigger_rollout::KnownRevision;

use super::table::{age, table};
use super::target::Target;

/// Characters of a digest that tell it from others.
const DIGEST: usize = "sha256:".len() + 12;

/// The table.
pub(super) async fn run(target: &Target) -> anyhow::Result<String> {
    let sidecar = target.read().await?;
    let revisions = target.revisions(&sidecar).await?;
    let carried = carried(target).await?;
    let revisions: Vec<_> = revisions
        .into_iter()
        .map(|(revision, object)| {
            let created = object.creation_timestamp().map(|created| created.0);
            (revision, created)
        })
        .collect();
    let shown = target.shown();
    Ok(match revisions.is_empty() {
        true => format!("{shown} has no revisions yet\n"),
        false => format!(
            "{shown}\n{}",
            history(&sidecar, &revisions, &carried, Timestamp::now())
        ),
    })
}

/// The revisions of the sidecar's slots in each pod that has not ended.
async fn carried(target: &Target) -> anyhow::Result<Vec<PerSlot<String>>> {
    let pods = Api::<Pod>::namespaced(target.client.clone(), &target.namespace);
    let mut carried = Vec::new();
    for label in [
        layout::APPLICATION_LABEL.to_owned(),
        format!("{}={}", layout::SHARED_LABEL, target.name),
    ] {
        let parameters = ListParams::default()
            .labels(&label)
            .fields("status.phase!=Succeeded,status.phase!=Failed");
        let found = pods
            .list(&parameters)
            .await
            .with_context(|| format!("pods of namespace {} cannot be listed", target.namespace))?;
        for pod in found {
            if let Some(Ok(order)) = orders(&pod).remove(&target.name) {
                carried.push(order.revision);
            }
        }
    }
    Ok(carried)
}

fn history(
    sidecar: &IntegrationSidecar,
    revisions: &[(KnownRevision, Option<Timestamp>)],
    carried: &[PerSlot<String>],
    now: Timestamp,
) -> String {
    let rows: Vec<_> = revisions
        .iter()
        .map(|(revision, created)| {
            let has =
                |slots: &&PerSlot<String>| slots.a == revision.name || slots.b == revision.name;
            let digest = revision.digest.as_deref().unwrap_or("<none>");
            [
                revision.number.to_string(),
                revision.image.clone(),
                digest.chars().take(DIGEST).collect(),
                carried.iter().filter(has).count().to_string(),
                created.map_or_else(|| "<unknown>".into(), |created| age(created, now)),
                state(sidecar, revision),
            ]
        })
        .collect();
    table(
        ["REVISION", "IMAGE", "DIGEST", "PODS", "AGE", "STATE"],
        &rows,
    )
}

/// What a revision is for the sidecar.
fn state(sidecar: &IntegrationSidecar, revision: &KnownRevision) -> String {
    let status = sidecar.status.clone().unwrap_or_default();
    let is = |found: &Option<outrigger_api::Revision>| {
        found
            .as_ref()
            .is_some_and(|found| found.name == revision.name)
    };
    let newest = revision_name(&sidecar.name_any(), &sidecar.spec.image);
    let current = is(&status.current_revision);
    let mut states = Vec::new();
    if current {
        states.push("current".to_owned());
    } else if newest == revision.name {
        states.push("new".to_owned());
    }
    if !current && is(&status.new_pod_revision) {
        states.push("for new pods".to_owned());
    }
    if let Some(failure) = &revision.failed {
        states.push(format!("failed: {}", failure.message));
    }
    for (application, message) in &revision.failed_in {
        states.push(format!("failed in {application}: {message}"));
    }
    match states.is_empty() {
        true => "former".to_owned(),
        false => states.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::fixtures::{failed_in_till, put_pod, shop, target};

    #[tokio::test]
    async fn revisions_are_told_with_their_pods_and_their_state() {
        let api = shop();
        put_pod(&api, "web-0", ["registry/sidecar:1", "registry/sidecar:3"]);
        put_pod(&api, "web-1", ["registry/sidecar:1", "registry/sidecar:1"]);
        let target = target(&api, "orders");
        let sidecar = target.read().await.unwrap();
        let revisions = target.revisions(&sidecar).await.unwrap();
        let now: Timestamp = "2026-01-01T00:05:00Z".parse().unwrap();
        let revisions: Vec<_> = revisions
            .into_iter()
            .map(|(revision, object)| (revision, object.creation_timestamp().map(|at| at.0)))
            .collect();
        let carried = carried(&target).await.unwrap();
        assert_eq!(
            history(&sidecar, &revisions, &carried, now),
            "\
REVISION   IMAGE                DIGEST                PODS   AGE   STATE
1          registry/sidecar:1   sha256:0123456789ab   2      5m    current
2          registry/sidecar:2   <none>                0      5m    failed: pod web-0: it crashed
3          registry/sidecar:3   <none>                1      5m    new
"
        );
        assert!(
            run(&target)
                .await
                .unwrap()
                .starts_with("integrationsidecar.outrigger.dev/orders\nREVISION")
        );
    }

    #[tokio::test]
    async fn the_applications_in_which_a_revision_failed_are_named() {
        let api = shop();
        failed_in_till(&api, 2);
        let told = run(&target(&api, "orders")).await.unwrap();
        assert!(told.contains("failed in till: 7.0 % errors\n"), "{told}");
    }

    #[tokio::test]
    async fn revisions_of_another_sidecar_are_none_of_this_one() {
        let api = shop();
        let path = "/apis/outrigger.dev/v1alpha1/namespaces/store/integrationsidecars/bills";
        let mut bills = api.get(crate::rollout::fixtures::SIDECAR).unwrap();
        bills["metadata"] = serde_json::json!({});
        api.put(path, bills);
        assert_eq!(
            run(&target(&api, "bills")).await.unwrap(),
            "integrationsidecar.outrigger.dev/bills has no revisions yet\n"
        );
    }
}
