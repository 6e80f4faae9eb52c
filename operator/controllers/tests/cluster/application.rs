//! What becomes of IntegratedApps.

use std::collections::BTreeSet;

use outrigger_api_server::ApiServer;
use serde_json::{Value, json};

use crate::leader::{
    Leader, application, application_path, config_map_path, pod, pod_path, put_injected, shop,
    sidecar, sidecar_path,
};

const DOCUMENTS: &str = "outrigger.shop.orders";

fn edit(api: &ApiServer, path: &str, change: impl FnOnce(&mut Value)) {
    let mut object = api.get(path).unwrap();
    change(&mut object);
    api.put(path, object);
}

fn use_key(api: &ApiServer, field: &str) {
    edit(api, &application_path("shop"), |shop| {
        shop["spec"]["sidecars"][0]["parameters"] =
            json!([{"function": "once", "idempotency": {"keyFields": [field]}}]);
    });
}

/// Writes by the application controller.
fn writes(api: &ApiServer) -> Vec<String> {
    let mut writes = api.writes();
    writes.retain(|line| line.contains("integratedapps") || line.contains("configmaps"));
    writes
}

fn events(api: &ApiServer) -> Vec<(String, String)> {
    let events = api.under("/apis/events.k8s.io/v1/namespaces/store/events/");
    let ours = events
        .iter()
        .filter(|event| event["regarding"]["kind"] == "IntegratedApp");
    ours.map(|event| {
        let text = |field: &str| event[field].as_str().unwrap().to_owned();
        (text("type"), text("reason"))
    })
    .collect()
}

#[tokio::test]
async fn an_application_is_served_and_says_so() {
    let leader = Leader::start(&shop());
    leader.says("shop", "Succeeded").await;
    let found = leader.api.get(&application_path("shop")).unwrap();
    let status = &found["status"];
    assert_eq!(status["observedGeneration"], 1);
    assert_eq!(status["conditions"].as_array().unwrap().len(), 1);
    assert_eq!(status["conditions"][0]["status"], "True");
    assert_eq!(
        status["pods"],
        json!({"matched": 1, "injected": 1, "withoutSidecars": 0})
    );
    let hash = status["sidecars"][0]["configuration"].as_str().unwrap();
    let stored = leader.api.get(&config_map_path(DOCUMENTS)).unwrap();
    let documents = stored["data"].as_object().unwrap();
    assert_eq!(
        documents.keys().collect::<Vec<_>>(),
        [&format!("{hash}.json")]
    );
    assert_eq!(
        stored["metadata"]["ownerReferences"][0]["uid"],
        found["metadata"]["uid"]
    );
    assert_eq!(
        found["spec"],
        application()["spec"],
        "the spec is its owner's"
    );
}

#[tokio::test]
async fn nothing_is_written_at_rest() {
    let leader = Leader::start(&shop());
    leader.says("shop", "Succeeded").await;
    leader.settled("shop").await;
    let before = writes(&leader.api);
    // A new leader looks at everything again, as does one whose pods and ConfigMaps change in
    // ways that do not count.
    let second = Leader::start(&leader.api);
    edit(&leader.api, &pod_path("a"), |pod| {
        pod["status"]["phase"] = "Pending".into()
    });
    edit(&leader.api, &config_map_path(DOCUMENTS), |found| {
        found["metadata"]["annotations"] = json!({"by": "somebody"});
    });
    // What is answered after all that came before it was looked at.
    edit(&leader.api, &application_path("shop"), |shop| {
        shop["spec"]["sidecars"] = json!([])
    });
    second.says("shop", "RequiresRecreate").await;
    let statuses = writes(&leader.api).split_off(before.len());
    let status = format!("PATCH {}/status", application_path("shop"));
    assert!(
        statuses.iter().all(|line| *line == status) && statuses.len() <= 2,
        "one answer of each leader: {statuses:?}"
    );
}

#[tokio::test]
async fn each_bad_reference_is_told_and_mended() {
    let api = ApiServer::default();
    api.put(&application_path("shop"), application());
    let leader = Leader::start(&api);
    assert_eq!(
        leader.says("shop", "SidecarNotFound").await,
        "IntegratedApp shop sidecars[0].name is \"orders\"; no IntegrationSidecar of that name exists in namespace store"
    );
    let stalled = &api.get(&application_path("shop")).unwrap()["status"]["conditions"];
    assert_eq!(stalled[0]["status"], "False");
    assert_eq!(
        (&stalled[1]["type"], &stalled[1]["status"]),
        (&json!("Stalled"), &json!("True"))
    );

    let mut orders = sidecar();
    orders["spec"]["functions"][0]["configFrom"] = json!([{"configMapRef": {"name": "keys"}}]);
    api.put(&sidecar_path("orders"), orders);
    assert_eq!(
        leader.says("shop", "ConfigMapNotFound").await,
        "IntegrationSidecar orders functions[once].configFrom[0].configMapRef names ConfigMap \"keys\", which does not exist in namespace store"
    );

    api.put(
        &config_map_path("keys"),
        json!({"data": {"keyFields": "/id"}}),
    );
    assert_eq!(
        leader.says("shop", "InvalidParameters").await,
        "function once of orders: ConfigMap keys: keyFields is \"/id\"; allowed is a list of 1 to 16 different JSON Pointers, such as [\"/orderId\"]"
    );

    edit(&api, &application_path("shop"), |shop| {
        shop["spec"]["sidecars"][0]["functions"] = json!(["twice"]);
    });
    assert_eq!(
        leader.says("shop", "FunctionNotFound").await,
        "IntegratedApp shop sidecars[0].functions names function \"twice\"; IntegrationSidecar orders has once"
    );

    edit(&api, &application_path("shop"), |shop| {
        shop["spec"]["sidecars"] = json!([{"name": "orders"}, {"name": "bills"}]);
    });
    edit(&api, &config_map_path("keys"), |keys| {
        keys["data"]["keyFields"] = "[\"/id\"]".into()
    });
    api.put(&sidecar_path("bills"), sidecar());
    assert_eq!(
        leader.says("shop", "FunctionConflict").await,
        "IntegratedApp shop uses function \"once\" of IntegrationSidecar orders and of IntegrationSidecar bills; names of functions and ports must be unique in an application"
    );

    edit(&api, &sidecar_path("bills"), |bills| {
        bills["spec"]["functions"][0]["name"] = "bills".into();
    });
    let same_port = "IntegratedApp shop has function once of orders and function bills of bills on port 15000; set functions[].port, or container.ports[].port, of one of them to a free one";
    let path = application_path("shop");
    let told = |found: Option<&Value>| {
        found.is_some_and(|found| found["status"]["conditions"][0]["message"] == same_port)
    };
    api.until(&path, told).await;

    edit(&api, &sidecar_path("bills"), |bills| {
        bills["spec"]["functions"][0]["port"] = 15001.into()
    });
    leader.says("shop", "Succeeded").await;
    assert!(api.get(&config_map_path("outrigger.shop.bills")).is_some());
}

#[tokio::test]
async fn of_two_applications_that_match_a_pod_the_younger_is_told() {
    let api = shop();
    let mut younger = application();
    younger["metadata"] = json!({"creationTimestamp": "2026-02-01T00:00:00Z"});
    api.put(&application_path("younger"), younger);
    let leader = Leader::start(&api);
    leader.says("shop", "Succeeded").await;
    assert_eq!(
        leader.says("younger", "PodAlreadyAdopted").await,
        "pod a is matched by IntegratedApp shop too, which serves because it is older; let workloadRef or selector of IntegratedApp younger match other pods than theirs"
    );
    leader.counts("younger", [0, 0, 0]).await;
    api.delete(&application_path("shop"));
    let message = leader.says("younger", "PodsNotInjected").await;
    assert!(
        message.starts_with("pod a is without the sidecars of IntegratedApp younger"),
        "{message}"
    );
}

#[tokio::test]
async fn pods_of_a_workload_are_found_with_and_without_sidecars() {
    let api = shop();
    edit(&api, &application_path("shop"), |shop| {
        shop["spec"]["selector"].take();
        shop["spec"].as_object_mut().unwrap().remove("selector");
        shop["spec"]["workloadRef"] =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    });
    let owner = |kind: &str, name: &str, uid: &Value| json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true}]);
    let replica_set = "/apis/apps/v1/namespaces/store/replicasets/web-1";
    api.put(
        replica_set,
        json!({"metadata": {"ownerReferences": owner("Deployment", "web", &json!("u"))}}),
    );
    let uid = api.get(replica_set).unwrap()["metadata"]["uid"].clone();
    let owners = owner("ReplicaSet", "web-1", &uid);
    edit(&api, &pod_path("a"), |pod| {
        pod["metadata"]["ownerReferences"] = owners.clone()
    });
    let mut bare = pod();
    bare["metadata"]["ownerReferences"] = owners.clone();
    api.put(&pod_path("b"), bare.clone());
    api.put(&pod_path("of-nobody"), pod());
    bare["status"]["phase"] = "Succeeded".into();
    api.put(&pod_path("ended"), bare);
    let leader = Leader::start(&api);
    leader.counts("shop", [2, 1, 1]).await;
    assert_eq!(
        leader.says("shop", "PodsNotInjected").await,
        "pod b is without the sidecars of IntegratedApp shop: created before it, or while the webhook was away; create them anew: kubectl rollout restart deployment/web -n store"
    );
    api.delete(&pod_path("b"));
    put_injected(&api, "c");
    edit(&api, &pod_path("c"), |pod| {
        pod["metadata"]["ownerReferences"] = owners
    });
    leader.says("shop", "Succeeded").await;
    leader.counts("shop", [2, 2, 0]).await;
}

#[tokio::test]
async fn documents_come_beside_those_in_use_and_go_with_them() {
    let api = shop();
    let leader = Leader::start(&api);
    leader.says("shop", "Succeeded").await;
    use_key(&api, "/other");
    leader.says("shop", "ConfigurationPending").await;
    let has = |count: usize| {
        move |found: Option<&Value>| {
            found.is_some_and(|found| found["data"].as_object().unwrap().len() == count)
        }
    };
    let documents = config_map_path(DOCUMENTS);
    api.until(&documents, has(2)).await;
    // Another pod with the new order takes the place of the first.
    put_injected(&api, "b");
    api.delete(&pod_path("a"));
    api.until(&documents, has(1)).await;
    leader.says("shop", "Succeeded").await;
    edit(&api, &application_path("shop"), |shop| {
        shop["spec"]["sidecars"] = json!([])
    });
    leader.says("shop", "RequiresRecreate").await;
    assert!(api.get(&documents).is_some(), "the pod still reads it");
    api.delete(&pod_path("b"));
    api.until(&documents, |found| found.is_none()).await;
}

#[tokio::test]
async fn documents_that_somebody_edits_or_deletes_are_restored() {
    let api = shop();
    let leader = Leader::start(&api);
    leader.says("shop", "Succeeded").await;
    let documents = config_map_path(DOCUMENTS);
    let good = api.get(&documents).unwrap()["data"].clone();
    let restored = |found: Option<&Value>| found.is_some_and(|found| found["data"] == good);
    edit(&api, &documents, |found| {
        for text in found["data"].as_object_mut().unwrap().values_mut() {
            *text = "{}".into();
        }
    });
    api.until(&documents, restored).await;
    api.delete(&documents);
    api.until(&documents, restored).await;
}

#[tokio::test]
async fn applications_that_share_a_sidecar_have_documents_of_their_own() {
    let api = shop();
    let mut batch = application();
    batch["spec"]["selector"]["matchLabels"]["app"] = "batch".into();
    batch["spec"]["sidecars"][0]["parameters"] =
        json!([{"function": "once", "idempotency": {"keyFields": ["/line/id"]}}]);
    api.put(&application_path("batch"), batch);
    use_key(&api, "/orderId");
    let leader = Leader::start(&api);
    leader.says("batch", "Succeeded").await;
    leader.says("shop", "ConfigurationPending").await;
    for (name, key, other) in [
        (DOCUMENTS, "/orderId", "/line/id"),
        ("outrigger.batch.orders", "/line/id", "/orderId"),
    ] {
        let stored = api.get(&config_map_path(name)).unwrap()["data"].to_string();
        assert!(
            stored.contains(key) && !stored.contains(other),
            "{name}: {stored}"
        );
    }
    assert_eq!(
        api.under("/apis/outrigger.dev/v1alpha1/namespaces/store/integrationsidecars/")
            .len(),
        1
    );
}

#[tokio::test]
async fn coverage_of_the_namespace_is_waited_for() {
    let api = shop();
    let leader = Leader::start(&api);
    leader.says("shop", "Succeeded").await;
    leader.replica.covered.send_replace(BTreeSet::new());
    leader.says("shop", "InjectionNotReady").await;
    let conditions = &api.get(&application_path("shop")).unwrap()["status"]["conditions"];
    assert_eq!(
        (&conditions[1]["type"], &conditions[1]["status"]),
        (&json!("Reconciling"), &json!("True"))
    );
    leader
        .replica
        .covered
        .send_replace(BTreeSet::from(["store".to_owned()]));
    leader.says("shop", "Succeeded").await;
}

#[tokio::test]
async fn a_change_of_reason_is_an_event() {
    let api = shop();
    let leader = Leader::start(&api);
    leader.says("shop", "Succeeded").await;
    let lost = api.get(&sidecar_path("orders")).unwrap();
    api.delete(&sidecar_path("orders"));
    leader.says("shop", "SidecarNotFound").await;
    api.put(&sidecar_path("orders"), lost);
    leader.says("shop", "Succeeded").await;
    leader.settled("shop").await;
    let mut told = events(&api);
    told.dedup();
    let story = |type_: &str, reason: &str| (type_.to_owned(), reason.to_owned());
    assert!(
        told.contains(&story("Warning", "SidecarNotFound")),
        "{told:?}"
    );
    assert!(told.contains(&story("Normal", "Succeeded")), "{told:?}");
}

#[tokio::test]
async fn a_failed_write_is_repeated() {
    let api = shop();
    api.fail(1);
    let leader = Leader::start(&api);
    leader.says("shop", "Succeeded").await;
    assert!(api.get(&config_map_path(DOCUMENTS)).is_some());
}

#[tokio::test]
async fn a_status_that_is_not_the_last_one_written_is_written_again() {
    let api = shop();
    let leader = Leader::start(&api);
    leader.says("shop", "Succeeded").await;
    leader.settled("shop").await;
    edit(&api, &application_path("shop"), |shop| {
        shop["status"]["pods"]["matched"] = 7.into();
    });
    leader.counts("shop", [1, 1, 0]).await;
}

#[tokio::test]
async fn the_owner_of_many_pods_is_asked_for_once() {
    let api = ApiServer::default();
    let mut shop = application();
    shop["spec"] = json!({
        "workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "sidecars": [{"name": "orders"}],
    });
    api.put(&application_path("shop"), shop);
    api.put(&sidecar_path("orders"), sidecar());
    let owner = |kind: &str, name: &str, uid: &Value| json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true}]);
    let replica_set = "/apis/apps/v1/namespaces/store/replicasets/web-1";
    let of_web = owner("Deployment", "web", &"u".into());
    api.put(
        replica_set,
        json!({"metadata": {"ownerReferences": of_web}}),
    );
    let uid = api.get(replica_set).unwrap()["metadata"]["uid"].clone();
    for number in 0..30 {
        let mut bare = pod();
        bare["metadata"]["ownerReferences"] = owner("ReplicaSet", "web-1", &uid);
        api.put(&pod_path(&format!("web-{number}")), bare);
    }
    let leader = Leader::start(&api);
    leader.counts("shop", [30, 0, 30]).await;
    assert_eq!(api.reads(), [replica_set]);
}
