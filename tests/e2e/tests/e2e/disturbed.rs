//! Something else is restarted, deleted or drained in the middle of each phase of a swap: the swap
//! comes to its end all the same, and what should not notice does not.

use anyhow::Context;
use futures::future::{BoxFuture, try_join};
use futures::{FutureExt, TryFutureExt};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::api::{Api, EvictParams, ListParams};
use outrigger_control::Phase;
use outrigger_e2e::cluster;
use outrigger_e2e::load::{Orders, Outcome, verify};
use outrigger_e2e::observe::{Observer, Totals};
use outrigger_e2e::shop::{SELECTOR, has_image};
use outrigger_e2e::trial::run_name;
use serde_json::json;
use tokio::task::block_in_place;

use crate::operator_killed::{no_preflight_left, seen};
use crate::scene::{PATIENCE, Scene, Test, test};

/// For each swap the phases in which something happens, the first well before the second. `None`
/// stands for the preflight.
const PHASES: [[Option<Phase>; 2]; 3] = [
    [None, Some(Phase::Handover)],
    [Some(Phase::PatchStandby), Some(Phase::Soak)],
    [Some(Phase::Warm), Some(Phase::PatchOld)],
];
const RATE: u32 = 100;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test!(kubelet_restarted_in_each_phase_disturbs_no_swap),
        test!(the_api_server_restarted_in_each_phase_disturbs_no_swap),
        test!(the_database_restarted_in_each_phase_loses_nothing),
        test!(a_pod_deleted_in_each_phase_has_a_successor_with_the_image),
        test!(a_node_drained_in_each_phase_holds_up_no_swap),
    ]
}

/// A kubelet that starts takes each container with a readiness probe for unready until its first
/// probe, so Ready changes; the swap has no part in that.
async fn kubelet_restarted_in_each_phase_disturbs_no_swap(scene: Scene<'_>) -> anyhow::Result<()> {
    let outcome = restarted(scene, |node| format!("{node}/kubelet"), Ready::Kubelets).await?;
    assert_eq!(outcome.progress.failed, 0, "{:?}", outcome.failures.first());
    Ok(())
}

async fn the_api_server_restarted_in_each_phase_disturbs_no_swap(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let outcome = restarted(scene, |_| "kube-apiserver".to_owned(), Ready::Stays).await?;
    assert_eq!(outcome.progress.failed, 0, "{:?}", outcome.failures.first());
    Ok(())
}

/// While it is away requests fail, which no sidecar can mend; what was answered holds.
async fn the_database_restarted_in_each_phase_loses_nothing(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let outcome = restarted(scene, |_| "postgres".to_owned(), Ready::Stays).await?;
    assert!(outcome.progress.failed > 0);
    Ok(())
}

/// What the pod's condition Ready does.
#[derive(Clone, Copy)]
enum Ready {
    Stays,
    /// As the restart of a kubelet makes it.
    Kubelets,
}

/// Swaps under load, in each phase of one of which a component of the lab is restarted. The component
/// may depend on the pod's node.
async fn restarted(
    scene: Scene<'_>,
    component: impl Fn(&str) -> String,
    ready: Ready,
) -> anyhow::Result<Outcome> {
    let mut example = scene.example()?;
    // What fails for want of the database is not held against an image here.
    example.object("IntegrationSidecar")?["spec"]["update"] =
        json!({"soakSeconds": 2, "rollback": {"errorRatioPercent": 100}});
    let shop = scene.open(&example).await?;
    shop.settled().await?;
    let pod = shop.pods().await?.remove(0);
    let node = pod.spec.and_then(|spec| spec.node_name);
    let name = component(&node.context("no node")?);
    let component = scene.stage.site.lab.component(&name)?;
    let orders = Orders::new(run_name());
    let load = shop.load(RATE, &orders).await?;
    let swaps = async {
        load.answers(u64::from(RATE), PATIENCE).await?;
        let images = scene.stage.sidecars.iter().rev().cycle();
        for (phases, image) in PHASES.into_iter().zip(images) {
            let observer = shop.observe().await?;
            let restarts = async {
                for phase in phases {
                    seen(scene, &observer, phase).await?;
                    // An orderly stop of the API server waits for its watches.
                    block_in_place(|| component.kill().and_then(|()| component.start()))?;
                }
                anyhow::Ok(())
            };
            let what = phases.map(told).join(" and ");
            let (swap, ()) = try_join(shop.swap(image, &observer), restarts)
                .await
                .with_context(|| format!("{name} restarted in {what}"))?;
            scene.say(format_args!("{what}: {:.1} s", swap.took().as_secs_f64()));
            let totals = observer.totals();
            let expected = Totals {
                slot_replacements: 2,
                ready_transitions: match ready {
                    Ready::Stays => 0,
                    Ready::Kubelets => totals.ready_transitions,
                },
                ..Totals::default()
            };
            assert_eq!(totals, expected, "{name} restarted in {what}");
            no_preflight_left(scene).await?;
        }
        load.answers(u64::from(RATE), PATIENCE).await
    };
    let swaps = swaps.await;
    let outcome = load.stop().await;
    swaps?;
    assert_eq!(outcome.progress.connections_closed, 0);
    let verdict = verify(&outcome.answers, &scene.database.rows(&orders).await?);
    assert_eq!(
        (verdict.lost, verdict.duplicated, verdict.wrong_conflicts),
        (0, 0, 0)
    );
    Ok(outcome)
}

async fn a_pod_deleted_in_each_phase_has_a_successor_with_the_image(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    taken_away(scene, |scene, pod| {
        async move {
            let pods = scene.pods();
            pods.delete(&pod.name_any(), &Default::default()).await?;
            Ok(())
        }
        .boxed()
    })
    .await
}

/// As `kubectl drain` does it.
async fn a_node_drained_in_each_phase_holds_up_no_swap(scene: Scene<'_>) -> anyhow::Result<()> {
    let nodes: Api<Node> = scene.cluster().cluster_objects();
    let drained = taken_away(scene, |scene, pod| {
        let nodes = scene.cluster().cluster_objects::<Node>();
        async move {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
            let node = node.context("no node")?;
            let every: Vec<String> = nodes
                .list(&ListParams::default())
                .await?
                .iter()
                .map(ResourceExt::name_any)
                .collect();
            for name in every {
                let cordon = json!({"spec": {"unschedulable": name == node}});
                cluster::merge(&nodes, &name, &cordon).await?;
            }
            let on_node = format!("spec.nodeName={node}");
            let pods = scene.pods();
            let labels = ListParams::default().labels(SELECTOR).fields(&on_node);
            for pod in pods.list(&labels).await? {
                pods.evict(&pod.name_any(), &EvictParams::default()).await?;
            }
            Ok(())
        }
        .boxed()
    })
    .await;
    for node in nodes.list(&ListParams::default()).await? {
        let open = json!({"spec": {"unschedulable": false}});
        cluster::merge(&nodes, &node.name_any(), &open).await?;
    }
    drained
}

/// Swaps of two pods, in each phase of one of which the pod that is in it is taken away.
async fn taken_away(
    scene: Scene<'_>,
    take: impl for<'a> Fn(Scene<'a>, &'a Pod) -> BoxFuture<'a, anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let mut example = scene.example()?;
    example.object("Deployment")?["spec"]["replicas"] = json!(2);
    example.object("IntegrationSidecar")?["spec"]["update"] = json!({"soakSeconds": 2});
    let shop = scene.open(&example).await?;
    shop.settled().await?;
    let images = scene.stage.sidecars.iter().rev().cycle();
    for (phases, image) in PHASES.into_iter().zip(images) {
        let observer = shop.observe().await?;
        shop.set_image(&image.reference).await?;
        let mut taken = Vec::new();
        for phase in phases {
            seen(scene, &observer, phase).await?;
            let pod = in_phase(&observer, phase)?;
            take(scene, &pod).await?;
            taken.push(pod.uid());
        }
        let pods = scene.pods();
        let what = format!(
            "two pods with the image, after {}",
            phases.map(told).join(" and ")
        );
        cluster::wait_all(&pods, SELECTOR, &what, PATIENCE, |pods| {
            pods.len() == 2
                && pods.iter().all(|pod| !taken.contains(&pod.uid()))
                && has_image(pods, image).is_ok()
        })
        .await?;
        shop.settled().and_then(|_| shop.pods()).await?;
        no_preflight_left(scene).await?;
    }
    Ok(())
}

/// A pod that is in the phase; any pod during the preflight.
fn in_phase(observer: &Observer, phase: Option<Phase>) -> anyhow::Result<Pod> {
    let changes = observer.phases();
    let mut found = changes.iter().rev();
    let name = found.find(|change| Some(change.phase) == phase);
    let name = name.map(|change| change.pod.as_str());
    let mut pods = observer.pods().into_iter();
    let pod = pods.find(|pod| name.is_none_or(|name| pod.name_any() == name));
    pod.with_context(|| format!("no pod in {}", told(phase)))
}

fn told(phase: Option<Phase>) -> String {
    phase.map_or_else(|| "Preflight".to_owned(), |phase| phase.to_string())
}
