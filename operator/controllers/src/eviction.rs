//! Eviction of a pod: deletion as PodDisruptionBudgets allow it.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use kube::api::ObjectMeta;
use kube::core::Status;
use kube::{Api, Client, ResourceExt};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::call::{CallError, creating, failed, is_another};

/// Cause of a refusal by a budget.
const DISRUPTION_BUDGET: &str = "DisruptionBudget";
/// What the API server says of a pod that it cannot judge, because more than one budget selects it.
const SEVERAL_BUDGETS: &str = "more than one PodDisruptionBudget";

/// What became of an eviction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The pod ends now.
    Evicted,
    /// The pod was gone already, or another one has its name.
    Gone,
    /// A PodDisruptionBudget does not allow it now.
    Refused {
        /// The API server's words, which name the budget.
        message: String,
    },
}

/// Evicts a pod, this very one. What a budget has against it is no failure.
pub(crate) async fn evict(client: &Client, pod: &Pod) -> Result<Outcome, CallError> {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
    let eviction = Eviction {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        delete_options: Some(DeleteOptions {
            preconditions: Some(Preconditions {
                uid: pod.uid(),
                resource_version: None,
            }),
            ..DeleteOptions::default()
        }),
    };
    // `Api::evict` names the delete options in a way that the API server ignores, and so the UID.
    let answer = pods
        .create_subresource("eviction", &name, &creating(), &eviction)
        .await;
    let error = match answer {
        Ok::<Status, _>(_) => return Ok(Outcome::Evicted),
        Err(error) => error,
    };
    if let kube::Error::Api(status) = &error {
        if status.is_not_found() || is_another(status) {
            return Ok(Outcome::Gone);
        }
        if let Some(message) = refusal(status) {
            return Ok(Outcome::Refused { message });
        }
    }
    Err(failed(format!("pod {namespace}/{name}"), "evicted")(error))
}

/// What a budget has against it. A server that is overloaded answers with the same code.
fn refusal(status: &Status) -> Option<String> {
    if status.message.contains(SEVERAL_BUDGETS) {
        return Some(status.message.clone());
    }
    let details = status.details.as_ref()?;
    let cause = details
        .causes
        .iter()
        .find(|cause| cause.reason == DISRUPTION_BUDGET)?;
    Some(cause.message.clone())
}

/// Why a pod is evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Why {
    /// It has no sidecars.
    NotInjected,
    /// It differs from the spec in fields that cannot change in place.
    RequiresRecreate,
    /// Its successor gets another revision of a sidecar.
    NewRevision,
}

impl Why {
    const ALL: [Why; 3] = [Why::NotInjected, Why::RequiresRecreate, Why::NewRevision];

    /// In words, for events about the pod.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Why::NotInjected => "it has no sidecars",
            Why::RequiresRecreate => {
                "it differs from the spec in fields that cannot change in place"
            }
            Why::NewRevision => "its successor gets another revision of a sidecar",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Evictions {
    reason: Why,
}

/// Counters of evictions. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct EvictionMetrics {
    evictions: Family<Evictions, Counter>,
}

impl EvictionMetrics {
    pub(crate) fn register(registry: &mut Registry) -> EvictionMetrics {
        let metrics = EvictionMetrics {
            evictions: Family::default(),
        };
        registry.register(
            "outrigger_evictions",
            "Pods that were evicted to be created anew, by the reason",
            metrics.evictions.clone(),
        );
        for reason in Why::ALL {
            drop(metrics.evictions.get_or_create(&Evictions { reason }));
        }
        metrics
    }

    pub(crate) fn count(&self, reason: Why) {
        self.evictions.get_or_create(&Evictions { reason }).inc();
    }
}

#[cfg(test)]
mod tests {
    use outrigger_api_server::ApiServer;
    use serde_json::{Value, json};

    use super::*;

    const POD: &str = "/api/v1/namespaces/store/pods/a";
    const BUDGETS: &str = "/apis/policy/v1/namespaces/store/poddisruptionbudgets";

    /// A pod `a`, as it was read, and the server.
    fn shop() -> (ApiServer, Pod) {
        let api = ApiServer::default();
        api.put(POD, json!({"metadata": {"labels": {"app": "shop"}}}));
        let pod = serde_json::from_value(api.get(POD).unwrap()).unwrap();
        (api, pod)
    }

    fn budget(allowed: i64) -> Value {
        json!({
            "spec": {"selector": {"matchLabels": {"app": "shop"}}},
            "status": {"disruptionsAllowed": allowed, "desiredHealthy": 2, "currentHealthy": 2},
        })
    }

    #[tokio::test]
    async fn a_budget_is_used_up_and_then_named() {
        let (api, pod) = shop();
        let path = format!("{BUDGETS}/guard");
        api.put(&path, budget(1));
        assert_eq!(evict(&api.client(), &pod).await.unwrap(), Outcome::Evicted);
        assert_eq!(api.get(POD), None);
        assert_eq!(api.get(&path).unwrap()["status"]["disruptionsAllowed"], 0);
        api.put(POD, json!({"metadata": {"labels": {"app": "shop"}}}));
        let pod = serde_json::from_value(api.get(POD).unwrap()).unwrap();
        let message =
            "The disruption budget guard needs 2 healthy pods and has 2 currently".to_owned();
        let refused = Outcome::Refused { message };
        assert_eq!(evict(&api.client(), &pod).await.unwrap(), refused);
        assert!(api.get(POD).is_some());
    }

    #[tokio::test]
    async fn a_pod_that_several_budgets_select_is_refused_in_their_name() {
        let (api, pod) = shop();
        for name in ["one", "other"] {
            api.put(&format!("{BUDGETS}/{name}"), budget(1));
        }
        let refused = evict(&api.client(), &pod).await.unwrap();
        assert!(
            matches!(&refused, Outcome::Refused { message } if message.contains(SEVERAL_BUDGETS)),
            "{refused:?}"
        );
        assert!(api.get(POD).is_some());
    }

    #[tokio::test]
    async fn another_pod_of_the_name_is_left_alone() {
        let (api, pod) = shop();
        api.delete(POD);
        assert_eq!(evict(&api.client(), &pod).await.unwrap(), Outcome::Gone);
        api.put(POD, json!({"metadata": {"labels": {"app": "shop"}}}));
        assert_eq!(evict(&api.client(), &pod).await.unwrap(), Outcome::Gone);
        assert!(api.get(POD).is_some(), "it is another one");
    }

    #[tokio::test]
    async fn what_no_budget_says_is_a_failure() {
        let (api, pod) = shop();
        api.fail(1);
        let error = evict(&api.client(), &pod).await.unwrap_err().to_string();
        assert!(
            error.starts_with("pod store/a cannot be evicted:"),
            "{error}"
        );
    }

    #[test]
    fn evictions_of_every_kind_are_one_metric_by_reason() {
        let mut registry = Registry::default();
        let metrics = EvictionMetrics::register(&mut registry);
        metrics.count(Why::NewRevision);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for (reason, count) in [
            ("NotInjected", 0),
            ("RequiresRecreate", 0),
            ("NewRevision", 1),
        ] {
            let name = "outrigger_evictions_total";
            let line = format!("{name}{{reason=\"{reason}\"}} {count}\n");
            assert!(text.contains(&line), "{text}");
        }
    }
}
