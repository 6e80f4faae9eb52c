//! The checkout example in the cluster.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};
use outrigger_api::conditions::{READY, STALLED};
use outrigger_api::{IntegratedApp, IntegrationSidecar};
use outrigger_control::Slot;
use serde_json::json;

use crate::cluster::{self, Cluster};
use crate::database::{Database, HOST};
use crate::example::Example;
use crate::images::Image;
use crate::install::is_rolled_out;
use crate::load::{Load, Orders, Settings};
use crate::observe::Observer;
use crate::site::Site;
use crate::slots;
use crate::swap::Swap;

/// Name of the Deployment, the Service and the IntegratedApp.
pub const APPLICATION: &str = "checkout";
/// Name of the IntegrationSidecar and of its function.
pub const SIDECAR: &str = "orders";
/// Labels of the application's pods.
pub const SELECTOR: &str = "app.kubernetes.io/name=checkout";
/// Port of the application.
pub const PORT: u16 = 8080;
/// Name of the Secret with the database's password.
const SECRET: &str = "orders-postgres";

const PATIENCE: Duration = Duration::from_secs(120);
/// Longest time for one swap of all pods.
const SWAP_PATIENCE: Duration = Duration::from_secs(240);

/// The example in one namespace.
#[derive(Clone, Debug)]
pub struct Shop {
    cluster: Cluster,
    namespace: String,
}

/// The images that it runs.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    /// Of the application.
    pub checkout: &'a Image,
    /// Of the sidecar.
    pub sidecar: &'a Image,
}

impl Shop {
    /// The example's files with what a cluster of one's own asks for: images and a database.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn files(
        namespace: &str,
        images: Images<'_>,
        database: &Database,
    ) -> anyhow::Result<Example> {
        let mut example = Example::read("checkout")?.into_namespace(namespace)?;
        *example.object("Secret")? = database.secret(namespace, SECRET)?;
        let sidecar = example.object("IntegrationSidecar")?;
        sidecar["spec"]["image"] = json!(images.sidecar.reference);
        let store = &mut sidecar["spec"]["store"]["postgresql"];
        store["database"] = json!(database.name());
        ensure!(store["host"] == HOST, "the example's database is {store}");
        let deployment = example.object("Deployment")?;
        let container = &mut deployment["spec"]["template"]["spec"]["containers"][0];
        container["image"] = json!(images.checkout.reference);
        Ok(example)
    }

    /// The example that runs in a namespace.
    pub fn at(site: &Site, namespace: &str) -> Shop {
        Shop {
            cluster: site.cluster.clone(),
            namespace: namespace.to_owned(),
        }
    }

    /// Applies the example and waits until all its pods serve with their sidecars.
    ///
    /// # Errors
    /// When something of it does not become ready.
    pub async fn open(site: &Site, namespace: &str, example: &Example) -> anyhow::Result<Shop> {
        let shop = Shop::at(site, namespace);
        let workload = ["Deployment", "Service"];
        let (first, last): (Vec<_>, Vec<_>) = example
            .objects()
            .iter()
            .cloned()
            .partition(|object| !workload.iter().any(|kind| object["kind"] == **kind));
        shop.cluster.apply(&first).await?;
        // From here on new pods get their sidecars.
        shop.application_ready().await?;
        shop.cluster.apply(&last).await?;
        shop.rolled_out().await?;
        Ok(shop)
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The pods of the namespace.
    pub fn pods_api(&self) -> Api<Pod> {
        self.cluster.objects(&self.namespace)
    }

    /// The IntegrationSidecars of the namespace.
    pub fn sidecars(&self) -> Api<IntegrationSidecar> {
        self.cluster.objects(&self.namespace)
    }

    /// The IntegratedApps of the namespace.
    pub fn applications(&self) -> Api<IntegratedApp> {
        self.cluster.objects(&self.namespace)
    }

    /// The application's pods, all of them ready with both slots running.
    ///
    /// # Errors
    /// When they do not become so.
    pub async fn pods(&self) -> anyhow::Result<Vec<Pod>> {
        let deployments: Api<Deployment> = self.cluster.objects(&self.namespace);
        let wanted = deployments.get(APPLICATION).await?;
        let wanted = wanted.spec.and_then(|spec| spec.replicas).unwrap_or(1);
        let pods = self.pods_api();
        cluster::wait_all(&pods, SELECTOR, "pods with sidecars", PATIENCE, |pods| {
            i32::try_from(pods.len()).is_ok_and(|count| count == wanted)
                && pods.iter().all(is_serving)
        })
        .await
    }

    /// Waits until the IntegratedApp is Ready.
    ///
    /// # Errors
    /// When it does not become so.
    pub async fn application_ready(&self) -> anyhow::Result<IntegratedApp> {
        let api = self.applications();
        cluster::wait(&api, APPLICATION, "Ready", PATIENCE, |app| {
            app.status.as_ref().is_some_and(|status| {
                status.observed_generation == app.metadata.generation
                    && condition_is(&status.conditions, READY, "True")
            })
        })
        .await
    }

    /// Waits until the Deployment runs as its template says.
    ///
    /// # Errors
    /// When it does not.
    pub async fn rolled_out(&self) -> anyhow::Result<()> {
        let api: Api<Deployment> = self.cluster.objects(&self.namespace);
        cluster::wait(&api, APPLICATION, "available", PATIENCE, is_rolled_out).await?;
        self.pods().await.map(drop)
    }

    /// Waits until the IntegrationSidecar says that all pods have the image of its spec.
    ///
    /// # Errors
    /// When it is stalled, with its message, or not done in time.
    pub async fn settled(&self) -> anyhow::Result<IntegrationSidecar> {
        let api = self.sidecars();
        let found = cluster::wait(&api, SIDECAR, "a complete swap", SWAP_PATIENCE, |found| {
            is_settled(found) || stalled(found).is_some()
        })
        .await?;
        match stalled(&found) {
            Some(message) => bail!("IntegrationSidecar {SIDECAR} is stalled: {message}"),
            None => Ok(found),
        }
    }

    /// Waits until the condition Ready of the IntegrationSidecar has a reason, and gives its message.
    ///
    /// # Errors
    /// When it does not get it.
    pub async fn says(&self, reason: &str) -> anyhow::Result<String> {
        let message = |found: &IntegrationSidecar| {
            let status = found.status.as_ref()?;
            let mut conditions = status.conditions.iter();
            let ready = conditions.find(|found| found.type_ == READY && found.reason == reason)?;
            (status.observed_generation == found.metadata.generation).then(|| ready.message.clone())
        };
        let api = self.sidecars();
        let what = format!("reason {reason}");
        let found = cluster::wait(&api, SIDECAR, &what, PATIENCE, |found| {
            message(found).is_some()
        });
        message(&found.await?).context("it has gone")
    }

    /// Changes the rules of the update; as `kubectl patch` does.
    ///
    /// # Errors
    /// In the API server's words.
    pub async fn set_update(&self, update: serde_json::Value) -> anyhow::Result<()> {
        let change = json!({"spec": {"update": update}});
        cluster::merge(&self.sidecars(), SIDECAR, &change)
            .await
            .map(drop)
    }

    /// Asks for another number of pods, and waits until they all serve.
    ///
    /// # Errors
    /// When they do not.
    pub async fn scale(&self, replicas: u8) -> anyhow::Result<()> {
        let api: Api<Deployment> = self.cluster.objects(&self.namespace);
        let change = json!({"spec": {"replicas": replicas}});
        cluster::merge(&api, APPLICATION, &change).await?;
        self.rolled_out().await
    }

    /// Asks for another image; as `kubectl patch` does.
    ///
    /// # Errors
    /// In the API server's words.
    pub async fn set_image(&self, image: &str) -> anyhow::Result<IntegrationSidecar> {
        let change = json!({"spec": {"image": image}});
        cluster::merge(&self.sidecars(), SIDECAR, &change).await
    }

    /// Asks for another image, and waits until every pod has it in both slots.
    ///
    /// # Errors
    /// When that does not come about.
    pub async fn swap(&self, to: &Image, observer: &Observer) -> anyhow::Result<Swap> {
        let from = self.sidecars().get(SIDECAR).await?.spec.image;
        let begin = Instant::now();
        self.set_image(&to.reference).await?;
        self.settled().await?;
        // The last change may be known to the IntegrationSidecar before the watch over pods.
        let patience = Duration::from_secs(10);
        observer
            .wait("the new image in both slots", patience, |record| {
                has_image(&record.pods(), to).ok()
            })
            .await
            .with_context(|| format!("after the swap to {}", to.reference))?;
        let end = Instant::now();
        let seen = observer.phases();
        Ok(Swap::new(from, to.reference.clone(), begin, end, &seen))
    }

    /// Watches the application's pods.
    ///
    /// # Errors
    /// When the API server does not show them.
    pub async fn observe(&self) -> anyhow::Result<Observer> {
        Observer::start(self.pods_api(), SELECTOR, SIDECAR, PATIENCE).await
    }

    /// Sends orders to all pods, in an open loop, over connections that are kept.
    ///
    /// # Errors
    /// When the pods are not ready.
    pub async fn load(&self, rate: u32, orders: &Orders) -> anyhow::Result<Load> {
        let settings = Settings {
            targets: self.targets().await?,
            rate,
            connections: 32,
        };
        Ok(Load::start(settings, orders.clone()))
    }

    /// The addresses of the application's pods.
    ///
    /// # Errors
    /// When the pods are not ready.
    pub async fn targets(&self) -> anyhow::Result<Vec<SocketAddr>> {
        let pods = self.pods().await?;
        let addresses = pods
            .iter()
            .map(|pod| Ok((slots::address(pod)?, PORT).into()));
        addresses.collect()
    }

    /// How many connections of the application its sidecar has ended, by the application's own
    /// count.
    ///
    /// # Errors
    /// When a pod does not tell.
    pub async fn sidecar_connections_closed(&self) -> anyhow::Result<u64> {
        const NAME: &str = "checkout_sidecar_connections_closed_total ";
        let mut sum = 0;
        for target in self.targets().await? {
            let text = crate::fetch::get(&format!("http://{target}/metrics")).await?;
            let text = text.text();
            let value = text.lines().find_map(|line| line.strip_prefix(NAME));
            let value = value.with_context(|| format!("{target} has no {NAME}in {text}"))?;
            sum += value.trim().parse::<u64>()?;
        }
        Ok(sum)
    }
}

/// Whether every slot runs an image by its digest.
///
/// # Errors
/// With the first slot that does not.
pub fn has_image(pods: &[Pod], image: &Image) -> anyhow::Result<()> {
    ensure!(!pods.is_empty(), "there are no pods");
    for pod in pods {
        for slot in Slot::BOTH {
            let found = slots::image(pod, SIDECAR, slot)?;
            let container = slots::container(pod, SIDECAR, slot)?;
            let state = container.state.as_ref();
            let runs = state.is_some_and(|state| state.running.is_some());
            let name = format!("{}/{}", pod.name_any(), slot.container(SIDECAR));
            // New pods have the image as it is written until it has been tried.
            ensure!(
                found.ends_with(&image.digest) || found == image.reference,
                "{name} is to run {found}, not {}",
                image.digest
            );
            ensure!(
                runs && container.image_id.contains(&image.digest),
                "{name} runs {} (state {state:?}), not {}",
                container.image_id,
                image.digest
            );
        }
    }
    Ok(())
}

/// Whether a condition has a status.
pub fn condition_is(
    conditions: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition],
    kind: &str,
    status: &str,
) -> bool {
    conditions
        .iter()
        .any(|found| found.type_ == kind && found.status == status)
}

/// The message of a stalled IntegrationSidecar whose status is about its newest spec.
pub fn stalled(sidecar: &IntegrationSidecar) -> Option<String> {
    let status = sidecar.status.as_ref()?;
    let mut conditions = status.conditions.iter();
    let found = conditions.find(|found| found.type_ == STALLED && found.status == "True")?;
    (found.observed_generation.or(status.observed_generation) == sidecar.metadata.generation)
        .then(|| format!("{}: {}", found.reason, found.message))
}

/// Whether all pods have the image of the newest spec.
pub fn is_settled(sidecar: &IntegrationSidecar) -> bool {
    sidecar.status.as_ref().is_some_and(|status| {
        let current = status.current_revision.as_ref();
        status.observed_generation == sidecar.metadata.generation
            && condition_is(&status.conditions, READY, "True")
            && status.update_revision.is_none()
            && current.is_some_and(|revision| revision.image == sidecar.spec.image)
            && status
                .pods
                .as_ref()
                .is_some_and(|pods| pods.updated + pods.job_counts_restarts == pods.total)
    })
}

fn is_serving(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let ready = conditions.is_some_and(|all| {
        all.iter()
            .any(|found| found.type_ == "Ready" && found.status == "True")
    });
    let slots_run = Slot::BOTH.into_iter().all(|slot| {
        let status = slots::container(pod, SIDECAR, slot);
        status.is_ok_and(|status| status.ready)
    });
    ready && slots_run && pod.metadata.deletion_timestamp.is_none()
}
