use http::StatusCode;
use outrigger_release::{ReleaseError, Step};
use serde_json::json;
use tokio::time::Instant;

use crate::cluster::{CONFIGURATION, Cluster, GATE};

#[tokio::test(start_paused = true)]
async fn no_pod_is_released_while_an_api_server_still_calls_the_webhook() {
    let cluster = Cluster::new();
    cluster.pod("shop", "web", &[GATE]);
    // One of three API servers is late by 20 s.
    let api = cluster.api.clone();
    let begin = Instant::now();
    cluster.admit(move |number| {
        let late = begin.elapsed().as_secs() < 35;
        if late {
            let pod = api.get("/api/v1/namespaces/shop/pods/web").unwrap();
            assert_eq!(pod["spec"]["schedulingGates"], json!([{"name": GATE}]));
        }
        (late && number % 3 == 0).then(|| Ok(json!({})))
    });
    cluster.release().await.1.unwrap();
    assert!(cluster.gates("shop", "web").is_empty());
    assert!(begin.elapsed().as_secs() >= 35);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_nobody_answers_is_one_that_is_called() {
    let cluster = Cluster::new();
    let refusal = "Internal error occurred: failed calling webhook \"pods.outrigger.dev\": no endpoints available";
    cluster.admit(move |number| {
        (number < 100).then(|| Err((StatusCode::INTERNAL_SERVER_ERROR, refusal.into())))
    });
    cluster.release().await.1.unwrap();
    cluster.admit(move |_| Some(Err((StatusCode::INTERNAL_SERVER_ERROR, refusal.into()))));
    let error = cluster.release().await.1.unwrap_err();
    assert!(matches!(error, ReleaseError::StillCalled { .. }));
    let text = error.to_string();
    for part in [
        "new pods are still changed by the webhook 6",
        "a dry-run pod in namespace shop was refused",
        refusal,
        "run this again",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_comes_back_is_deleted_again() {
    let cluster = Cluster::new();
    let former = cluster.api.get(CONFIGURATION).unwrap();
    let api = cluster.api.clone();
    cluster.admit(move |number| {
        if number == 12 {
            api.put(CONFIGURATION, former.clone());
        }
        None
    });
    cluster.release().await.1.unwrap();
    assert_eq!(cluster.api.get(CONFIGURATION), None);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_refuses_pods_leaves_the_answer_to_another() {
    let cluster = Cluster::new();
    cluster.application("bank");
    let quota = "pods \"outrigger-probe-x\" is forbidden: failed quota: must specify limits.cpu";
    // The first namespace by name.
    cluster.admit(move |number| {
        (number % 16 < 8).then(|| Err((StatusCode::FORBIDDEN, quota.to_owned())))
    });
    let (steps, released) = cluster.release().await;
    released.unwrap();
    let told = |step: &Step| matches!(step, Step::NotProbed { .. });
    assert!(!steps.iter().any(told), "{steps:?}");
}

#[tokio::test(start_paused = true)]
async fn where_no_namespace_takes_a_dry_run_pod_time_is_waited_for_and_said() {
    let cluster = Cluster::new();
    cluster.pod("shop", "web", &[GATE]);
    let refusal =
        "admission webhook \"labels.example.com\" denied the request: label team is missing";
    cluster.admit(move |_| Some(Err((StatusCode::FORBIDDEN, refusal.into()))));
    let (steps, released) = cluster.release().await;
    assert_eq!(released.unwrap().pods.len(), 1);
    let said: Vec<String> = steps.iter().map(Step::to_string).collect();
    let wanted = "dry-run pods cannot show it (a dry-run pod in namespace shop was refused: \
        admission webhook \"labels.example.com\" denied the request: label team is missing (403)); \
        waiting for 11 s instead";
    assert!(said.iter().any(|said| said == wanted), "{said:#?}");
}
