//! `rollout pause`: starts no further swap.

use serde_json::json;

use super::gitops;
use super::target::Target;

/// Sets `spec.update.paused`; says what was done.
pub(super) async fn run(target: &Target) -> anyhow::Result<String> {
    let sidecar = target.read().await?;
    let shown = target.shown();
    if sidecar.spec.effective_update().paused {
        return Ok(format!("{shown} is paused already\n"));
    }
    let paused = json!({"spec": {"update": {"paused": true}}});
    target.change(&sidecar, paused).await?;
    let warning = gitops::warning(&sidecar, "spec.update.paused").unwrap_or_default();
    Ok(format!("{shown} paused\n{warning}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::fixtures::{SIDECAR, shop, target};

    #[tokio::test]
    async fn a_rollout_is_paused_once() {
        let api = shop();
        let target = target(&api, "orders");
        let told = run(&target).await.unwrap();
        assert_eq!(told, "integrationsidecar.outrigger.dev/orders paused\n");
        assert_eq!(
            api.get(SIDECAR).unwrap()["spec"]["update"]["paused"],
            json!(true)
        );
        let writes = api.writes().len();
        assert_eq!(
            run(&target).await.unwrap(),
            "integrationsidecar.outrigger.dev/orders is paused already\n"
        );
        assert_eq!(api.writes().len(), writes);
    }
}
