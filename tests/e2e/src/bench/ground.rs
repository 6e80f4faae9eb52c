//! What runs are made on: Outrigger, the images, and one pod whose own container is the load. It
//! takes the place of the checkout example, objects of which it has.

use anyhow::Context;
use serde_json::json;

use crate::database::Database;
use crate::images::{Image, Recipe};
use crate::shop::{self, Shop};
use crate::site::Site;
use crate::{install, project};

/// Namespace, and name of the database, which only the example's Secret is about.
const NAMESPACE: &str = "bench";
/// How long the old slot is kept: 2,000 requests are enough to tell of.
const SOAK_SECONDS: u32 = 1;

/// The images.
#[derive(Clone, Debug)]
pub struct Images {
    /// Of the operator.
    pub operator: Image,
    /// The sidecar and load, the same program under several versions.
    pub bench: Vec<Image>,
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
        })
    }
}

/// A pod with load and sidecar.
#[derive(Debug)]
pub struct Ground {
    /// Its objects.
    pub shop: Shop,
    /// The images to swap to, in turn.
    pub images: Vec<Image>,
}

impl Ground {
    /// Installs Outrigger and makes the pod anew.
    ///
    /// # Errors
    /// When something does not become ready.
    pub async fn open(site: &Site, images: Images) -> anyhow::Result<Ground> {
        install::install(site, &images.operator).await?;
        let patience = std::time::Duration::from_secs(120);
        site.cluster.delete_namespace(NAMESPACE, patience).await?;
        let database = Database::ensure(&site.lab, NAMESPACE).await?;
        let load = images.bench.first().context("no image")?;
        let of_shop = shop::Images {
            checkout: load,
            sidecar: load,
        };
        let mut example = Shop::files(NAMESPACE, of_shop, &database)?;
        let sidecar = &mut example.object("IntegrationSidecar")?["spec"];
        *sidecar = json!({
            "image": load.reference,
            "functions": [{"name": shop::SIDECAR, "custom": {}}],
            "update": {"soakSeconds": SOAK_SECONDS},
            // 10,000 connections have buffers of their own.
            "resources": {
                "requests": {"cpu": "10m", "memory": "32Mi"},
                "limits": {"memory": "512Mi"},
            },
        });
        let app = &mut example.object("IntegratedApp")?["spec"];
        app["sidecars"] = json!([{
            "name": shop::SIDECAR,
            "unixSocket": {"mountInto": [shop::APPLICATION]},
        }]);
        let deployment = &mut example.object("Deployment")?["spec"];
        deployment["replicas"] = json!(1);
        let container = &mut deployment["template"]["spec"]["containers"][0];
        container["args"] = json!(["load"]);
        container["readinessProbe"] = json!({"tcpSocket": {"port": "http"}, "periodSeconds": 2});
        container["resources"] = json!({
            "requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "2Gi"},
        });
        let shop = Shop::open(site, NAMESPACE, &example).await?;
        shop.settled().await?;
        Ok(Ground {
            shop,
            images: images.bench,
        })
    }
}
