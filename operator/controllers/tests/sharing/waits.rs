//! What the status says of function pods that are waited for.

use std::time::Duration;

use outrigger_api_server::ApiServer;
use outrigger_control::layout::PREFLIGHT_LABEL;
use serde_json::{Value, json};

use crate::pods::serve;
use crate::replica::Replica;
use crate::scene::{PODS, SERVICE, SIDECAR, is_function_pod, node, put_consumer, scene};

/// Longer than any pause between two looks, in the time of the tests.
const LONG: Duration = Duration::from_secs(3600);

/// Function pods serve on nodes n1 and n2, and nothing is left to do.
async fn settled() -> (ApiServer, Replica) {
    let api = scene();
    let leader = Replica::lead(api.client());
    put_consumer(&api, "s", "shop", "n1", "10.0.0.1");
    put_consumer(&api, "b", "bank", "n2", "10.0.1.1");
    until_count(&api, 2).await;
    serve(&api, |_| true);
    end_preflight(&api, "sidecar:1", 0).await;
    until_told(&api, "Succeeded", "2 of 2 pods have sidecar:1").await;
    (api, leader)
}

/// The preflight of an image ends with an exit code.
async fn end_preflight(api: &ApiServer, image: &str, exit_code: i32) {
    let is_preflight = |pod: &Value| {
        !pod["metadata"]["labels"][PREFLIGHT_LABEL].is_null()
            && pod["spec"]["containers"][0]["image"] == image
    };
    api.until_all(PODS, |pods| pods.iter().any(is_preflight))
        .await;
    let mut pod = api.under(PODS).into_iter().find(is_preflight).unwrap();
    let phase = if exit_code == 0 {
        "Succeeded"
    } else {
        "Failed"
    };
    pod["status"] = json!({"phase": phase, "containerStatuses": [{
        "name": "preflight", "image": image, "imageID": "repo@sha256:sidecar-1",
        "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": exit_code}},
    }]});
    api.put(&path(&pod), pod);
}

async fn until_count(api: &ApiServer, count: usize) {
    api.until_all(PODS, |pods| {
        pods.iter().filter(|pod| is_function_pod(pod)).count() == count
    })
    .await;
}

/// Waits until the condition `Ready` has a reason and a message.
async fn until_told(api: &ApiServer, reason: &str, message: &str) {
    let told = || ready(&api.get(SIDECAR).unwrap());
    let until = api.until(SIDECAR, |_| {
        told() == (reason.to_owned(), message.to_owned())
    });
    let waited = tokio::time::timeout(LONG, until).await;
    assert!(waited.is_ok(), "{:?}, not {message}", told());
}

/// Reason and message of the condition `Ready`.
fn ready(sidecar: &Value) -> (String, String) {
    let conditions = sidecar["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let ready = conditions.find(|condition| condition["type"] == "Ready");
    let text = |field: &str| {
        let text = ready.and_then(|ready| ready[field].as_str());
        text.unwrap_or_default().to_owned()
    };
    (text("reason"), text("message"))
}

fn path(pod: &Value) -> String {
    format!("{PODS}{}", pod["metadata"]["name"].as_str().unwrap())
}

/// Functions are reached on another port, so function pods of another shape come. All of them serve
/// but that on node n2, which is returned.
async fn move_port(api: &ApiServer) -> Value {
    let former = api.under(PODS);
    let mut sidecar = api.get(SIDECAR).unwrap();
    sidecar["spec"]["functions"][0]["port"] = 15005.into();
    api.put(SIDECAR, sidecar);
    until_count(api, 4).await;
    serve(api, |pod| node(pod) == "n1");
    let mut pods = api.under(PODS).into_iter().filter(is_function_pod);
    let is_new = |pod: &Value| {
        let name = &pod["metadata"]["name"];
        former
            .iter()
            .all(|other| other["metadata"]["name"] != *name)
    };
    pods.find(|pod| node(pod) == "n2" && is_new(pod)).unwrap()
}

/// What is told while only the new pod on node n2 does not serve.
fn held_up(pod: &Value, why: &str) -> String {
    let text = |field: &str| pod["metadata"][field].as_str().unwrap();
    format!(
        "the former function pods serve until new ones do in every place: pod {} on node n2, created {}, {why}",
        text("name"),
        text("creationTimestamp"),
    )
}

#[tokio::test(start_paused = true)]
async fn a_place_that_holds_up_a_change_is_named_with_its_pod_and_why() {
    let (api, _leader) = settled().await;
    let mut pod = move_port(&api).await;
    let not = |type_: &str, more: Value| {
        let mut condition = json!({"type": type_, "status": "False"});
        let more = more.as_object().unwrap().clone();
        condition.as_object_mut().unwrap().extend(more);
        json!([condition])
    };
    let container = |name: &str, state: Value| {
        json!([{
            "name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": state,
        }])
    };
    let no_room = "0/2 nodes are available: 1 Insufficient cpu.";
    let crashing = "back-off 5m0s restarting failed container";
    let ready = || not("Ready", json!({"reason": "ContainersNotReady"}));
    for (status, why) in [
        (json!(null), "is not scheduled yet".to_owned()),
        (
            json!({
                "phase": "Pending",
                "conditions": not(
                    "PodScheduled", json!({"reason": "Unschedulable", "message": no_room})
                ),
            }),
            format!("is not scheduled: {no_room}"),
        ),
        (
            json!({
                "phase": "Pending", "conditions": ready(),
                "initContainerStatuses": container(
                    "orders-a",
                    json!({"waiting": {"reason": "CrashLoopBackOff", "message": crashing}}),
                ),
            }),
            format!("has container orders-a: CrashLoopBackOff: {crashing}"),
        ),
        (
            json!({
                "phase": "Pending", "conditions": ready(),
                "containerStatuses": container(
                    "holder", json!({"waiting": {"reason": "ContainerCreating"}})
                ),
            }),
            "is not ready yet".to_owned(),
        ),
        (
            json!({
                "phase": "Running", "conditions": ready(),
                "containerStatuses": container("holder", json!({"running": {}})),
            }),
            "has container holder, which is not ready".to_owned(),
        ),
    ] {
        pod["status"] = status;
        api.put(&path(&pod), pod.clone());
        until_told(&api, "FunctionPodsPending", &held_up(&pod, &why)).await;
    }
    serve(&api, |_| true);
    until_told(&api, "Succeeded", "2 of 2 pods have sidecar:1").await;
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_goes_on_is_told_once() {
    let (api, _leader) = settled().await;
    let pod = move_port(&api).await;
    let told = held_up(&pod, "is not scheduled yet");
    until_told(&api, "FunctionPodsPending", &told).await;
    let before = api.get(SIDECAR);
    tokio::time::sleep(LONG).await;
    assert_eq!(api.get(SIDECAR), before);
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_waits_for_a_function_pod_says_for_what() {
    let (api, _leader) = settled().await;
    let pod = move_port(&api).await;
    let mut sidecar = api.get(SIDECAR).unwrap();
    sidecar["spec"]["image"] = "sidecar:2".into();
    api.put(SIDECAR, sidecar);
    let waits = held_up(&pod, "is not scheduled yet");
    let tried = "image sidecar:2 is being tried: 0 of 1 preflights succeeded";
    until_told(&api, "Preflight", &format!("{tried}; {waits}")).await;
}

#[tokio::test(start_paused = true)]
async fn what_needs_a_change_by_somebody_is_told_beside_any_rollout() {
    let (api, _leader) = settled().await;
    api.delete(SERVICE);
    api.put(SERVICE, json!({"apiVersion": "v1", "kind": "Service"}));
    let foreign = "Service outrigger-orders exists and is not Outrigger's; delete it, or rename the IntegrationSidecar";
    until_told(&api, "FunctionPodsPending", foreign).await;
    let mut sidecar = api.get(SIDECAR).unwrap();
    sidecar["spec"]["image"] = "sidecar:2".into();
    api.put(SIDECAR, sidecar);
    let tried = "image sidecar:2 is being tried: 0 of 1 preflights succeeded";
    until_told(&api, "FunctionPodsPending", &format!("{foreign}; {tried}")).await;
    assert_eq!(
        api.get(SIDECAR).unwrap()["status"]["conditions"][1]["type"],
        "Stalled"
    );
    end_preflight(&api, "sidecar:2", 1).await;
    let failed = |found: Option<&Value>| {
        let (reason, message) = ready(found.unwrap());
        reason == "PreflightFailed" && message.ends_with(foreign)
    };
    let waited = tokio::time::timeout(LONG, api.until(SIDECAR, failed)).await;
    assert!(waited.is_ok(), "{:?}", ready(&api.get(SIDECAR).unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_place_that_nobody_serves_is_named_with_its_pod() {
    let (api, _leader) = settled().await;
    put_consumer(&api, "c", "bank", "n3", "10.0.2.1");
    until_count(&api, 3).await;
    let mut pods = api.under(PODS).into_iter().filter(is_function_pod);
    let name = pods.find(|pod| node(pod) == "n3").unwrap()["metadata"]["name"].clone();
    let told = format!(
        "2 of 3 function pods serve: pod {} on node n3 is not scheduled yet",
        name.as_str().unwrap()
    );
    until_told(&api, "FunctionPodsPending", &told).await;
}
