use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{LimitRange, Pod, ResourceQuota};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{ListParams, PartialObjectMeta};
use kube::runtime::reflector::Store;
use kube::{Api, Client, Resource, ResourceExt};
use outrigger_api::IntegratedApp;
use outrigger_injection::NamespaceRules;
use outrigger_plan::{Owners, Referenced};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use crate::{Applications, LookupError};

/// How long the rules of a namespace are taken for granted. Many pods are created at once, and
/// quotas and limit ranges seldom change.
const RULES_LAST: Duration = Duration::from_secs(5);

/// Asks the cluster: applications from a reflector's store, the rest by calls.
///
/// `R` gives the objects that an application refers to.
pub struct Lookup<R> {
    client: Client,
    applications: Store<IntegratedApp>,
    referenced: R,
    rules: Mutex<BTreeMap<String, (Instant, NamespaceRules)>>,
}

impl<R, F> Lookup<R>
where
    R: Fn(IntegratedApp) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Referenced, kube::Error>> + Send,
{
    /// With a client, the store of all IntegratedApps, and the reader of what they refer to.
    pub fn new(client: Client, applications: Store<IntegratedApp>, referenced: R) -> Lookup<R> {
        Lookup {
            client,
            applications,
            referenced,
            rules: Mutex::default(),
        }
    }

    /// The controller of an object that is itself a controller of pods.
    async fn controller_of<K>(
        &self,
        namespace: &str,
        owner: &OwnerReference,
    ) -> Result<Option<OwnerReference>, LookupError>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        let found: Option<PartialObjectMeta<K>> =
            api.get_metadata_opt(&owner.name)
                .await
                .map_err(|error| LookupError {
                    what: format!("{} {namespace}/{}", owner.kind, owner.name),
                    error,
                })?;
        let same = found.filter(|found| found.uid().as_ref() == Some(&owner.uid));
        Ok(same.and_then(|found| Owners::controller(found.owner_references()).cloned()))
    }

    async fn list<K>(&self, namespace: &str, kind: &str) -> Result<Vec<K>, LookupError>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
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

impl<R, F> Applications for Lookup<R>
where
    R: Fn(IntegratedApp) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Referenced, kube::Error>> + Send,
{
    fn applications_in(&self, namespace: &str) -> Vec<Arc<IntegratedApp>> {
        let mut found = self.applications.state();
        found.retain(|application| application.namespace().as_deref() == Some(namespace));
        found
    }

    async fn referenced(&self, application: &IntegratedApp) -> Result<Referenced, LookupError> {
        (self.referenced)(application.clone())
            .await
            .map_err(|error| LookupError {
                what: format!(
                    "what IntegratedApp {}/{} refers to",
                    application.namespace().unwrap_or_default(),
                    application.name_any()
                ),
                error,
            })
    }

    async fn owners(&self, namespace: &str, pod: &Pod) -> Result<Owners, LookupError> {
        let mut owners = Owners {
            direct: Owners::controller(pod.owner_references()).cloned(),
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

    async fn namespace_rules(&self, namespace: &str) -> Result<NamespaceRules, LookupError> {
        let now = Instant::now();
        if let Some((_, rules)) = self
            .rules
            .lock()
            .get(namespace)
            .filter(|(since, _)| now.duration_since(*since) < RULES_LAST)
        {
            return Ok(rules.clone());
        }
        let (quotas, limit_ranges) = futures::try_join!(
            self.list::<ResourceQuota>(namespace, "ResourceQuotas"),
            self.list::<LimitRange>(namespace, "LimitRanges"),
        )?;
        let rules = NamespaceRules::new(&quotas, &limit_ranges);
        let mut known = self.rules.lock();
        known.retain(|_, (since, _)| now.duration_since(*since) < RULES_LAST);
        known.insert(namespace.to_owned(), (now, rules.clone()));
        Ok(rules)
    }
}
