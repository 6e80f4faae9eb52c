//! What runs are made on: Outrigger, the images, and one pod whose own container is the load. It
//! takes the place of the checkout example, objects of which it has.

use std::time::Duration;

use anyhow::{Context, ensure};
use outrigger_bench::function::ENV_ABORT_AFTER;
use serde_json::{Value, json};

use crate::database::Database;
use crate::example::Example;
use crate::images::{Image, Recipe};
use crate::shop::{self, Shop};
use crate::site::Site;
use crate::{install, project};

/// Namespace, and name of the database, which only the example's Secret is about.
const NAMESPACE: &str = "bench";
/// How long the old slot is kept: 2,000 requests are enough to tell of.
const SOAK_SECONDS: u32 = 1;
/// Seconds after which a worker of the bad image aborts: when the first pods soak.
const ABORT_AFTER: u32 = 20;
/// Longest time for a namespace to go.
const PATIENCE: Duration = Duration::from_secs(120);

/// The images.
#[derive(Clone, Debug)]
pub struct Images {
    /// Of the operator.
    pub operator: Image,
    /// The sidecar and load, the same program under several versions.
    pub bench: Vec<Image>,
    /// The sidecar, whose worker aborts some seconds after each start.
    pub aborting: Image,
}

impl Images {
    /// Builds and pushes what is missing.
    ///
    /// # Errors
    /// When a program has not been built.
    pub async fn ensure(site: &Site) -> anyhow::Result<Images> {
        let operator = Recipe::product("operator", project::VERSION)?;
        let mut bench = Vec::new();
        for number in 1..=3 {
            let version = format!("{}-bench.{number}", project::VERSION);
            let recipe = Recipe::product("bench", &version)?;
            bench.push(site.images.ensure(&recipe).await?);
        }
        Ok(Images {
            operator: site.images.ensure(&operator).await?,
            bench,
            aborting: site.images.ensure(&aborting()?).await?,
        })
    }
}

fn aborting() -> anyhow::Result<Recipe> {
    let recipe = Recipe::product("bench", &format!("{}-bench.aborting", project::VERSION))?;
    let stage = "FROM scratch AS bench\n";
    let aborting = format!("{stage}ENV {ENV_ABORT_AFTER}={ABORT_AFTER}\n");
    ensure!(recipe.dockerfile.contains(stage), "no stage bench");
    Ok(Recipe {
        dockerfile: recipe.dockerfile.replacen(stage, &aborting, 1),
        ..recipe
    })
}

/// A pod with load and sidecar, or many of them.
#[derive(Debug)]
pub struct Ground {
    /// Its objects.
    pub shop: Shop,
    /// The images to swap to, in turn.
    pub images: Vec<Image>,
}

impl Ground {
    /// Installs Outrigger and makes the pod anew, with parameters of its function.
    ///
    /// # Errors
    /// When something does not become ready.
    pub async fn open(site: &Site, images: Images, parameters: Value) -> anyhow::Result<Ground> {
        let update = json!({"soakSeconds": SOAK_SECONDS});
        Ground::with(site, images, parameters, 1, update).await
    }

    /// The same with so many pods, and rules of their update.
    ///
    /// # Errors
    /// When something does not become ready.
    pub async fn with(
        site: &Site,
        images: Images,
        parameters: Value,
        pods: u8,
        update: Value,
    ) -> anyhow::Result<Ground> {
        let mut example = example(site, &images, NAMESPACE).await?;
        let sidecar = &mut example.object("IntegrationSidecar")?["spec"];
        sidecar["functions"][0]["custom"] = parameters;
        sidecar["update"] = update;
        let app = &mut example.object("IntegratedApp")?["spec"];
        app["sidecars"][0]["unixSocket"] = json!({"mountInto": [shop::APPLICATION]});
        example.object("Deployment")?["spec"]["replicas"] = json!(pods);
        let shop = Shop::open(site, NAMESPACE, &example).await?;
        shop.settled().await?;
        Ok(Ground {
            shop,
            images: images.bench,
        })
    }
}

/// Installs Outrigger, empties a namespace, and gives the objects of one pod of the load with the
/// sidecar.
pub(super) async fn example(
    site: &Site,
    images: &Images,
    namespace: &str,
) -> anyhow::Result<Example> {
    install::install(site, &images.operator).await?;
    site.cluster.delete_namespace(namespace, PATIENCE).await?;
    let database = Database::ensure(&site.lab, namespace).await?;
    let load = images.bench.first().context("no image")?;
    let of_shop = shop::Images {
        checkout: load,
        sidecar: load,
    };
    let mut example = Shop::files(namespace, of_shop, &database)?;
    example.object("IntegrationSidecar")?["spec"] = json!({
        "image": load.reference,
        "functions": [{"name": shop::SIDECAR, "custom": {}}],
        // 10,000 connections have buffers of their own.
        "resources": {
            "requests": {"cpu": "10m", "memory": "32Mi"},
            "limits": {"memory": "512Mi"},
        },
    });
    let app = &mut example.object("IntegratedApp")?["spec"];
    app["sidecars"] = json!([{"name": shop::SIDECAR}]);
    let deployment = &mut example.object("Deployment")?["spec"];
    deployment["replicas"] = json!(1);
    let container = &mut deployment["template"]["spec"]["containers"][0];
    container["args"] = json!(["load"]);
    container["readinessProbe"] = json!({"tcpSocket": {"port": "http"}, "periodSeconds": 2});
    container["resources"] = json!({
        "requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "2Gi"},
    });
    Ok(example)
}
