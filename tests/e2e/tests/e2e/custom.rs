//! A sidecar of one's own, built on the chassis: the example `custom-sidecar`.

use std::net::SocketAddr;

use anyhow::ensure;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use outrigger_api::IntegrationSidecar;
use outrigger_control::Slot;
use outrigger_e2e::example::Example;
use outrigger_e2e::images::Recipe;
use outrigger_e2e::install::is_rolled_out;
use outrigger_e2e::observe::Observer;
use outrigger_e2e::shop::is_settled;
use outrigger_e2e::{cluster, fetch, project, slots};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::scene::{PATIENCE, Scene, Test, test};

const SIDECAR: &str = "redact";
const APPLICATION: &str = "tickets";
const SELECTOR: &str = "app.kubernetes.io/name=tickets";

pub(crate) fn tests() -> Vec<Test> {
    vec![test!(a_sidecar_of_ones_own_is_swapped_under_load)]
}

async fn a_sidecar_of_ones_own_is_swapped_under_load(scene: Scene<'_>) -> anyhow::Result<()> {
    let images = &scene.stage.site.images;
    let redact = |version: &str| Recipe::product("redact", version);
    let first = images.ensure(&redact(project::VERSION)?).await?;
    let next = format!("{}-next", project::VERSION);
    let second = images.ensure(&redact(&next)?).await?;
    let tickets = Recipe::product("tickets", project::VERSION)?;
    let tickets = images.ensure(&tickets).await?;

    let mut example = Example::read("custom-sidecar")?.into_namespace(scene.namespace)?;
    let sidecar = &mut example.object("IntegrationSidecar")?["spec"];
    sidecar["image"] = json!(first.reference);
    sidecar["update"] = json!({"soakSeconds": 1});
    let template = &mut example.object("Deployment")?["spec"]["template"];
    template["spec"]["containers"][0]["image"] = json!(tickets.reference);
    let cluster = scene.cluster();
    let kinds = ["Namespace", "IntegrationSidecar", "IntegratedApp"];
    cluster.apply(&example.of_kinds(&kinds)).await?;
    scene.ready_application(APPLICATION).await?;
    cluster
        .apply(&example.of_kinds(&["Deployment", "Service"]))
        .await?;
    let deployments = cluster.objects::<Deployment>(scene.namespace);
    let up = cluster::wait(
        &deployments,
        APPLICATION,
        "available",
        PATIENCE,
        is_rolled_out,
    );
    up.await?;
    let sidecars = cluster.objects::<IntegrationSidecar>(scene.namespace);
    cluster::wait(&sidecars, SIDECAR, "Ready", PATIENCE, is_settled).await?;

    let pods = scene.pods();
    let targets = pods.list(&ListParams::default().labels(SELECTOR)).await?;
    let targets: Vec<SocketAddr> = targets
        .iter()
        .map(|pod| Ok((slots::address(pod)?, 8080).into()))
        .collect::<anyhow::Result<_>>()?;
    ensure!(targets.len() == 2, "{targets:?}");
    let observer = Observer::start(pods, SELECTOR, SIDECAR, PATIENCE).await?;
    let (stop, stopped) = watch::channel(false);
    let mut clients = JoinSet::new();
    for number in 0..8 {
        let target = targets[number % targets.len()];
        clients.spawn(file_tickets(target, stopped.clone()));
    }
    let change = json!({"spec": {"image": second.reference}});
    cluster::merge(&sidecars, SIDECAR, &change).await?;
    cluster::wait(&sidecars, SIDECAR, "a complete swap", PATIENCE, is_settled).await?;
    stop.send_replace(true);
    let mut filed = 0;
    for client in clients.join_all().await {
        filed += client?;
    }
    scene.say(format_args!("{filed} tickets, none lost"));
    ensure!(filed > 100, "{filed} tickets");
    let totals = observer.totals();
    assert_eq!((totals.ready_transitions, totals.primary_restarts), (0, 0));
    assert_eq!(totals.slot_replacements, 4);
    let has = |pod: &Pod| {
        Slot::BOTH.into_iter().all(|slot| {
            let container = slots::container(pod, SIDECAR, slot);
            container.is_ok_and(|container| container.image_id.contains(&second.digest))
        })
    };
    for pod in observer.pods() {
        ensure!(has(&pod), "pod {} keeps an image", pod.name_any());
    }
    Ok(())
}

/// Files tickets one after the other, and counts them; one that is lost, or keeps a secret, is an
/// error.
async fn file_tickets(target: SocketAddr, stopped: watch::Receiver<bool>) -> anyhow::Result<u64> {
    let mut filed = 0;
    while !*stopped.borrow() {
        let ticket = json!({"text": "help", "from": {"email": "a@example.com", "id": filed}});
        let url = format!("http://{target}/tickets");
        let answer = fetch::post(&url, ticket.to_string()).await?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        let expected = json!({"text": "help", "from": {"email": "[redacted]", "id": filed}});
        let found: Value = answer.json()?;
        ensure!(found == expected, "{found}");
        filed += 1;
    }
    Ok(filed)
}
