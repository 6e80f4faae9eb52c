use http::Method;
use outrigger_release::release_in;

use crate::cluster::{CONFIGURATION, Cluster, GATE, LEASE};

#[tokio::test(start_paused = true)]
async fn one_stuck_pod_is_let_go_and_the_operator_goes_on() {
    let cluster = Cluster::new();
    cluster.pod("risk", "stuck", &["quota", GATE]);
    cluster.pod("risk", "waiting", &[GATE]);
    cluster.pod("risk", "running", &[]);
    let before = (cluster.api.get(LEASE), cluster.api.get(CONFIGURATION));
    let names = ["stuck", "running"].map(str::to_owned);
    let released = release_in(&cluster.client(), "risk", &names).await;
    let released = released.unwrap();
    let names = |pods: &std::collections::BTreeSet<outrigger_release::PodName>| {
        pods.iter().map(|pod| pod.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&released.pods), ["risk/stuck"]);
    assert_eq!(names(&released.not_gated), ["risk/running"]);
    assert_eq!(cluster.gates("risk", "stuck"), ["quota"]);
    assert_eq!(cluster.gates("risk", "waiting"), [GATE]);
    assert_eq!(
        before,
        (cluster.api.get(LEASE), cluster.api.get(CONFIGURATION))
    );
    assert_eq!(
        cluster.api.writes(),
        ["PATCH /api/v1/namespaces/risk/pods/stuck"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_namespaces_pods_are_let_go_once_though_others_come() {
    let cluster = Cluster::new();
    cluster.pod("risk", "a", &[GATE]);
    cluster.pod("risk", "b", &[GATE]);
    cluster.pod("shop", "a", &[GATE]);
    let mut count = 0;
    cluster.interfere(move |api, method, _| {
        if method == Method::PATCH {
            count += 1;
            let path = crate::cluster::path("risk", &format!("new-{count}"));
            api.put(&path, crate::cluster::pod(&[GATE]));
        }
    });
    let released = release_in(&cluster.client(), "risk", &[]).await;
    assert_eq!(released.unwrap().pods.len(), 2);
    assert_eq!(cluster.gates("risk", "new-1"), [GATE]);
    assert_eq!(cluster.gates("shop", "a"), [GATE]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_does_not_exist_is_named_with_what_to_do() {
    let cluster = Cluster::new();
    let names = ["web".to_owned()];
    let error = release_in(&cluster.client(), "risk", &names).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "pod risk/web does not exist; see which pods wait: kubectl get pods -A --field-selector spec.nodeName="
    );
}
