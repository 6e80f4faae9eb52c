//! Two applications that share a function pod: what one of them feels of the other's tenfold load.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use outrigger_api::{IntegratedApp, IntegrationSidecar};
use outrigger_bench::record::{Sample, Shape};
use outrigger_control::layout;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::ground::example;
use super::measure::{Load, Run};
use super::{Images, Quantiles};
use crate::cluster;
use crate::install::is_rolled_out;
use crate::shop::{APPLICATION, SIDECAR, condition_is};
use crate::site::Site;

const NAMESPACE: &str = "bench-tenants";
/// The application that wants more than its share.
const GREEDY: &str = "greedy";
/// The share of each application, in requests per second.
const SHARE: u32 = 200;
/// How many shares the greedy one asks for.
const TIMES: u32 = 10;
/// Its connections: refusals come late, and it is to send its ten shares all the same.
const GREEDY_CONNECTIONS: usize = 400;
/// Pairs of windows, one without and one with the greedy one.
const PAIRS: usize = 6;
/// Length of a window.
const WINDOW: Duration = Duration::from_secs(5);
/// After each change of the load.
const CALM: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(120);

/// What the modest application felt.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantFigures {
    /// The share of each, in requests per second.
    pub share: u32,
    /// Requests per second that the greedy one sent, and those that were answered.
    pub greedy_rate: f64,
    /// See `greedy_rate`.
    pub greedy_answered: f64,
    /// What was said to the greedy one for others, the first few.
    pub greedy_refusals: Vec<String>,
    /// Requests of the modest one that failed.
    pub failed: u64,
    /// Latencies of the modest one in milliseconds, alone.
    pub alone: Quantiles,
    /// The same while the greedy one sends.
    pub with: Quantiles,
    /// The second p99 in relation to the first, for each pair of windows, in order of size.
    pub ratios: Vec<f64>,
}

impl TenantFigures {
    /// The p99 of all windows with the greedy one in relation to that of all without.
    pub fn ratio(&self) -> f64 {
        self.with.p99 / self.alone.p99
    }

    /// Whether the modest one is hardly held up.
    pub fn is_good(&self) -> bool {
        self.failed == 0 && self.ratio() <= 1.5
    }
}

/// Sends the share of one application without a break, and ten shares of the other in every second
/// window.
///
/// # Errors
/// When the applications do not become ready, or figures cannot be had.
pub async fn share(site: &Site, images: &Images) -> anyhow::Result<TenantFigures> {
    let [modest, greedy] = open(site, images).await?;
    let service = layout::shared_function_url(SIDECAR, NAMESPACE, layout::DEFAULT_FUNCTION_PORT);
    let target = service.trim_start_matches("http://").to_owned();
    let load = |shares: u32, connections: usize| Load {
        target: target.clone(),
        shape: Shape::KeepAlive,
        rate: SHARE * shares,
        connections,
        idle: 0,
    };
    let run = Run::start(&modest, &load(1, 16)).await?;
    let clock = run.clock();
    let mut windows = Vec::new();
    let (mut sent, mut answered, mut took) = (0, 0, 0.0);
    let mut refusals = Vec::new();
    for _ in 0..PAIRS {
        tokio::time::sleep(CALM).await;
        let alone = window().await;
        let other = Run::start(&greedy, &load(TIMES, GREEDY_CONNECTIONS)).await?;
        tokio::time::sleep(CALM).await;
        let with = window().await;
        let other = other.stop().await?;
        sent += other.outcome.sent;
        answered += other.outcome.answered;
        took += other.took.as_secs_f64();
        refusals = other.first_failures();
        windows.push((alone, with));
    }
    let ran = run.stop().await?;
    site.cluster.delete_namespace(NAMESPACE, PATIENCE).await?;
    let within = |(begin, end): (Instant, Instant)| {
        let span = clock.nanoseconds(begin)..clock.nanoseconds(end);
        let samples = ran.samples.iter();
        let due = samples.filter(move |sample| span.contains(&sample.due_ns));
        due.map(latency)
    };
    let mut ratios = Vec::new();
    for (alone, with) in &windows {
        let with = Quantiles::of(within(*with)).p99;
        let ratio = with / Quantiles::of(within(*alone)).p99;
        ratios.push((ratio * 100.0).round() / 100.0);
    }
    ratios.sort_by(f64::total_cmp);
    let alone = windows.iter().flat_map(|(alone, _)| within(*alone));
    let with = windows.iter().flat_map(|(_, with)| within(*with));
    Ok(TenantFigures {
        share: SHARE,
        greedy_rate: (sent as f64 / took).round(),
        greedy_answered: (answered as f64 / took).round(),
        greedy_refusals: refusals,
        failed: ran.failed(),
        alone: Quantiles::of(alone),
        with: Quantiles::of(with),
        ratios,
    })
}

fn latency(sample: &Sample) -> u64 {
    sample.latency_ns
}

async fn window() -> (Instant, Instant) {
    let begin = Instant::now();
    tokio::time::sleep(WINDOW).await;
    (begin, Instant::now())
}

/// Two applications on one node, and their pods: the load of each.
async fn open(site: &Site, images: &Images) -> anyhow::Result<[Pod; 2]> {
    let nodes: Api<Node> = site.cluster.cluster_objects();
    let node = nodes.list(&ListParams::default()).await?.items;
    let node = node.first().context("no nodes")?.name_any();
    let mut modest = example(site, images, NAMESPACE).await?;
    let sidecar = &mut modest.object("IntegrationSidecar")?["spec"];
    sidecar["sharing"] = json!("Node");
    sidecar["tenantLimits"] = json!({"requestsPerSecond": SHARE + SHARE / 10});
    let template = &mut modest.object("Deployment")?["spec"]["template"]["spec"];
    template["nodeSelector"] = json!({"kubernetes.io/hostname": node});
    let greedy = modest.renamed(GREEDY)?;
    let kinds = ["Namespace", "Secret", "IntegrationSidecar", "IntegratedApp"];
    site.cluster.apply(&modest.of_kinds(&kinds)).await?;
    site.cluster
        .apply(&greedy.of_kinds(&["IntegratedApp"]))
        .await?;
    let deployments: Api<Deployment> = site.cluster.objects(NAMESPACE);
    let applications: Api<IntegratedApp> = site.cluster.objects(NAMESPACE);
    for (example, name) in [(&modest, APPLICATION), (&greedy, GREEDY)] {
        cluster::wait(&applications, name, "Ready", PATIENCE, |found| {
            let status = found.status.as_ref();
            status.is_some_and(|status| condition_is(&status.conditions, "Ready", "True"))
        })
        .await?;
        site.cluster
            .apply(&example.of_kinds(&["Deployment"]))
            .await?;
        cluster::wait(&deployments, name, "available", PATIENCE, is_rolled_out).await?;
    }
    let sidecars: Api<IntegrationSidecar> = site.cluster.objects(NAMESPACE);
    cluster::wait(&sidecars, SIDECAR, "one function pod", PATIENCE, |found| {
        let status = found.status.as_ref();
        let pods = status.and_then(|status| status.function_pods.as_ref());
        pods.is_some_and(|pods| (pods.desired, pods.ready) == (1, 1))
    })
    .await?;
    Ok([pod(site, APPLICATION).await?, pod(site, GREEDY).await?])
}

async fn pod(site: &Site, name: &str) -> anyhow::Result<Pod> {
    let pods: Api<Pod> = site.cluster.objects(NAMESPACE);
    let label = format!("app.kubernetes.io/name={name}");
    let mut found = pods.list(&ListParams::default().labels(&label)).await?;
    ensure!(
        found.items.len() == 1,
        "{} pods of {name}",
        found.items.len()
    );
    found.items.pop().context("no pod")
}
