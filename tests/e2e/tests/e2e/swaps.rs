//! Swaps of images.

use anyhow::Context;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use outrigger_control::Slot;
use outrigger_e2e::observe::Observer;
use outrigger_e2e::shop::{SIDECAR, is_settled};
use outrigger_e2e::trial::{self, Plan};
use outrigger_e2e::{cluster, slots};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::scene::{PATIENCE, Scene, Test, restricted, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test!(five_swaps_under_load_lose_nothing),
        test!(a_job_that_counts_restarts_keeps_its_revision_and_completes),
    ]
}

/// From each image to the other and back, twice and a half: going back is a swap like any other.
async fn five_swaps_under_load_lose_nothing(scene: Scene<'_>) -> anyhow::Result<()> {
    let mut example = scene.example()?;
    example.object("Deployment")?["spec"]["replicas"] = json!(2);
    let shop = scene.open(&example).await?;
    shop.settled().await?;
    let [first, second] = &scene.stage.sidecars;
    let swaps = [second, first, second, first, second].map(Clone::clone);
    let plan = Plan {
        swaps: &swaps,
        rate: 500,
        pause: 1_000,
    };
    let trial = trial::run(&shop, scene.database, plan, &scene.stage.progress).await?;
    scene.say(format_args!(
        "{:.0} orders in a second\n{}",
        trial.rate, trial.report
    ));
    assert_eq!(
        trial.report.violations(),
        Vec::<String>::new(),
        "{:?}",
        trial.failures
    );
    assert_eq!(trial.report.swaps.len(), 5);
    for swap in &trial.report.swaps {
        for phase in ["Preflight", "PatchStandby", "Handover", "Soak", "PatchOld"] {
            assert!(
                swap.phases_ms.contains_key(phase),
                "{phase} is not in {swap:?}"
            );
        }
    }
    Ok(())
}

async fn a_job_that_counts_restarts_keeps_its_revision_and_completes(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let mut example = scene.example()?;
    let application = &mut example.object("IntegratedApp")?["spec"]["workloadRef"];
    *application = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "import"});
    let kinds = ["Namespace", "Secret", "IntegrationSidecar", "IntegratedApp"];
    scene.cluster().apply(&example.of_kinds(&kinds)).await?;
    scene.ready_application("checkout").await?;

    // The Job stores an order, as soon as it can, and then waits for a word that comes after the swap.
    let gate = TcpListener::bind((scene.stage.site.lab.host(), 0)).await?;
    let script = format!(
        r#"until (printf 'POST /v1/entries HTTP/1.1\r\nhost: orders\r\nconnection: close\r\n'
            printf 'content-type: application/json\r\ncontent-length: 15\r\n\r\n'
            printf '{{"orderId":"7"}}'; busybox sleep 1) | busybox nc 127.0.0.1 15000 | busybox grep index
        do :; done; busybox nc {} {} </dev/null | busybox grep go"#,
        gate.local_addr()?.ip(),
        gate.local_addr()?.port(),
    );
    let spec = restricted(json!({
        "restartPolicy": "OnFailure",
        "containers": [{
            "name": "import",
            "image": scene.stage.tools.reference,
            "command": ["/bin/sh", "-c", script],
            "env": [{"name": "PATH", "value": "/bin"}],
        }],
    }));
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "import", "namespace": scene.namespace},
        "spec": {"backoffLimit": 1, "template": {"spec": spec}},
    });
    scene.cluster().apply_one(&job).await?;
    let (mut waiting, _) = tokio::time::timeout(PATIENCE, gate.accept())
        .await
        .context("the Job did not ask")??;
    let observer = Observer::start(scene.pods(), "job-name=import", SIDECAR, PATIENCE).await?;
    let before = observer.pods().pop().context("no pod")?;

    let sidecars = scene
        .cluster()
        .objects::<outrigger_api::IntegrationSidecar>(scene.namespace);
    let image = &scene.stage.sidecars[1].reference;
    let change = json!({"spec": {"image": image}});
    cluster::merge(&sidecars, SIDECAR, &change).await?;
    let counted = |found: &outrigger_api::IntegrationSidecar| {
        let pods = found
            .status
            .as_ref()
            .and_then(|status| status.pods.as_ref());
        pods.is_some_and(|pods| pods.job_counts_restarts == 1)
    };
    cluster::wait(
        &sidecars,
        SIDECAR,
        "the Job's pod counted",
        PATIENCE,
        |found| counted(found) && is_settled(found),
    )
    .await?;
    let after = observer.pods().pop().context("no pod")?;
    assert_eq!(observer.totals().slot_replacements, 0);
    for slot in Slot::BOTH {
        let image = |pod: &Pod| slots::image(pod, SIDECAR, slot).map(str::to_owned);
        assert_eq!(image(&before)?, image(&after)?);
    }

    waiting.write_all(b"go\n").await?;
    waiting.shutdown().await?;
    let jobs = scene.cluster().objects::<Job>(scene.namespace);
    let job = cluster::wait(&jobs, "import", "its completion", PATIENCE, |job| {
        let status = job.status.as_ref();
        status.is_some_and(|status| status.succeeded == Some(1) || status.failed.is_some())
    });
    let status = serde_json::to_value(job.await?.status)?;
    assert_eq!(
        (&status["succeeded"], &status["failed"]),
        (&json!(1), &Value::Null)
    );
    let rows = "SELECT count(*) FROM outrigger_entries";
    assert_eq!(scene.database.count(rows).await?, 1);
    Ok(())
}
