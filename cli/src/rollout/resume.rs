//! `rollout resume`: goes on with what was paused or staged.

use kube::ResourceExt;
use outrigger_api::{IntegrationSidecar, RESUME_ANNOTATION, UpdateStrategy};
use outrigger_plan::revision_name;
use serde_json::{Value, json};

use super::gitops;
use super::target::Target;

/// Takes `spec.update.paused` away, and names the staged revision; says what was done.
pub(super) async fn run(target: &Target) -> anyhow::Result<String> {
    let sidecar = target.read().await?;
    let shown = target.shown();
    let mut change = json!({});
    let mut text = String::new();
    if sidecar.spec.effective_update().paused {
        change["spec"] = unpaused(&sidecar);
        text += &format!("{shown} resumed\n");
        text += &gitops::warning(&sidecar, "spec.update.paused").unwrap_or_default();
    }
    if let Some(revision) = staged(&sidecar) {
        text += &format!(
            "{shown}: revision {revision} ({}) goes to the running pods too\n",
            sidecar.spec.image
        );
        change["metadata"] = json!({"annotations": {RESUME_ANNOTATION: revision}});
    }
    if text.is_empty() {
        return Ok(format!("{shown} is neither paused nor staged\n"));
    }
    target.change(&sidecar, change).await?;
    Ok(text)
}

/// The change of the spec; nothing is left of `update` if nothing else was in it.
fn unpaused(sidecar: &IntegrationSidecar) -> Value {
    let mut rest = sidecar.spec.update.clone().unwrap_or_default();
    rest.paused = None;
    match rest == Default::default() {
        true => json!({"update": null}),
        false => json!({"update": {"paused": null}}),
    }
}

/// The revision that only new pods get until it is named.
fn staged(sidecar: &IntegrationSidecar) -> Option<String> {
    if sidecar.spec.effective_update().strategy != UpdateStrategy::Staged {
        return None;
    }
    let revision = revision_name(&sidecar.name_any(), &sidecar.spec.image);
    let status = sidecar.status.as_ref();
    let current = status.and_then(|status| status.current_revision.as_ref());
    let everywhere = current.is_none_or(|current| current.name == revision);
    let named = sidecar.annotations().get(RESUME_ANNOTATION) == Some(&revision);
    (!everywhere && !named).then_some(revision)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::fixtures::{SIDECAR, shop, target};

    #[tokio::test]
    async fn nothing_is_left_of_a_pause() {
        let api = shop();
        let target = target(&api, "orders");
        super::super::pause::run(&target).await.unwrap();
        let told = run(&target).await.unwrap();
        assert_eq!(told, "integrationsidecar.outrigger.dev/orders resumed\n");
        let spec = api.get(SIDECAR).unwrap()["spec"].clone();
        assert_eq!(spec["update"], Value::Null);
        assert_eq!(
            run(&target).await.unwrap(),
            "integrationsidecar.outrigger.dev/orders is neither paused nor staged\n"
        );
    }

    #[tokio::test]
    async fn a_staged_revision_is_named_once_and_its_pause_ends_with_it() {
        let api = shop();
        let mut orders = api.get(SIDECAR).unwrap();
        orders["spec"]["update"] = json!({"strategy": "Staged", "paused": true});
        api.put(SIDECAR, orders);
        let target = target(&api, "orders");
        let revision = revision_name("orders", "registry/sidecar:3");
        assert_eq!(
            run(&target).await.unwrap(),
            format!(
                "integrationsidecar.outrigger.dev/orders resumed\n\
                 integrationsidecar.outrigger.dev/orders: revision {revision} (registry/sidecar:3) goes to the running pods too\n"
            )
        );
        let found = api.get(SIDECAR).unwrap();
        assert_eq!(found["spec"]["update"], json!({"strategy": "Staged"}));
        let annotations = &found["metadata"]["annotations"];
        assert_eq!(annotations[RESUME_ANNOTATION], json!(revision));
        let told = run(&target).await.unwrap();
        assert!(told.ends_with("is neither paused nor staged\n"), "{told}");
    }
}
