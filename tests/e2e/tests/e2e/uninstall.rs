//! Outrigger goes, and what it served goes on: workloads with their sidecars, and pods that were
//! waiting for a node near their data.

use std::path::Path;

use anyhow::{Context, ensure};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Api;
use kube::api::PostParams;
use outrigger_e2e::load::Orders;
use outrigger_e2e::observe::Totals;
use outrigger_e2e::shop::SIDECAR;
use outrigger_e2e::trial::run_name;
use outrigger_e2e::{cluster, command, install, project};
use serde_json::json;

use crate::scene::{PATIENCE, Scene, Test, test};

/// The gate of pods that wait for a node near their data.
const GATE: &str = "outrigger.dev/placement";
/// A gate of somebody else.
const OTHER_GATE: &str = "example.com/quota";
/// Pods that have the first gate alone.
const WAITING: [&str; 3] = ["waiting-0", "waiting-1", "waiting-2"];
/// A pod that has both.
const HELD: &str = "held";
/// The Lease of the operator's leader.
const LEASE: &str = "outrigger-operator";

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test!(the_plugin_lets_every_waiting_pod_go_and_keeps_the_operator_still),
        test!(helm_uninstall_leaves_workloads_running_and_no_webhook),
        test!(the_documented_kubectl_line_lets_every_waiting_pod_go_after_kustomize),
    ]
}

async fn the_plugin_lets_every_waiting_pod_go_and_keeps_the_operator_still(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    wait_at_the_gate(scene).await?;
    scene.adopt_by_label(&[]).await?;
    let site = &scene.stage.site;
    // One pod, which is nobody else's business.
    let line = format!("release --namespace {} {}", scene.namespace, WAITING[0]);
    let said = site.plugin(&line).await?;
    assert_eq!(
        said,
        format!("pod {}/{} released\n", scene.namespace, WAITING[0])
    );
    assert_eq!(gates(&scene.pods().get(WAITING[1]).await?), [GATE]);
    ensure!(is_injected(scene).await?, "the operator does not go on");

    let said = site.plugin("release --all").await?;
    scene.say(said.trim().replace('\n', "\n    "));
    for part in [
        "taken from outrigger-",
        "MutatingWebhookConfiguration outrigger-injector deleted",
        "3 pods released in 1 namespace",
        "Remove the operator within 10 minutes",
    ] {
        assert!(said.contains(part), "{said}");
    }
    went_on(scene).await?;
    ensure!(!is_injected(scene).await?, "pods still get sidecars");
    let leases = scene.cluster().objects::<Lease>(install::NAMESPACE);
    let holder = |lease: &Lease| lease.spec.as_ref()?.holder_identity.clone();
    let lease = leases.get(LEASE).await?;
    assert_eq!(holder(&lease).as_deref(), Some("outrigger-release"));

    // To keep the operator, as the plugin says.
    let line = said.lines().find_map(|line| {
        let line = line.trim();
        line.starts_with("kubectl patch lease").then_some(line)
    });
    shell(scene, line.context("no line to go on with")?).await?;
    cluster::wait(&leases, LEASE, "a leader", PATIENCE, |lease| {
        holder(lease)
            .is_some_and(|holder| holder.starts_with("outrigger-") && holder != "outrigger-release")
    })
    .await?;
    let webhooks = webhooks(scene);
    let what = "the webhook configuration";
    cluster::wait(&webhooks, install::WEBHOOK, what, PATIENCE, |_| true).await?;
    Ok(())
}

async fn helm_uninstall_leaves_workloads_running_and_no_webhook(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    wait_at_the_gate(scene).await?;
    let shop = scene.open(&scene.example()?).await?;
    shop.settled().await?;
    let observer = shop.observe().await?;
    let load = shop.load(100, &Orders::new(run_name())).await?;
    load.answers(100, PATIENCE).await?;
    let site = &scene.stage.site;
    let gone = async {
        let said = install::uninstall(site).await?;
        scene.say(said.trim().replace('\n', "\n    "));
        assert!(said.contains("4 pods released in 1 namespace"), "{said}");
        went_on(scene).await?;
        cluster::gone(&webhooks(scene), install::WEBHOOK, PATIENCE).await?;
        // Pods are created as if there had never been an operator.
        ensure!(!is_injected(scene).await?, "pods still get sidecars");
        // Neither the Lease nor what took the gates off is in the way of another installation.
        let hook = "outrigger-release";
        cluster::gone(
            &scene.cluster().objects::<Lease>(install::NAMESPACE),
            LEASE,
            PATIENCE,
        )
        .await?;
        cluster::gone(
            &scene.cluster().objects::<Job>(install::NAMESPACE),
            hook,
            PATIENCE,
        )
        .await?;
        cluster::gone(
            &scene
                .cluster()
                .objects::<ServiceAccount>(install::NAMESPACE),
            hook,
            PATIENCE,
        )
        .await?;
        cluster::gone(
            &scene.cluster().cluster_objects::<ClusterRole>(),
            hook,
            PATIENCE,
        )
        .await?;
        load.answers(500, PATIENCE).await
    };
    let gone = gone.await;
    let outcome = load.stop().await;
    // For the tests that come after this one.
    install::install(site, &scene.stage.operator).await?;
    gone?;
    assert_eq!(outcome.progress.failed, 0, "{:?}", outcome.failures.first());
    assert_eq!(outcome.progress.connections_closed, 0);
    assert_eq!(observer.totals(), Totals::default());

    // Installed again, it takes up what it finds.
    shop.swap(&scene.stage.sidecars[1], &shop.observe().await?)
        .await?;
    assert_eq!(observer.totals().ready_transitions, 0);
    assert_eq!(
        shop.sidecars()
            .get(SIDECAR)
            .await?
            .status
            .and_then(|status| status.swaps.first().cloned()),
        None
    );
    Ok(())
}

async fn the_documented_kubectl_line_lets_every_waiting_pod_go_after_kustomize(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    wait_at_the_gate(scene).await?;
    scene.adopt_by_label(&[]).await?;
    let manifests = project::root().join("config/default");
    let gone = async {
        shell(scene, &format!("kubectl delete -k {}", manifests.display())).await?;
        cluster::gone(&webhooks(scene), install::WEBHOOK, PATIENCE).await?;
        // kustomize runs nothing beforehand.
        for name in WAITING {
            assert_eq!(gates(&scene.pods().get(name).await?), [GATE]);
        }
        let said = shell(scene, &documented_line()?).await?;
        assert_eq!(said.matches(" patched").count(), 4, "{said}");
        went_on(scene).await?;
        // Once more does no harm.
        let said = shell(scene, &documented_line()?).await?;
        assert_eq!(said.matches(" patched").count(), 0, "{said}");
        ensure!(!is_injected(scene).await?, "pods still get sidecars");
        Ok(())
    };
    let gone = gone.await;
    // For the tests that come after this one.
    install::install(&scene.stage.site, &scene.stage.operator).await?;
    gone
}

/// Creates pods that wait at the gate, of no application, and one that another gate holds too.
async fn wait_at_the_gate(scene: Scene<'_>) -> anyhow::Result<()> {
    let namespace = scene.example()?.of_kinds(&["Namespace"]);
    scene.cluster().apply(&namespace).await?;
    let gated = |name: &str, gates: &[&str]| {
        let mut pod = scene.pod(name);
        pod["metadata"]["labels"] = json!({});
        let gates: Vec<_> = gates.iter().map(|name| json!({"name": name})).collect();
        pod["spec"]["schedulingGates"] = json!(gates);
        pod
    };
    let mut pods: Vec<_> = WAITING.iter().map(|name| gated(name, &[GATE])).collect();
    pods.push(gated(HELD, &[OTHER_GATE, GATE]));
    scene.cluster().apply(&pods).await
}

/// Waits until the pods that waited have a node, and sees that a gate of another still holds.
async fn went_on(scene: Scene<'_>) -> anyhow::Result<()> {
    let pods = scene.pods();
    for name in WAITING {
        cluster::wait(&pods, name, "a node", PATIENCE, |pod| {
            gates(pod).is_empty()
                && pod
                    .spec
                    .as_ref()
                    .is_some_and(|spec| spec.node_name.is_some())
        })
        .await?;
    }
    assert_eq!(gates(&pods.get(HELD).await?), [OTHER_GATE]);
    Ok(())
}

fn gates(pod: &Pod) -> Vec<&str> {
    let gates = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.scheduling_gates.as_ref());
    gates
        .into_iter()
        .flatten()
        .map(|gate| gate.name.as_str())
        .collect()
}

/// Whether a new pod of the application would get sidecars.
async fn is_injected(scene: Scene<'_>) -> anyhow::Result<bool> {
    let pod = serde_json::from_value(scene.pod("later"))?;
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let pod = scene.pods().create(&dry, &pod).await?;
    Ok(pod.spec.is_some_and(|spec| spec.init_containers.is_some()))
}

fn webhooks(scene: Scene<'_>) -> Api<MutatingWebhookConfiguration> {
    scene.cluster().cluster_objects()
}

/// The block of the page on uninstalling that needs nothing but kubectl.
fn documented_line() -> anyhow::Result<String> {
    let page = std::fs::read_to_string(project::root().join("docs/operations.md"))?;
    let blocks = page.split("```sh\n").skip(1);
    let mut blocks = blocks.filter_map(|rest| rest.split("```").next());
    let line = blocks.find(|block| block.contains("go-template"));
    Ok(line
        .context("docs/operations.md has no such line")?
        .to_owned())
}

/// Runs lines of a page as somebody with the lab's kubectl does.
async fn shell(scene: Scene<'_>, lines: &str) -> anyhow::Result<String> {
    let site = &scene.stage.site;
    let kubectl = site.tool("kubectl");
    let tools = kubectl.parent().unwrap_or(Path::new("/"));
    let script = format!(
        "set -eu\nexport PATH=\"{}:$PATH\" KUBECONFIG=\"{}\"\n{lines}",
        tools.display(),
        site.lab.kubeconfig().display()
    );
    command::run("bash", ["-c", &script]).await
}
