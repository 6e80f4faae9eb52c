//! One sidecar for several applications of a node.

use anyhow::{Context, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::api::ListParams;
use outrigger_api::IntegrationSidecar;
use outrigger_control::layout::{APPLICATION_LABEL, PREFLIGHT_LABEL, SHARED_LABEL};
use outrigger_e2e::example::Example;
use outrigger_e2e::install::is_rolled_out;
use outrigger_e2e::load::{Load, Orders, Settings};
use outrigger_e2e::observe::Observer;
use outrigger_e2e::shop::{self, APPLICATION, PORT, SELECTOR, SIDECAR, Shop};
use outrigger_e2e::trial::run_name;
use outrigger_e2e::{cluster, fetch, slots};
use serde_json::json;

use crate::scene::{PATIENCE, Scene, Test, test};

/// The other application on the node.
const OTHER: &str = "billing";
/// Its largest document, in bytes.
const OTHER_LIMIT: usize = 1024;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test!(two_applications_of_a_node_share_one_function_pod_and_its_swap),
        test!(two_applications_of_a_namespace_share_two_function_pods_and_their_swap),
        test!(nobody_but_the_operator_creates_pods_with_its_labels),
    ]
}

async fn two_applications_of_a_node_share_one_function_pod_and_its_swap(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let nodes = scene.cluster().cluster_objects::<Node>();
    let node = nodes.list(&ListParams::default()).await?.items;
    let node = node.first().context("no nodes")?.name_any();
    let mut example = scene.example()?;
    example.object("IntegrationSidecar")?["spec"]["sharing"] = json!("Node");
    let template = &mut example.object("Deployment")?["spec"]["template"]["spec"];
    template["nodeSelector"] = json!({"kubernetes.io/hostname": node});
    let pods = shared(scene, example, 1).await?;
    let on = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    ensure!(pods.iter().all(|pod| on(pod).as_ref() == Some(&node)));
    Ok(())
}

async fn two_applications_of_a_namespace_share_two_function_pods_and_their_swap(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let mut example = scene.example()?;
    let sidecar = &mut example.object("IntegrationSidecar")?["spec"];
    sidecar["sharing"] = json!("Namespace");
    sidecar["replicas"] = json!(2);
    shared(scene, example, 2).await.map(drop)
}

/// Two applications are served by so many function pods, each by its own rules, also while the
/// image is swapped. Gives all pods of the three.
async fn shared(
    scene: Scene<'_>,
    example: Example,
    function_pods: usize,
) -> anyhow::Result<Vec<Pod>> {
    let cluster = scene.cluster();
    let mut other = example.renamed(OTHER)?;
    let application = other.object("IntegratedApp")?;
    let parameters = &mut application["spec"]["sidecars"][0]["parameters"][0];
    parameters["idempotency"]["maxDocumentBytes"] = json!(OTHER_LIMIT);
    let kinds = ["Namespace", "Secret", "IntegrationSidecar", "IntegratedApp"];
    cluster.apply(&example.of_kinds(&kinds)).await?;
    cluster.apply(&other.of_kinds(&["IntegratedApp"])).await?;
    for name in [APPLICATION, OTHER] {
        scene.ready_application(name).await?;
    }
    let deployments = cluster.objects::<Deployment>(scene.namespace);
    for (example, name) in [(&example, APPLICATION), (&other, OTHER)] {
        cluster.apply(&example.of_kinds(&["Deployment"])).await?;
        cluster::wait(&deployments, name, "available", PATIENCE, is_rolled_out).await?;
    }
    let shop = Shop::at(&scene.stage.site, scene.namespace);
    let serves = |found: &IntegrationSidecar| {
        let status = found.status.as_ref();
        let pods = status.and_then(|status| status.function_pods.as_ref());
        pods.is_some_and(|pods| {
            [pods.desired, pods.ready].map(usize::try_from) == [Ok(function_pods); 2]
        })
    };
    let what = format!("{function_pods} function pods");
    cluster::wait(&shop.sidecars(), SIDECAR, &what, PATIENCE, serves).await?;
    shop.settled().await?;

    // The slots are in a pod of their own, and nothing is in those of the applications.
    let shared = format!("{SHARED_LABEL}={SIDECAR}");
    let observer = Observer::start(scene.pods(), &shared, SIDECAR, PATIENCE).await?;
    let mut pods = observer.pods();
    assert_eq!(pods.len(), function_pods);
    let mut targets = Vec::new();
    for selector in [SELECTOR, &format!("app.kubernetes.io/name={OTHER}")] {
        let found = ListParams::default().labels(selector);
        let pod = scene.pods().list(&found).await?.items.pop();
        let pod = pod.context("no pod")?;
        let init = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.init_containers.as_ref());
        assert!(init.is_none_or(Vec::is_empty), "{init:?}");
        targets.push((slots::address(&pod)?, PORT).into());
        pods.push(pod);
    }

    // Each is served by its own rules.
    let large = json!({"orderId": "large", "text": "x".repeat(OTHER_LIMIT)}).to_string();
    for (target, status) in targets.iter().zip([201, 413]) {
        let answer = fetch::post(&format!("http://{target}/orders"), large.clone()).await?;
        assert_eq!(answer.status, status, "{}", answer.text());
    }

    let settings = Settings {
        targets,
        rate: 200,
        connections: 16,
    };
    let load = Load::start(settings, Orders::new(run_name()));
    load.answers(200, PATIENCE).await?;
    let image = &scene.stage.sidecars[1];
    let swapped = async {
        shop.set_image(&image.reference).await?;
        shop.settled().await?;
        let has =
            |record: &outrigger_e2e::observe::Record| shop::has_image(&record.pods(), image).ok();
        observer.wait("the new image", PATIENCE, has).await?;
        load.answers(200, PATIENCE).await
    };
    let swapped = swapped.await;
    let outcome = load.stop().await;
    swapped?;
    let failure = outcome.failures.first();
    assert_eq!(outcome.progress.failed, 0, "{failure:?}");
    assert_eq!(outcome.progress.connections_closed, 0);
    let totals = observer.totals();
    assert_eq!(totals.ready_transitions, 0);
    assert_eq!(totals.slot_replacements, 2 * function_pods as u64);
    Ok(pods)
}

async fn nobody_but_the_operator_creates_pods_with_its_labels(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let namespace = scene.example()?.of_kinds(&["Namespace"]);
    scene.cluster().apply(&namespace).await?;
    for (label, namespace, why) in [
        (
            PREFLIGHT_LABEL,
            scene.namespace,
            "it marks what the Outrigger operator creates",
        ),
        (
            SHARED_LABEL,
            scene.namespace,
            "it marks what the Outrigger operator creates",
        ),
        (
            APPLICATION_LABEL,
            "kube-system",
            "namespace kube-system has no IntegratedApp",
        ),
    ] {
        let mut pod = scene.pod("forged");
        pod["metadata"]["namespace"] = json!(namespace);
        pod["metadata"]["labels"] = json!({label: "orders"});
        let refusal = scene.refusal(&pod).await?;
        let expected =
            format!("label {label} of pod forged is \"orders\"; {why}, so it must be absent");
        ensure!(refusal.contains(&expected), "{refusal}");
    }
    Ok(())
}
