//! Decisions about pods.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::admission::{AdmissionRequest, AdmissionReview};
use outrigger_control::layout;
use outrigger_injection::Settings;
use outrigger_webhook::{Injector, ServeOptions, Verdict};
use serde_json::{Value, json};

use crate::requests::{review, shop_pod};
use crate::serving::Replica;
use crate::store::{Store, application};

/// The operator, as the API server names it.
pub(crate) const OPERATOR: &str = "system:serviceaccount:outrigger-system:outrigger";

pub(crate) fn request(
    pod: &Value,
    change: impl FnOnce(&mut Value),
) -> AdmissionRequest<k8s_openapi::api::core::v1::Pod> {
    let mut value = review(pod);
    change(&mut value["request"]);
    let review: AdmissionReview<_> = serde_json::from_value(value).unwrap();
    review.try_into().unwrap()
}

pub(crate) async fn verdict(store: Store, pod: &Value) -> Verdict {
    let injector = Injector::new(store, Settings::default(), OPERATOR.into());
    injector.decide(&request(pod, |_| {})).await.unwrap()
}

fn refusal(verdict: Verdict) -> String {
    match verdict {
        Verdict::Refused(message) => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_pod_with_a_prefix_and_no_namespace_is_injected() {
    let Verdict::Injected { patch, warnings } = verdict(Store::shop(), &shop_pod()).await else {
        panic!("not injected");
    };
    let mut pod = shop_pod();
    json_patch::patch(&mut pod, &patch).unwrap();
    assert_eq!(pod["spec"]["initContainers"][1]["name"], "orders-b");
    assert_eq!(warnings, Vec::<String>::new());
}

#[tokio::test]
async fn only_the_creation_of_pods_is_acted_on() {
    let injector = Injector::new(Store::shop(), Settings::default(), OPERATOR.into());
    for (field, value) in [
        ("operation", json!("UPDATE")),
        ("operation", json!("DELETE")),
        ("subResource", json!("ephemeralcontainers")),
        (
            "resource",
            json!({"group": "", "version": "v1", "resource": "secrets"}),
        ),
        ("object", Value::Null),
        ("namespace", Value::Null),
    ] {
        let request = request(&shop_pod(), |request| request[field] = value.clone());
        let found = injector.decide(&request).await.unwrap();
        assert_eq!(found, Verdict::Untouched, "{field} {value}");
    }
}

/// A pod that matches IntegratedApp `shop` and says that it is a function pod.
fn function_pod() -> Value {
    let mut pod = shop_pod();
    pod["metadata"]["labels"][layout::SHARED_LABEL] = "common".into();
    pod["metadata"]["annotations"] = json!({layout::order_annotation("common"): "{}"});
    pod
}

#[tokio::test]
async fn a_function_pod_of_the_operator_is_untouched() {
    let injector = Injector::new(Store::shop(), Settings::default(), OPERATOR.into());
    let request = request(&function_pod(), |request| {
        request["userInfo"]["username"] = OPERATOR.into();
    });
    let found = injector.decide(&request).await.unwrap();
    assert_eq!(found, Verdict::Untouched);
}

#[tokio::test]
async fn nobody_else_makes_a_function_pod() {
    let Verdict::Injected { patch, .. } = verdict(Store::shop(), &function_pod()).await else {
        panic!("not injected");
    };
    let mut pod = function_pod();
    json_patch::patch(&mut pod, &patch).unwrap();
    assert_eq!(pod["metadata"]["labels"][layout::SHARED_LABEL], Value::Null);
    assert_eq!(pod["metadata"]["labels"][layout::APPLICATION_LABEL], "shop");
    let foreign = layout::order_annotation("common");
    assert_eq!(pod["metadata"]["annotations"][foreign], Value::Null);
    let mut of_nobody = function_pod();
    of_nobody["metadata"]["labels"]["app"] = "other".into();
    let Verdict::Disowned(patch) = verdict(Store::shop(), &of_nobody).await else {
        panic!("not disowned");
    };
    json_patch::patch(&mut of_nobody, &patch).unwrap();
    assert_eq!(of_nobody["metadata"]["labels"], json!({"app": "other"}));
}

#[tokio::test]
async fn pods_of_nobody_preflights_and_mirrors_are_untouched() {
    let mut nobody = shop_pod();
    nobody["metadata"]["labels"] = json!({"app": "other"});
    let mut preflight = shop_pod();
    preflight["metadata"]["labels"]["outrigger.dev/preflight"] = "orders-1".into();
    let mut mirror = shop_pod();
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "1"});
    for pod in [nobody, preflight, mirror] {
        assert_eq!(verdict(Store::shop(), &pod).await, Verdict::Untouched);
    }
}

#[tokio::test]
async fn a_pod_of_nobody_that_claims_slots_loses_the_claim() {
    let mut pod = shop_pod();
    pod["metadata"]["labels"] = json!({"outrigger.dev/app": "shop"});
    pod["metadata"]["annotations"] = json!({"outrigger.dev/slot-orders": "{}"});
    let Verdict::Disowned(patch) = verdict(Store::shop(), &pod).await else {
        panic!("not disowned");
    };
    json_patch::patch(&mut pod, &patch).unwrap();
    assert_eq!(pod["metadata"]["labels"], json!({}));
    assert_eq!(pod["metadata"]["annotations"], json!({}));
}

#[tokio::test]
async fn an_application_that_cannot_be_served_refuses_its_pods_by_name() {
    let store = Store::shop();
    store.referenced.lock().sidecars.clear();
    assert_eq!(
        refusal(verdict(store, &shop_pod()).await),
        "IntegratedApp store/shop cannot give the pod its sidecars: IntegratedApp shop sidecars[0].name is \"orders\"; no IntegrationSidecar of that name exists in namespace store"
    );
}

#[tokio::test]
async fn a_pod_that_cannot_have_sidecars_is_refused_by_name() {
    let mut pod = shop_pod();
    pod["spec"]["hostNetwork"] = true.into();
    assert_eq!(
        refusal(verdict(Store::shop(), &pod).await),
        "IntegratedApp store/shop cannot give the pod its sidecars: pod shop-5d8-* spec.hostNetwork is true; sidecars of IntegratedApp shop would listen on the node's own ports, so it must be false or absent"
    );
}

#[tokio::test]
async fn the_younger_application_is_named_in_a_warning() {
    let store = Store::shop();
    let selector = json!({"selector": {"matchLabels": {"app": "shop"}}});
    store.add(application("younger", "2026-02-01T00:00:00Z", selector));
    let Verdict::Injected { warnings, .. } = verdict(store, &shop_pod()).await else {
        panic!("not injected");
    };
    assert_eq!(
        warnings,
        ["IntegratedApp younger matches the pod too; the older IntegratedApp shop serves it"]
    );
}

#[tokio::test]
async fn a_workload_is_found_by_the_owner_of_the_pods_owner() {
    let store = Store::shop();
    store.applications.lock().clear();
    let workload = json!({"workloadRef": {
        "apiVersion": "apps/v1", "kind": "Deployment", "name": "web",
    }});
    store.add(application("by-workload", "2026-01-01T00:00:00Z", workload));
    assert_eq!(
        verdict(store.clone(), &shop_pod()).await,
        Verdict::Untouched
    );
    store.owners.lock().indirect = Some(OwnerReference {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        name: "web".into(),
        ..OwnerReference::default()
    });
    let found = verdict(store, &shop_pod()).await;
    assert!(matches!(found, Verdict::Injected { .. }));
}

#[tokio::test]
async fn a_second_call_answers_without_a_patch() {
    let replica = Replica::start(Store::shop(), ServeOptions::default(), Timestamp::now).await;
    let mut connection = replica.connect().await;
    let Verdict::Injected { patch, .. } = verdict(Store::shop(), &shop_pod()).await else {
        panic!("not injected");
    };
    let mut pod = shop_pod();
    json_patch::patch(&mut pod, &patch).unwrap();
    let response = connection.admit(&pod).await.unwrap();
    assert_eq!(response["allowed"], true);
    assert_eq!(response["patch"], Value::Null);
}

#[tokio::test]
async fn a_refusal_is_a_403_with_the_message_and_a_failed_lookup_is_none() {
    let store = Store::shop();
    let unreadable = store.unreadable.clone();
    let replica = Replica::start(store, ServeOptions::default(), Timestamp::now).await;
    let mut connection = replica.connect().await;
    let mut host = shop_pod();
    host["spec"]["hostNetwork"] = true.into();
    let response = connection.admit(&host).await.unwrap();
    assert_eq!(response["allowed"], false);
    assert_eq!(response["status"]["code"], 403);
    assert!(
        response["status"]["message"]
            .as_str()
            .unwrap()
            .contains("hostNetwork")
    );
    *unreadable.lock() = true;
    let failed = connection.admit(&shop_pod()).await.unwrap_err();
    assert!(
        failed.starts_with("500"),
        "the failure policy decides: {failed}"
    );
    assert!(failed.contains("ConfigMap store/parameters cannot be read"));
}
