//! Side by side: the ways to bring a new version of a sidecar to a running application, under the
//! same load.
//!
//! In the first three the application's container is the load, which reaches its sidecar on
//! localhost. A restart of the Deployment ends the application with its sidecar, so there the load
//! is in a pod of its own and reaches two replicas through their Service, as users do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, Service};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use outrigger_bench::record::Shape;
use outrigger_control::layout;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Ground;
use super::measure::{Load, PAUSE, Ran, Run};
use super::row;
use crate::cluster;
use crate::images::Image;
use crate::install::is_rolled_out;
use crate::observe::{Observer, Totals};
use crate::processes;
use crate::progress::Progress;
use crate::shop::SIDECAR;
use crate::site::Site;

/// Namespace of the ways that are not Outrigger's.
const NAMESPACE: &str = "bench-ways";
/// Name of the Deployment, the Service and the container of the application.
const APPLICATION: &str = "application";
/// Name of the Deployment with the load, where it is not the application.
const CLIENT: &str = "client";
/// Name of the sidecar.
const PROXY: &str = "proxy";
/// Pods of an application that is restarted.
const REPLICAS: u8 = 2;
const PATIENCE: Duration = Duration::from_secs(180);

/// A way to bring a new version of a sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Replacement {
    /// Outrigger's.
    HotSwap,
    /// A second container gets the listening socket; the first one closes its connections.
    PassListener,
    /// Another image for the one container of the sidecar.
    InPlace,
    /// A rolling restart of the Deployment.
    Restart,
}

/// What a way came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WayFigures {
    /// The way.
    pub way: Replacement,
    /// New versions that were brought.
    pub swaps: usize,
    /// Requests in a second that were sent.
    pub rate: f64,
    /// Requests that were sent.
    pub sent: u64,
    /// Requests that were not answered rightly.
    pub failed: u64,
    /// Connections that the other side closed.
    pub closed: u64,
    /// The longest time without an answer.
    pub longest_gap_ms: f64,
    /// Containers of the application that were started anew or replaced.
    pub application_restarts: u64,
    /// Changes of a pod's condition Ready.
    pub ready_transitions: u64,
    /// The most resident memory of all processes of the sidecar, over all pods of the application.
    pub peak_memory_mib: f64,
    /// The time of each, from the patch to the new version in all pods.
    pub seconds: Vec<f64>,
    /// The first failures in words.
    pub failures: Vec<String>,
}

impl Replacement {
    /// All, in the order of the table.
    pub const ALL: [Replacement; 4] = [
        Replacement::HotSwap,
        Replacement::PassListener,
        Replacement::InPlace,
        Replacement::Restart,
    ];

    /// The containers of the sidecar.
    fn containers(self) -> Vec<String> {
        match self {
            Replacement::HotSwap => two(SIDECAR),
            Replacement::PassListener => two(PROXY),
            Replacement::InPlace | Replacement::Restart => vec![PROXY.to_owned()],
        }
    }
}

fn two(name: &str) -> Vec<String> {
    vec![format!("{name}-a"), format!("{name}-b")]
}

/// The load of all ways: kept connections, and every tenth request on a connection of its own.
fn load(target: String) -> Load {
    Load {
        target,
        shape: Shape::Mixed,
        rate: 2000,
        connections: 32,
        idle: 0,
    }
}

fn localhost() -> Load {
    load(format!("127.0.0.1:{}", layout::DEFAULT_FUNCTION_PORT))
}

/// Brings new versions in one way, under load.
///
/// # Errors
/// When one does not arrive, or figures cannot be had.
pub async fn compare(
    site: &Site,
    ground: &Ground,
    way: Replacement,
    swaps: usize,
    progress: &Progress,
) -> anyhow::Result<WayFigures> {
    if way == Replacement::HotSwap {
        let observer = ground.shop.observe().await?;
        let pod = ground.shop.pods().await?.pop().context("no pod")?;
        let run = Run::start(&pod, &localhost()).await?;
        tokio::time::sleep(PAUSE).await;
        let swaps = row::swap(ground, &observer, "hot swap", swaps, progress);
        let (done, peak) = with_peak(&observer, way, swaps).await;
        let seconds = done.map(|done| done.iter().map(|swap| swap.took()).collect());
        return figures(way, run.stop().await?, observer.totals(), peak, seconds?);
    }
    let other = Other::open(site, way, &ground.images).await?;
    let observer = other.observe(APPLICATION).await?;
    let client = match way {
        Replacement::Restart => other.observe(CLIENT).await?.pods(),
        _ => observer.pods(),
    };
    let load = match way {
        Replacement::Restart => load(other.service().await?),
        _ => localhost(),
    };
    let run = Run::start(client.first().context("no pod with the load")?, &load).await?;
    tokio::time::sleep(PAUSE).await;
    let replaced = async {
        let mut seconds = Vec::new();
        for number in 1..=swaps {
            let image = &ground.images[number % ground.images.len()];
            let took = other.replace(&observer, image, number).await?;
            let said = took.as_secs_f64();
            progress.say(format_args!("{way:?}: {number} of {swaps}: {said:.1} s"));
            seconds.push(took);
            tokio::time::sleep(PAUSE).await;
        }
        anyhow::Ok(seconds)
    };
    let (seconds, peak) = with_peak(&observer, way, replaced).await;
    let ran = run.stop().await?;
    let totals = observer.totals();
    site.cluster.delete_namespace(NAMESPACE, PATIENCE).await?;
    figures(way, ran, totals, peak, seconds?)
}

fn figures(
    way: Replacement,
    ran: Ran,
    totals: Totals,
    peak: u64,
    seconds: Vec<Duration>,
) -> anyhow::Result<WayFigures> {
    let rounded = |value: f64| (value * 10.0).round() / 10.0;
    Ok(WayFigures {
        way,
        swaps: seconds.len(),
        rate: rounded(ran.rate()),
        sent: ran.outcome.sent,
        failed: ran.failed(),
        closed: ran.outcome.closed,
        longest_gap_ms: rounded(ran.longest_gap_ns() as f64 / 1e6),
        application_restarts: totals.primary_restarts.max(totals.container_ids_changed),
        ready_transitions: totals.ready_transitions,
        peak_memory_mib: rounded(peak as f64 / f64::from(1 << 20)),
        seconds: seconds
            .iter()
            .map(|took| rounded(took.as_secs_f64()))
            .collect(),
        failures: ran.first_failures(),
    })
}

/// Awaits something, and tells the most memory in bytes that the sidecar's processes had meanwhile.
async fn with_peak<T>(
    observer: &Observer,
    way: Replacement,
    act: impl Future<Output = T>,
) -> (T, u64) {
    let peak = AtomicU64::new(0);
    let names = way.containers();
    let look = async {
        loop {
            peak.fetch_max(resident(&observer.pods(), &names), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::select! {
        biased;
        done = act => (done, peak.load(Ordering::Relaxed)),
        () = look => unreachable!("it looks until the end"),
    }
}

fn resident(pods: &[Pod], names: &[String]) -> u64 {
    let statuses = pods.iter().flat_map(sidecars);
    let own = statuses.filter(|status| names.contains(&status.name));
    // A container that is being replaced has no process.
    let processes = own.flat_map(|status| processes::of(status).unwrap_or_default());
    processes.filter_map(|process| process.resident()).sum()
}

fn sidecars(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| status.init_container_statuses.iter().flatten())
}

/// An application whose sidecar is replaced without Outrigger.
struct Other<'a> {
    site: &'a Site,
    way: Replacement,
}

impl Other<'_> {
    async fn open<'a>(
        site: &'a Site,
        way: Replacement,
        images: &[Image],
    ) -> anyhow::Result<Other<'a>> {
        let image = images.first().context("no image")?;
        site.cluster.delete_namespace(NAMESPACE, PATIENCE).await?;
        let other = Other { site, way };
        let (replicas, clients) = match way {
            Replacement::Restart => (REPLICAS, 1),
            _ => (1, 0),
        };
        let names = way.containers();
        site.cluster
            .apply(&[
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
                service(),
                deployment(APPLICATION, image, replicas, &names),
                deployment(CLIENT, image, clients, &[]),
            ])
            .await?;
        for name in [APPLICATION, CLIENT] {
            let api = other.deployments();
            cluster::wait(&api, name, "available", PATIENCE, |found| {
                found.status.is_some() && (is_rolled_out(found) || clients == 0 && name == CLIENT)
            })
            .await?;
        }
        Ok(other)
    }

    fn deployments(&self) -> Api<Deployment> {
        self.site.cluster.objects(NAMESPACE)
    }

    async fn observe(&self, name: &str) -> anyhow::Result<Observer> {
        let selector = format!("app={name}");
        let pods = self.site.cluster.objects(NAMESPACE);
        Observer::start(pods, &selector, PROXY, PATIENCE).await
    }

    /// The address of the application's Service.
    async fn service(&self) -> anyhow::Result<String> {
        let api: Api<Service> = self.site.cluster.objects(NAMESPACE);
        let spec = api.get(APPLICATION).await?.spec;
        let address = spec
            .and_then(|spec| spec.cluster_ip)
            .context("no address")?;
        Ok(format!("{address}:{}", layout::DEFAULT_FUNCTION_PORT))
    }

    /// Brings an image to all pods, waits until it runs there, and tells how long that took. What is
    /// left of pods that were replaced has gone by then.
    async fn replace(
        &self,
        observer: &Observer,
        image: &Image,
        number: usize,
    ) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        // Kubelet waits before it starts a container again with the same image string.
        let image = format!("{}:{number}@{}", image.repository(), image.digest);
        let index = match self.way {
            Replacement::PassListener => (number + 1) % 2,
            _ => 0,
        };
        if self.way == Replacement::Restart {
            let init = json!([{"name": PROXY, "image": image}]);
            let change = json!({"spec": {"template": {"spec": {"initContainers": init}}}});
            let api = self.deployments();
            api.patch(
                APPLICATION,
                &PatchParams::default(),
                &Patch::Strategic(change),
            )
            .await?;
            let what = "its new pods";
            cluster::wait(&api, APPLICATION, what, PATIENCE, is_rolled_out).await?;
            let took = begin.elapsed();
            let left = observer.wait("no former pods", PATIENCE, |record| {
                (record.pods().len() == usize::from(REPLICAS)).then_some(())
            });
            left.await?;
            return Ok(took);
        }
        let name = &self.way.containers()[index];
        let pod = observer.pods().pop().context("no pod")?;
        let before = id(&pod, name);
        let init = json!([{"name": name, "image": image}]);
        let change = Patch::Strategic(json!({"spec": {"initContainers": init}}));
        let pods: Api<Pod> = self.site.cluster.objects(NAMESPACE);
        pods.patch(&pod.name_any(), &PatchParams::default(), &change)
            .await?;
        let runs = |pod: &Pod| {
            let now = id(pod, name);
            now.is_some() && now != before && is_ready(pod)
        };
        observer
            .wait("the new container", PATIENCE, |record| {
                record.pods().iter().all(runs).then_some(())
            })
            .await?;
        Ok(begin.elapsed())
    }
}

/// The ID of a container that runs.
fn id(pod: &Pod, name: &str) -> Option<String> {
    let status = sidecars(pod).find(|status| status.name == name)?;
    let runs = status.state.as_ref()?.running.is_some();
    runs.then(|| status.container_id.clone())?
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    let mut conditions = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|found| found.type_ == "Ready" && found.status == "True")
}

fn service() -> Value {
    let port = layout::DEFAULT_FUNCTION_PORT;
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": APPLICATION, "namespace": NAMESPACE},
        "spec": {"selector": {"app": APPLICATION}, "ports": [{"port": port}]},
    })
}

/// A Deployment of the load's container, with sidecars of some names.
fn deployment(name: &str, image: &Image, replicas: u8, sidecars: &[String]) -> Value {
    let port = layout::DEFAULT_FUNCTION_PORT;
    // As is usual where requests may still come while a Service forgets the pod.
    let stop = json!({"preStop": {"sleep": {"seconds": 3}}});
    let sidecars: Vec<_> = sidecars
        .iter()
        .map(|name| {
            let mut sidecar = json!({
                "name": name, "image": image.reference, "args": ["successor"],
                "restartPolicy": "Always",
                "env": [{"name": "OUTRIGGER_SHARED_DIR", "value": "/shared"}],
                "volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
                "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
            });
            if replicas > 1 {
                sidecar["readinessProbe"] =
                    json!({"tcpSocket": {"port": port}, "periodSeconds": 1});
            }
            sidecar
        })
        .collect();
    let mut application = json!({
        "name": APPLICATION, "image": image.reference, "args": ["load"],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
    });
    if replicas > 1 {
        application["lifecycle"] = stop;
    }
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "automountServiceAccountToken": false,
                    "terminationGracePeriodSeconds": 30,
                    "securityContext": {"fsGroup": 65532},
                    "initContainers": sidecars,
                    "containers": [application],
                    "volumes": [{"name": "shared", "emptyDir": {}}],
                },
            },
        },
    })
}
