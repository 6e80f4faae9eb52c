//! `rollout undo`: goes back to a former image.

use anyhow::{anyhow, bail};
use clap::Args;
use kube::ResourceExt;
use outrigger_plan::revision_name;
use outrigger_rollout::KnownRevision;
use serde_json::json;

use super::gitops;
use super::target::{Named, Target, some_of};

/// Go back to a former image, by a rollout like any other.
///
/// Without --to-revision, to the newest one before the present one that has been used and has not
/// failed in any application.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) sidecar: Named,
    /// Number of the revision, as `rollout history` shows it.
    #[arg(long, value_name = "NUMBER")]
    pub(super) to_revision: Option<i64>,
}

/// Sets `spec.image`; says what was done.
pub(super) async fn run(target: &Target, arguments: &Arguments) -> anyhow::Result<String> {
    let sidecar = target.read().await?;
    let revisions = target.revisions(&sidecar).await?;
    let revisions: Vec<_> = revisions
        .into_iter()
        .map(|(revision, _)| revision)
        .collect();
    let image = &sidecar.spec.image;
    let wanted = wanted(
        &sidecar.name_any(),
        image,
        &revisions,
        arguments.to_revision,
    )?;
    let shown = target.shown();
    if wanted.image == *image {
        let number = wanted.number;
        return Ok(format!(
            "{shown} has revision {number} ({image}) in its spec already\n"
        ));
    }
    let change = json!({"spec": {"image": wanted.image}});
    target.change(&sidecar, change).await?;
    let warning = gitops::warning(&sidecar, "spec.image").unwrap_or_default();
    Ok(format!(
        "{shown} rolled back to revision {}: spec.image was {image} and is {} now\n{warning}",
        wanted.number, wanted.image
    ))
}

/// The revision to go back to; `revisions` from the oldest on.
fn wanted<'a>(
    sidecar: &str,
    image: &str,
    revisions: &'a [KnownRevision],
    number: Option<i64>,
) -> anyhow::Result<&'a KnownRevision> {
    let present = revision_name(sidecar, image);
    let usable = |revision: &&KnownRevision| obstacle(revision).is_none();
    if let Some(number) = number {
        let others = || {
            let numbers: Vec<_> = revisions
                .iter()
                .filter(usable)
                .map(|revision| revision.number.to_string())
                .collect();
            some_of(&numbers)
        };
        let mut found = revisions.iter();
        let found = found.find(|revision| revision.number == number);
        let found = found.ok_or_else(|| {
            anyhow!(
                "IntegrationSidecar {sidecar} has no revision {number}; allowed is one of {}",
                others()
            )
        })?;
        if let Some(obstacle) = obstacle(found) {
            bail!(
                "revision {number} ({}) {obstacle}; allowed is one of {}",
                found.image,
                others()
            );
        }
        return Ok(found);
    }
    let mut former = revisions.iter().rev();
    former
        .find(|revision| usable(revision) && revision.name != present)
        .ok_or_else(|| {
            anyhow!(
                "IntegrationSidecar {sidecar} has no former revision that has not failed; see kubectl outrigger rollout history {sidecar}"
            )
        })
}

/// Why nobody should go back to a revision.
fn obstacle(revision: &KnownRevision) -> Option<String> {
    if let Some(failure) = &revision.failed {
        return Some(format!("has failed: {}", failure.message));
    }
    if let Some((application, message)) = revision.failed_in.first_key_value() {
        return Some(format!("has failed in {application}: {message}"));
    }
    // One without a digest has run nowhere: it was given up before its preflight succeeded.
    let untried = revision.digest.is_none();
    untried.then(|| "was never used: no preflight of it has succeeded".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::fixtures::{SIDECAR, failed_in_till, shop, target};

    fn arguments(to_revision: Option<i64>) -> Arguments {
        Arguments {
            sidecar: Named {
                name: "orders".into(),
            },
            to_revision,
        }
    }

    #[tokio::test]
    async fn the_newest_former_image_that_has_not_failed_comes_back() {
        let api = shop();
        let target = target(&api, "orders");
        let told = run(&target, &arguments(None)).await.unwrap();
        assert_eq!(
            told,
            "integrationsidecar.outrigger.dev/orders rolled back to revision 1: spec.image was registry/sidecar:3 and is registry/sidecar:1 now\n",
            "revision 2 has failed"
        );
        assert_eq!(
            api.get(SIDECAR).unwrap()["spec"]["image"],
            "registry/sidecar:1"
        );
        let told = run(&target, &arguments(Some(1))).await.unwrap();
        assert_eq!(
            told,
            "integrationsidecar.outrigger.dev/orders has revision 1 (registry/sidecar:1) in its spec already\n"
        );
    }

    #[tokio::test]
    async fn a_revision_that_failed_or_does_not_exist_is_refused() {
        let api = shop();
        let target = target(&api, "orders");
        for (number, message) in [
            (
                2,
                "revision 2 (registry/sidecar:2) has failed: pod web-0: it crashed; allowed is one of 1",
            ),
            (
                7,
                "IntegrationSidecar orders has no revision 7; allowed is one of 1",
            ),
            (
                3,
                "revision 3 (registry/sidecar:3) was never used: no preflight of it has succeeded; allowed is one of 1",
            ),
        ] {
            let error = run(&target, &arguments(Some(number))).await.unwrap_err();
            assert_eq!(error.to_string(), message);
        }
        assert!(api.writes().is_empty());
    }

    #[tokio::test]
    async fn a_revision_that_failed_for_one_application_is_nothing_to_go_back_to() {
        let api = shop();
        failed_in_till(&api, 2);
        let target = target(&api, "orders");
        let error = run(&target, &arguments(Some(2))).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "revision 2 (registry/sidecar:2) has failed in till: 7.0 % errors; allowed is one of 1"
        );
        run(&target, &arguments(None)).await.unwrap();
        assert_eq!(
            api.get(SIDECAR).unwrap()["spec"]["image"],
            "registry/sidecar:1"
        );
    }

    #[tokio::test]
    async fn whoever_keeps_the_object_is_named() {
        let api = shop();
        let mut orders = api.get(SIDECAR).unwrap();
        orders["metadata"]["annotations"] = json!({"argocd.argoproj.io/tracking-id": "shop"});
        api.put(SIDECAR, orders);
        let told = run(&target(&api, "orders"), &arguments(None))
            .await
            .unwrap();
        assert!(
            told.contains("\nwarning: Argo CD keeps this object (annotation argocd.argoproj.io/tracking-id), and sets spec.image back"),
            "{told}"
        );
    }
}
