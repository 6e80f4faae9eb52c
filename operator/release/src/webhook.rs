use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use outrigger_api::IntegratedApp;
use outrigger_control::layout::ANNOTATION_PREFIX;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::error::words;
use crate::patience::{found, persist};
use crate::{Connections, ReleaseError, Step, Tell};

/// Name of the MutatingWebhookConfiguration.
pub const CONFIGURATION_NAME: &str = "outrigger-injector";
/// Name of the webhook in it, as refusals have it.
pub const WEBHOOK: &str = "pods.outrigger.dev";

const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";
/// Dry-run pods at a time, each on a connection of its own.
const PROBES: usize = 8;
/// Rounds in a row in which none of them may be changed.
const CLEAN: u32 = 5;
/// Time between two rounds, and how long all of them may take.
const ROUND: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);
/// Within which API servers know of a deletion, where no dry-run pod can tell.
const SETTLED: Duration = Duration::from_secs(15);
/// Namespaces in which dry-run pods are tried.
const NAMESPACES: usize = 10;

/// What the webhook configuration says about the operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) namespace: Option<String>,
    pub(crate) cluster_role: Option<String>,
    /// The namespaces whose pods the webhook changes.
    covered: BTreeSet<String>,
}

/// Reads the configuration, if there is one.
pub(crate) async fn read(client: &Client) -> Result<Known, ReleaseError> {
    let configurations = Api::<MutatingWebhookConfiguration>::all(client.clone());
    let doing = || format!("MutatingWebhookConfiguration {CONFIGURATION_NAME} cannot be read");
    let found = persist(doing, || configurations.get_opt(CONFIGURATION_NAME)).await?;
    Ok(found.as_ref().map(known).unwrap_or_default())
}

fn known(configuration: &MutatingWebhookConfiguration) -> Known {
    let webhooks = || configuration.webhooks.iter().flatten();
    let owners = configuration.owner_references().iter();
    Known {
        namespace: webhooks()
            .find_map(|webhook| webhook.client_config.service.as_ref())
            .map(|service| service.namespace.clone()),
        cluster_role: owners
            .filter(|owner| owner.kind == "ClusterRole")
            .map(|owner| owner.name.clone())
            .next(),
        covered: webhooks()
            .filter_map(|webhook| webhook.namespace_selector.as_ref())
            .flat_map(|selector| selector.match_expressions.iter().flatten())
            .filter(|requirement| requirement.key == NAMESPACE_LABEL)
            .flat_map(|requirement| requirement.values.iter().flatten().cloned())
            .collect(),
    }
}

/// Deletes the configuration, and waits until no API server calls the webhook any more.
pub(crate) async fn silence(
    connections: &Connections,
    known: &Known,
    tell: Tell<'_>,
) -> Result<(), ReleaseError> {
    let mut namespaces = known.covered.clone();
    namespaces.extend(application_namespaces(&connections.client).await?);
    let existed = delete(&connections.client).await?;
    tell(&Step::WebhookDeleted { existed });
    if namespaces.is_empty() {
        return Ok(());
    }
    tell(&Step::Probing);
    let begin = Instant::now();
    let (mut clean, mut unclear) = (0, 0);
    loop {
        match round(&connections.scattered, &namespaces).await {
            Seen::Untouched => (clean, unclear) = (clean + 1, 0),
            Seen::Called(last) => {
                (clean, unclear) = (0, 0);
                let after = begin.elapsed();
                if after > PATIENCE {
                    return Err(ReleaseError::StillCalled { after, last });
                }
                // By a leader that stood still, and has written it once more.
                delete(&connections.client).await?;
            }
            Seen::Unclear(why) => {
                (clean, unclear) = (0, unclear + 1);
                if unclear == CLEAN {
                    let wait = SETTLED.saturating_sub(begin.elapsed());
                    tell(&Step::NotProbed { why, wait });
                    sleep(wait).await;
                    return Ok(());
                }
            }
        }
        if clean == CLEAN {
            return Ok(());
        }
        sleep(ROUND).await;
    }
}

/// Whether there was one to delete.
async fn delete(client: &Client) -> Result<bool, ReleaseError> {
    let configurations = &Api::<MutatingWebhookConfiguration>::all(client.clone());
    let doing = || format!("MutatingWebhookConfiguration {CONFIGURATION_NAME} cannot be deleted");
    let deleted = persist(doing, || async move {
        let parameters = DeleteParams::default();
        found(configurations.delete(CONFIGURATION_NAME, &parameters).await)
    });
    Ok(deleted.await?.is_some())
}

/// Namespaces that a webhook covered that is no longer there.
async fn application_namespaces(client: &Client) -> Result<BTreeSet<String>, ReleaseError> {
    let applications = &Api::<IntegratedApp>::all(client.clone());
    let doing = || "IntegratedApps cannot be listed".to_owned();
    let found = persist(doing, || async move {
        found(applications.list_metadata(&ListParams::default()).await)
    });
    let found = found.await?.map(|list| list.items).unwrap_or_default();
    Ok(found.iter().filter_map(ResourceExt::namespace).collect())
}

/// How dry-run pods came back.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// The webhook was not called for any of them.
    Untouched,
    /// It was called, or should have been, for one.
    Called(String),
    /// Somebody else refused them.
    Unclear(String),
}

/// Dry-run pods in the first namespace that admits them.
async fn round(client: &Client, namespaces: &BTreeSet<String>) -> Seen {
    let mut unclear = None;
    for namespace in namespaces.iter().take(NAMESPACES) {
        let mut seen = Seen::Untouched;
        for answer in join_all((0..PROBES).map(|_| probe(client, namespace))).await {
            match answer {
                Seen::Untouched => {}
                Seen::Called(_) => return answer,
                Seen::Unclear(_) => seen = answer,
            }
        }
        match seen {
            Seen::Unclear(why) => unclear = unclear.or(Some(why)),
            seen => return seen,
        }
    }
    Seen::Unclear(unclear.unwrap_or_default())
}

/// The webhook takes annotations like this one off every new pod, of an application or not.
async fn probe(client: &Client, namespace: &str) -> Seen {
    let annotation = format!("{ANNOTATION_PREFIX}probe");
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "outrigger-probe-",
            "annotations": {&annotation: "dry run"},
        },
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": "probe",
                "image": "outrigger/probe",
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    });
    let pod: Pod = match serde_json::from_value(pod) {
        Ok(pod) => pod,
        Err(error) => return Seen::Unclear(error.to_string()),
    };
    let parameters = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    match pods.create(&parameters, &pod).await {
        Ok(pod) if pod.annotations().contains_key(&annotation) => Seen::Untouched,
        Ok(_) => Seen::Called(format!(
            "a dry-run pod in namespace {namespace} was changed"
        )),
        Err(error) => {
            let why = format!(
                "a dry-run pod in namespace {namespace} was refused: {}",
                words(&error)
            );
            match why.contains(WEBHOOK) {
                true => Seen::Called(why),
                false => Seen::Unclear(why),
            }
        }
    }
}
