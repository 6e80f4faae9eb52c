use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, LimitRange, ResourceQuota};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{ListParams, PartialObjectMeta};
use kube::{Api, Client, Resource, ResourceExt};
use outrigger_api::{Dataset, IntegratedApp, IntegrationSidecar};
use outrigger_injection::NamespaceRules;
use outrigger_plan::{Owners, Referenced, config_map_names};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::remembered::Remembered;
use crate::{LookupError, Mirror, Reflectors};

/// Many pods are created at once, and quotas and limit ranges seldom change.
const RULES_LAST: Duration = Duration::from_secs(5);
/// A ReplicaSet or Job has the controller that created it, but for rare adoptions.
const OWNERS_LAST: Duration = Duration::from_secs(60);

/// Asks the cluster: our own kinds from memory, the rest by calls.
pub struct Lookup {
    client: Client,
    applications: Mirror<IntegratedApp>,
    sidecars: Mirror<IntegrationSidecar>,
    datasets: Mirror<Dataset>,
    namespaces: watch::Receiver<Option<BTreeSet<String>>>,
    rules: Remembered<NamespaceRules>,
    /// The controllers of ReplicaSets and Jobs, by all that a reference to those says.
    controllers: Remembered<Option<OwnerReference>>,
}

impl Lookup {
    /// Knows nothing until the reflectors run.
    pub fn new(client: Client) -> (Arc<Lookup>, Reflectors) {
        let (applications, applications_feed) = Mirror::new();
        let (sidecars, sidecars_feed) = Mirror::new();
        let (datasets, datasets_feed) = Mirror::new();
        let (sender, namespaces) = watch::channel(None);
        let reflectors = Reflectors {
            client: client.clone(),
            applications: (applications.clone(), applications_feed),
            sidecars: sidecars_feed,
            datasets: datasets_feed,
            namespaces: sender,
        };
        let lookup = Arc::new(Lookup {
            client,
            applications,
            sidecars,
            datasets,
            namespaces,
            rules: Remembered::new(RULES_LAST),
            controllers: Remembered::new(OWNERS_LAST),
        });
        (lookup, reflectors)
    }

    /// The IntegratedApps of all namespaces.
    pub fn applications(&self) -> &Mirror<IntegratedApp> {
        &self.applications
    }

    /// The IntegrationSidecars of all namespaces.
    pub fn sidecars(&self) -> &Mirror<IntegrationSidecar> {
        &self.sidecars
    }

    /// The Datasets of all namespaces.
    pub fn datasets(&self) -> &Mirror<Dataset> {
        &self.datasets
    }

    /// The namespaces with an IntegratedApp; `None` until they are known.
    pub fn namespaces(&self) -> watch::Receiver<Option<BTreeSet<String>>> {
        self.namespaces.clone()
    }

    /// Waits until all IntegratedApps, IntegrationSidecars and Datasets are known; whether that
    /// came before the reflectors ended.
    pub async fn synced(&self) -> bool {
        self.applications.synced().await
            && self.sidecars.synced().await
            && self.datasets.synced().await
    }

    /// The objects that applications of a namespace refer to, each read once. Those that do not
    /// exist are absent.
    pub async fn referenced<'a>(
        &self,
        namespace: &str,
        applications: impl IntoIterator<Item = &'a IntegratedApp>,
    ) -> Result<Referenced, LookupError> {
        let mut referenced = Referenced::default();
        let mut config_maps = BTreeSet::new();
        let sidecars = applications
            .into_iter()
            .flat_map(|application| &application.spec.sidecars);
        for usage in sidecars {
            if let Some(sidecar) = self.sidecars.get(namespace, &usage.name) {
                config_maps.extend(config_map_names(&sidecar).into_iter().map(str::to_owned));
                let sidecar = Arc::unwrap_or_clone(sidecar);
                referenced.sidecars.insert(usage.name.clone(), sidecar);
            }
        }
        let reads = config_maps
            .into_iter()
            .map(|name| self.config_map(namespace, name));
        referenced.config_maps = futures::future::try_join_all(reads)
            .await?
            .into_iter()
            .filter_map(|(name, found)| Some((name, found?.data.unwrap_or_default())))
            .collect();
        Ok(referenced)
    }

    async fn config_map(
        &self,
        namespace: &str,
        name: String,
    ) -> Result<(String, Option<ConfigMap>), LookupError> {
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), namespace);
        match api.get_opt(&name).await {
            Ok(found) => Ok((name, found)),
            Err(error) => Err(LookupError {
                what: format!("ConfigMap {namespace}/{name}"),
                error,
            }),
        }
    }

    /// The owners of an object in a namespace, by its owner references.
    pub async fn owners(
        &self,
        namespace: &str,
        references: &[OwnerReference],
    ) -> Result<Owners, LookupError> {
        let mut owners = Owners {
            direct: Owners::controller(references).cloned(),
            indirect: None,
        };
        if owners.has_intermediary()
            && let Some(direct) = &owners.direct
        {
            owners.indirect = match direct.kind.as_str() {
                "ReplicaSet" => self.controller_of::<ReplicaSet>(namespace, direct).await?,
                _ => self.controller_of::<Job>(namespace, direct).await?,
            };
        }
        Ok(owners)
    }

    /// The controller of an object that is itself a controller of pods.
    async fn controller_of<K>(
        &self,
        namespace: &str,
        owner: &OwnerReference,
    ) -> Result<Option<OwnerReference>, LookupError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + Debug,
    {
        // By name too: whoever creates a pod may write any UID beside any name.
        let question = [owner.kind.as_str(), namespace, &owner.name, &owner.uid].join("/");
        if let Some(known) = self.controllers.get(&question) {
            return Ok(known);
        }
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        let found: Option<PartialObjectMeta<K>> =
            api.get_metadata_opt(&owner.name)
                .await
                .map_err(|error| LookupError {
                    what: format!("{} {namespace}/{}", owner.kind, owner.name),
                    error,
                })?;
        let same = found.filter(|found| found.uid().as_ref() == Some(&owner.uid));
        let controller =
            same.and_then(|found| Owners::controller(found.owner_references()).cloned());
        self.controllers.insert(&question, controller.clone());
        Ok(controller)
    }

    /// What a namespace asks of its containers.
    pub async fn namespace_rules(&self, namespace: &str) -> Result<NamespaceRules, LookupError> {
        if let Some(known) = self.rules.get(namespace) {
            return Ok(known);
        }
        let (quotas, limit_ranges) = futures::try_join!(
            self.list::<ResourceQuota>(namespace, "ResourceQuotas"),
            self.list::<LimitRange>(namespace, "LimitRanges"),
        )?;
        let rules = NamespaceRules::new(&quotas, &limit_ranges);
        self.rules.insert(namespace, rules.clone());
        Ok(rules)
    }

    async fn list<K>(&self, namespace: &str, kind: &str) -> Result<Vec<K>, LookupError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + Debug,
    {
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        // The API server's own cache is new enough, and cheaper.
        let parameters = ListParams::default().match_any();
        match api.list(&parameters).await {
            Ok(found) => Ok(found.items),
            Err(error) => Err(LookupError {
                what: format!("{kind} of namespace {namespace}"),
                error,
            }),
        }
    }
}
