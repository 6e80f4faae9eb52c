use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration};
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use outrigger_api::FIELD_MANAGER;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::desired::{CONFIGURATION_NAME, ConfigurationSettings, configuration, covered};
use crate::Certificates;

/// Pause after a failed write, and between two writes that somebody undid.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error("ClusterRole {name}, the owner of the configuration, cannot be read: {error}")]
    Owner { name: String, error: kube::Error },
    #[error("{0}")]
    Write(#[from] kube::Error),
}

/// Keeps the webhook configuration for the namespaces with an IntegratedApp, until `stop`: renewed
/// when namespaces or authorities change, restored when somebody edits or deletes it, removed when
/// no namespace is left. Only the leader does so; [`Certificates::follow`] has to run beside it.
///
/// `namespaces` is `None` until they are known; `accepted` gets those that the API server sends to
/// the webhook.
pub async fn keep_configuration(
    client: Client,
    settings: &ConfigurationSettings,
    certificates: &Certificates,
    mut namespaces: watch::Receiver<Option<BTreeSet<String>>>,
    accepted: watch::Sender<BTreeSet<String>>,
    stop: CancellationToken,
) {
    let configurations = Api::all(client.clone());
    let changes = watcher::watch_object(configurations.clone(), CONFIGURATION_NAME);
    let mut changes = std::pin::pin!(changes.default_backoff());
    let mut authorities = certificates.authorities();
    let mut keeper = Keeper {
        configurations,
        roles: Api::all(client),
        settings,
        found: None,
        written: None,
    };
    let mut pause = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Ok(()) = namespaces.changed() => {}
            Ok(()) = authorities.changed() => {}
            () = sleep(pause) => {}
            Some(change) = changes.next() => match change {
                Ok(found) => keeper.found = Some(found),
                Err(error) => {
                    tracing::warn!(%error, "configuration {CONFIGURATION_NAME} cannot be watched; going on");
                    continue;
                }
            },
        }
        let wanted = namespaces
            .borrow_and_update()
            .as_ref()
            .map(|all| settings.allowed(all));
        let bundle = authorities.borrow_and_update().clone();
        if let Some(wanted) = wanted {
            pause = keeper.step(&wanted, bundle.as_deref()).await.err();
        }
        let now_covered = keeper.covered();
        accepted.send_if_modified(|known| {
            let changed = *known != now_covered;
            *known = now_covered;
            changed
        });
    }
}

async fn sleep(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}

struct Keeper<'a> {
    configurations: Api<MutatingWebhookConfiguration>,
    roles: Api<ClusterRole>,
    settings: &'a ConfigurationSettings,
    /// The configuration as it was seen last; `None` before the first look.
    found: Option<Option<MutatingWebhookConfiguration>>,
    written: Option<Written>,
}

/// What was written last.
struct Written {
    webhook: MutatingWebhook,
    /// The version that it got.
    version: Option<String>,
    at: Instant,
}

impl Keeper<'_> {
    fn covered(&self) -> BTreeSet<String> {
        self.found.iter().flatten().flat_map(covered).collect()
    }

    /// Writes once if there is something to write. An error is the pause before the next try.
    async fn step(
        &mut self,
        namespaces: &BTreeSet<String>,
        authorities: Option<&str>,
    ) -> Result<(), Duration> {
        let Some(found) = self.found.clone() else {
            return Ok(());
        };
        let result = match (namespaces.is_empty(), authorities) {
            (true, _) => self.remove(found).await,
            // Without a certificate nobody could answer.
            (false, None) => Ok(()),
            (false, Some(authorities)) => {
                let webhook = self.settings.webhook(namespaces, authorities);
                self.write(found, webhook).await
            }
        };
        result.map_err(|error| {
            tracing::warn!(%error, "configuration {CONFIGURATION_NAME} not written; trying again");
            RETRY
        })
    }

    async fn remove(
        &mut self,
        found: Option<MutatingWebhookConfiguration>,
    ) -> Result<(), KeepError> {
        let Some(found) = found else { return Ok(()) };
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: found.uid(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match self
            .configurations
            .delete(CONFIGURATION_NAME, &parameters)
            .await
        {
            Ok(_) => {
                tracing::info!("configuration {CONFIGURATION_NAME} removed: no namespace is left")
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
        self.found = Some(None);
        self.written = None;
        Ok(())
    }

    async fn write(
        &mut self,
        found: Option<MutatingWebhookConfiguration>,
        webhook: MutatingWebhook,
    ) -> Result<(), KeepError> {
        if found
            .as_ref()
            .is_some_and(|found| self.stands(found, &webhook))
        {
            return Ok(());
        }
        let restored = self
            .written
            .as_ref()
            .filter(|written| written.webhook == webhook);
        if let Some(written) = restored {
            // Whoever undoes each write at once must not keep the API server busy.
            tokio::time::sleep_until(written.at + RETRY).await;
        }
        let owner = self.owner().await?;
        let wanted = configuration(found.as_ref(), webhook.clone(), owner);
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        // With the resource version that was seen: another's change is seen before it is undone.
        let stored = match found {
            None => self.configurations.create(&parameters, &wanted).await?,
            Some(_) => {
                self.configurations
                    .replace(CONFIGURATION_NAME, &parameters, &wanted)
                    .await?
            }
        };
        let namespaces = covered(&stored);
        tracing::info!(?namespaces, "configuration {CONFIGURATION_NAME} written");
        self.written = Some(Written {
            webhook,
            version: stored.resource_version(),
            at: Instant::now(),
        });
        self.found = Some(Some(stored));
        Ok(())
    }

    /// Whether a configuration is as wanted, or as the API server made it of what was wanted:
    /// admission in some clusters adds to every webhook configuration, and would do so again.
    fn stands(&self, found: &MutatingWebhookConfiguration, webhook: &MutatingWebhook) -> bool {
        let equal = found.webhooks.as_deref() == Some(std::slice::from_ref(webhook))
            && found.metadata.owner_references.is_some();
        let accepted = self.written.as_ref().is_some_and(|written| {
            written.webhook == *webhook && written.version == found.resource_version()
        });
        equal || accepted
    }

    async fn owner(&self) -> Result<OwnerReference, KeepError> {
        let name = &self.settings.cluster_role;
        let role = self
            .roles
            .get_metadata(name)
            .await
            .map_err(|error| KeepError::Owner {
                name: name.clone(),
                error,
            })?;
        Ok(OwnerReference {
            api_version: "rbac.authorization.k8s.io/v1".into(),
            kind: "ClusterRole".into(),
            name: name.clone(),
            uid: role.uid().unwrap_or_default(),
            ..OwnerReference::default()
        })
    }
}
