//! The IntegrationSidecar that a command is about.

use anyhow::{Context, anyhow, bail};
use clap::Args;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use outrigger_api::IntegrationSidecar;
use outrigger_rollout::KnownRevision;
use serde_json::{Value, json};

/// What kubectl calls the kind.
const KINDS: [&str; 4] = [
    "iside",
    "integrationsidecar",
    "integrationsidecars",
    "integrationsidecars.outrigger.dev",
];
/// The manager of the fields that the commands write.
const FIELD_MANAGER: &str = "kubectl-outrigger";
/// Names in a message.
const NAMED: usize = 10;

// What is said of a command stands where the command does: clap would take a text here for it.
#[derive(Debug, Args)]
pub(super) struct Named {
    /// The IntegrationSidecar: NAME, or iside/NAME.
    #[arg(value_name = "NAME")]
    pub(super) name: String,
}

/// An IntegrationSidecar of a cluster, by name.
pub(super) struct Target {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Target {
    /// Takes `NAME` and `KIND/NAME`.
    pub(super) fn new(client: Client, namespace: &str, argument: &str) -> anyhow::Result<Target> {
        Ok(Target {
            client,
            namespace: namespace.to_owned(),
            name: name(argument)?.to_owned(),
        })
    }

    /// The object as kubectl writes it.
    pub(super) fn shown(&self) -> String {
        format!("integrationsidecar.outrigger.dev/{}", self.name)
    }

    pub(super) fn api(&self) -> Api<IntegrationSidecar> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The sidecar; if there is none, the error names those that there are.
    pub(super) async fn read(&self) -> anyhow::Result<IntegrationSidecar> {
        let Target {
            namespace, name, ..
        } = self;
        let api = self.api();
        let doing = || format!("IntegrationSidecar {namespace}/{name} cannot be read");
        if let Some(found) = api.get_opt(name).await.with_context(doing)? {
            return Ok(found);
        }
        let others = api.list(&ListParams::default()).await.with_context(doing)?;
        let others: Vec<_> = others.iter().map(ResourceExt::name_any).collect();
        Err(anyhow!(
            "IntegrationSidecar \"{name}\" does not exist in namespace {namespace}; {}",
            match others.is_empty() {
                true => "there is none (another one? --namespace)".to_owned(),
                false => format!("there is {}", some_of(&others)),
            }
        ))
    }

    /// The revisions of a sidecar, the oldest first, each with its object.
    pub(super) async fn revisions(
        &self,
        sidecar: &IntegrationSidecar,
    ) -> anyhow::Result<Vec<(KnownRevision, ControllerRevision)>> {
        let api = Api::<ControllerRevision>::namespaced(self.client.clone(), &self.namespace);
        let found = api.list(&ListParams::default()).await.with_context(|| {
            format!(
                "ControllerRevisions of namespace {} cannot be listed",
                self.namespace
            )
        })?;
        let is_owned = |object: &ControllerRevision| {
            let mut owners = object.owner_references().iter();
            owners.any(|owner| Some(&owner.uid) == sidecar.metadata.uid.as_ref())
        };
        let owned = found.items.into_iter().filter(is_owned);
        let mut revisions: Vec<_> = owned
            .filter_map(|object| Some((KnownRevision::read(&object)?, object)))
            .collect();
        revisions.sort_by_key(|(revision, _)| revision.number);
        Ok(revisions)
    }

    /// Changes the sidecar, if it is still as it was read.
    pub(super) async fn change(
        &self,
        sidecar: &IntegrationSidecar,
        mut change: Value,
    ) -> anyhow::Result<()> {
        change["metadata"]["resourceVersion"] = json!(sidecar.resource_version());
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let written = self
            .api()
            .patch(&self.name, &parameters, &Patch::Merge(change))
            .await;
        let Target {
            namespace, name, ..
        } = self;
        match written {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_conflict() => bail!(
                "IntegrationSidecar {namespace}/{name} was changed by somebody else meanwhile; nothing was done, run this again"
            ),
            Err(error) => Err(error).with_context(|| {
                format!("IntegrationSidecar {namespace}/{name} cannot be changed")
            }),
        }
    }
}

/// The name in `NAME` or `KIND/NAME`.
fn name(argument: &str) -> anyhow::Result<&str> {
    let name = match argument.split_once('/') {
        None => argument,
        Some((kind, name)) if KINDS.contains(&kind.to_ascii_lowercase().as_str()) => name,
        Some((kind, _)) => bail!("the kind is \"{kind}\"; allowed is iside, or {}", KINDS[1]),
    };
    if name.is_empty() || name.contains('/') {
        bail!("\"{argument}\" names no object; allowed is NAME or iside/NAME");
    }
    Ok(name)
}

/// The first of some names, and how many more there are.
pub(super) fn some_of(names: &[String]) -> String {
    let shown = names.iter().take(NAMED).map(String::as_str);
    let shown = shown.collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::fixtures::{shop, target};

    #[test]
    fn an_object_is_named_as_kubectl_names_it() {
        for argument in ["orders", "iside/orders", "IntegrationSidecar/orders"] {
            assert_eq!(name(argument).unwrap(), "orders", "{argument}");
        }
        for (argument, message) in [
            (
                "deployment/orders",
                "the kind is \"deployment\"; allowed is iside, or integrationsidecar",
            ),
            (
                "iside/",
                "\"iside/\" names no object; allowed is NAME or iside/NAME",
            ),
        ] {
            assert_eq!(name(argument).unwrap_err().to_string(), message);
        }
    }

    #[tokio::test]
    async fn a_sidecar_that_does_not_exist_is_told_with_those_that_do() {
        let api = shop();
        let error = target(&api, "bills").read().await.unwrap_err().to_string();
        assert_eq!(
            error,
            "IntegrationSidecar \"bills\" does not exist in namespace store; there is orders"
        );
    }

    #[tokio::test]
    async fn what_somebody_else_changed_meanwhile_is_left_as_it_is() {
        let api = shop();
        let target = target(&api, "orders");
        let read = target.read().await.unwrap();
        let path = crate::rollout::fixtures::SIDECAR;
        let mut changed = api.get(path).unwrap();
        changed["spec"]["image"] = "registry/sidecar:9".into();
        api.put(path, changed);
        let error = target.change(&read, json!({"spec": {"image": "other"}}));
        let error = error.await.unwrap_err().to_string();
        assert!(error.contains("was changed by somebody else"), "{error}");
        assert_eq!(
            api.get(path).unwrap()["spec"]["image"],
            "registry/sidecar:9"
        );
    }
}
