use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use outrigger_control::layout::{APPLICATION_LABEL, SHARED_LABEL};
use outrigger_injection::Settings;
use outrigger_lookup::{Feed, Lookup, Mirror};
use outrigger_runtime::{Backoff, Backoffs};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Metrics;
use crate::application::Repairs;
use crate::cluster::{Cluster, ClusterFeeds};
use crate::dataset::{HdfsAccess, Locations};
use crate::events::Events;
use crate::metrics::Controller;
use crate::placement::Standings;
use crate::published::Published;
use crate::sharing::Sharings;

/// Label of everything that the operator creates, with the value [`MANAGER`].
pub(crate) const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY_LABEL`].
pub(crate) const MANAGER: &str = "outrigger";
/// Label of the ConfigMaps with documents, and of the Services of shared sidecars: the sidecar.
pub(crate) const SIDECAR_LABEL: &str = "outrigger.dev/sidecar";

/// The hash of the document of each sidecar that an application uses, by the name of the sidecar.
pub(crate) type Configuration = BTreeMap<String, String>;

/// What the controllers are given.
pub struct Setup {
    /// Client of the cluster.
    pub client: Client,
    /// The IntegratedApps, IntegrationSidecars and Datasets, whose reflectors run.
    pub lookup: Arc<Lookup>,
    /// What the operator's flags say about slots; the injector has the same.
    pub settings: Settings,
    /// Image of the containers that hold function pods: the operator's own.
    pub holder_image: String,
    /// The namespaces whose new pods the API server sends to the webhook.
    pub covered: watch::Receiver<BTreeSet<String>>,
    /// Which addresses Datasets may lead to.
    pub hdfs: HdfsAccess,
    /// Name of this replica, for events.
    pub instance: String,
    /// What the controllers count.
    pub metrics: Metrics,
}

/// What all controllers work with.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) lookup: Arc<Lookup>,
    pub(crate) settings: Settings,
    pub(crate) holder_image: String,
    pub(crate) covered: watch::Receiver<BTreeSet<String>>,
    pub(crate) events: Events,
    pub(crate) metrics: Metrics,
    /// Failures in a row of each controller with an object, by its UID; of placement by an
    /// application's namespace and name.
    pub(crate) backoffs: Backoffs<(Controller, String)>,
    /// The pods with the label [`APPLICATION_LABEL`].
    pub(crate) pods: Mirror<Pod>,
    /// The pods with the label [`SHARED_LABEL`].
    pub(crate) function_pods: Mirror<Pod>,
    /// The ConfigMaps that hold documents.
    pub(crate) config_maps: Mirror<ConfigMap>,
    /// Nodes, volumes and all pods, once somebody has data.
    pub(crate) cluster: Cluster,
    /// Where the bytes of Datasets are.
    pub(crate) locations: Locations,
    /// What is remembered of pods that are evicted to be created anew.
    pub(crate) repairs: Repairs,
    /// How it stands with the pods of applications with data.
    pub(crate) standings: Standings,
    /// How it stands with the function pods of shared sidecars.
    pub(crate) sharings: Sharings,
    /// The configuration of each application that is valid, by namespace and name.
    pub(crate) configurations: Published<(String, String), Configuration>,
}

/// Keeps the mirrors of a [`Context`] current.
pub(crate) struct Feeds {
    pods: Feed<Pod>,
    function_pods: Feed<Pod>,
    config_maps: Feed<ConfigMap>,
    cluster: ClusterFeeds,
}

impl Context {
    /// With what has to run beside it.
    pub(crate) fn new(setup: Setup) -> (Arc<Context>, Feeds) {
        let Setup {
            client,
            lookup,
            settings,
            holder_image,
            covered,
            hdfs: _,
            instance,
            metrics,
        } = setup;
        let (pods, pods_feed) = Mirror::new();
        let (function_pods, function_pods_feed) = Mirror::new();
        let (config_maps, config_maps_feed) = Mirror::new();
        let (cluster, cluster_feeds) = Cluster::new();
        let context = Context {
            events: Events::new(client.clone(), instance),
            client,
            lookup,
            settings,
            holder_image,
            covered,
            metrics,
            backoffs: Backoffs::new(Backoff::default()),
            pods,
            function_pods,
            config_maps,
            cluster,
            locations: Locations::default(),
            repairs: Repairs::default(),
            standings: Standings::default(),
            sharings: Sharings::default(),
            configurations: Published::default(),
        };
        let feeds = Feeds {
            pods: pods_feed,
            function_pods: function_pods_feed,
            config_maps: config_maps_feed,
            cluster: cluster_feeds,
        };
        (Arc::new(context), feeds)
    }

    /// Waits until everything that is mirrored for every cluster is known; whether that came before
    /// the end.
    pub(crate) async fn synced(&self) -> bool {
        self.pods_synced().await
            && self.function_pods.synced().await
            && self.config_maps.synced().await
    }

    /// Waits until all applications, and the pods that have their label, are known; whether that
    /// came before the end.
    pub(crate) async fn pods_synced(&self) -> bool {
        self.lookup.synced().await && self.pods.synced().await
    }
}

impl Feeds {
    /// Follows the cluster until `stop`.
    pub(crate) async fn run(self, client: Client, lookup: Arc<Lookup>, stop: CancellationToken) {
        let labelled = watcher::Config::default().labels(APPLICATION_LABEL);
        let pods = watcher::watcher(Api::<Pod>::all(client.clone()), labelled)
            .modify(|pod| pod.managed_fields_mut().clear());
        let shared = watcher::Config::default().labels(SHARED_LABEL);
        let function_pods = watcher::watcher(Api::<Pod>::all(client.clone()), shared)
            .modify(|pod| pod.managed_fields_mut().clear());
        let ours = format!("{MANAGED_BY_LABEL}={MANAGER},{SIDECAR_LABEL}");
        let ours = watcher::Config::default().labels(&ours);
        let config_maps = watcher::watcher(Api::<ConfigMap>::all(client.clone()), ours)
            .modify(|config_map| config_map.managed_fields_mut().clear());
        tokio::join!(
            self.pods.run(pods, stop.clone()),
            self.function_pods.run(function_pods, stop.clone()),
            self.config_maps.run(config_maps, stop.clone()),
            self.cluster.run(client, lookup, stop),
        );
    }
}
