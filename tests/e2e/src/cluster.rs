//! The API server: applying objects, and waiting for them by watching.

use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use futures::TryStreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::{GroupVersionKind, TypeMeta};
use kube::discovery::ApiResource;
use kube::runtime::reflector;
use kube::runtime::watcher::{self, watch_object, watcher};
use kube::runtime::{WatchStreamExt, reflector::store};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Field manager of what tests and the demo apply.
const MANAGER: &str = "outrigger-e2e";

/// A connection to the API server.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    config: kube::Config,
}

impl Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("url", &self.config.cluster_url)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// Connects to the cluster of a kubeconfig.
    ///
    /// # Errors
    /// When the kubeconfig is of no use.
    pub async fn connect(kubeconfig: &std::path::Path) -> anyhow::Result<Cluster> {
        let file = kubeconfig.display();
        let config = kube::config::Kubeconfig::read_from(kubeconfig)
            .with_context(|| format!("cannot read {file}"))?;
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(config, &options)
            .await
            .with_context(|| format!("cannot use {file}"))?;
        Cluster::with(config)
    }

    fn with(config: kube::Config) -> anyhow::Result<Cluster> {
        Ok(Cluster {
            client: Client::try_from(config.clone())?,
            config,
        })
    }

    /// The same API server as another user sees it.
    ///
    /// # Errors
    /// When there can be no such client.
    pub fn as_user(&self, user: &str) -> anyhow::Result<Cluster> {
        let mut config = self.config.clone();
        config.auth_info.impersonate = Some(user.to_owned());
        Cluster::with(config)
    }

    /// The client itself.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The objects of one kind in a namespace.
    pub fn objects<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client(), namespace)
    }

    /// The objects of one kind that live outside of namespaces.
    pub fn cluster_objects<K>(&self) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::ClusterResourceScope>,
        K::DynamicType: Default,
    {
        Api::all(self.client())
    }

    /// Applies objects one after the other (server-side apply).
    ///
    /// # Errors
    /// With the first refusal, in the API server's words.
    pub async fn apply(&self, objects: &[Value]) -> anyhow::Result<()> {
        for object in objects {
            self.apply_one(object).await?;
        }
        Ok(())
    }

    /// Applies one object and gives it as the API server has it.
    ///
    /// # Errors
    /// In the API server's words.
    pub async fn apply_one(&self, object: &Value) -> anyhow::Result<DynamicObject> {
        let (api, object) = self.dynamic(object)?;
        let name = object.name_any();
        let parameters = PatchParams::apply(MANAGER).force();
        api.patch(&name, &parameters, &Patch::Apply(&object))
            .await
            .with_context(|| format!("cannot apply {} {name}", kind(&object)))
    }

    /// The objects of the kind and the namespace of an object.
    fn dynamic(&self, object: &Value) -> anyhow::Result<(Api<DynamicObject>, DynamicObject)> {
        let object: DynamicObject = serde_json::from_value(object.clone())
            .with_context(|| format!("not an object: {object}"))?;
        let types: &TypeMeta = object
            .types
            .as_ref()
            .context("apiVersion and kind are absent")?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
        let api = match object.namespace() {
            Some(namespace) => Api::namespaced_with(self.client(), &namespace, &resource),
            None => Api::all_with(self.client(), &resource),
        };
        Ok((api, object))
    }

    /// Deletes a namespace and waits until everything in it has gone.
    ///
    /// # Errors
    /// When it does not go within `patience`.
    pub async fn delete_namespace(&self, name: &str, patience: Duration) -> anyhow::Result<()> {
        let api: Api<Namespace> = self.cluster_objects();
        match api.delete(name, &DeleteParams::background()).await {
            Err(error) if !is_not_found(&error) => Err(error)?,
            _ => gone(&api, name, patience).await,
        }
    }
}

/// Deletes an object, if it is there, and waits until it has gone, after all that it owns.
///
/// # Errors
/// When it does not go within `patience`.
pub async fn delete_with_owned<K>(
    api: &Api<K>,
    name: &str,
    patience: Duration,
) -> anyhow::Result<()>
where
    K: Resource + Clone + Debug + DeserializeOwned + Serialize + Send + 'static,
{
    match api.delete(name, &DeleteParams::foreground()).await {
        Err(error) if !is_not_found(&error) => Err(error)?,
        _ => gone(api, name, patience).await,
    }
}

fn kind(object: &DynamicObject) -> &str {
    object
        .types
        .as_ref()
        .map_or("object", |types| types.kind.as_str())
}

/// Whether an error says that the object does not exist.
pub fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// Merges a change into an object.
///
/// # Errors
/// In the API server's words.
pub async fn merge<K>(api: &Api<K>, name: &str, change: &Value) -> anyhow::Result<K>
where
    K: Clone + Debug + DeserializeOwned,
{
    api.patch(name, &PatchParams::default(), &Patch::Merge(change))
        .await
        .with_context(|| format!("cannot patch {name} with {change}"))
}

/// Waits until something holds of an object; `what` says it in words.
///
/// # Errors
/// When it does not within `patience`; the message shows the object's last status.
pub async fn wait<K>(
    api: &Api<K>,
    name: &str,
    what: &str,
    patience: Duration,
    mut holds: impl FnMut(&K) -> bool,
) -> anyhow::Result<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Serialize + Send + 'static,
{
    let mut last = None;
    let found = tokio::time::timeout(patience, async {
        let mut stream = pin!(watch_object(api.clone(), name).default_backoff());
        loop {
            match stream.try_next().await {
                Ok(Some(Some(object))) if holds(&object) => return object,
                Ok(found) => last = found.flatten(),
                // The watch is repeated; the deadline ends it.
                Err(_) => {}
            }
        }
    });
    found.await.map_err(|_| {
        anyhow!(
            "{name}: {what} did not come within {patience:?}; last seen: {}",
            last.as_ref().map_or("no such object".into(), status)
        )
    })
}

/// Waits until an object has gone.
///
/// # Errors
/// When it has not within `patience`.
pub async fn gone<K>(api: &Api<K>, name: &str, patience: Duration) -> anyhow::Result<()>
where
    K: Resource + Clone + Debug + DeserializeOwned + Serialize + Send + 'static,
{
    let mut last = None;
    let found = tokio::time::timeout(patience, async {
        let mut stream = pin!(watch_object(api.clone(), name).default_backoff());
        loop {
            match stream.try_next().await {
                Ok(Some(None)) => return,
                Ok(found) => last = found.flatten(),
                Err(_) => {}
            }
        }
    });
    found.await.map_err(|_| {
        let last = last.as_ref().map_or_else(String::new, status);
        anyhow!("{name} is still there after {patience:?}: {last}")
    })
}

/// Waits until something holds of all objects with the labels of a selector, and gives them.
///
/// # Errors
/// When it does not within `patience`; the message shows the last statuses.
pub async fn wait_all<K>(
    api: &Api<K>,
    selector: &str,
    what: &str,
    patience: Duration,
    mut holds: impl FnMut(&[K]) -> bool,
) -> anyhow::Result<Vec<K>>
where
    K: Resource + Clone + Debug + DeserializeOwned + Serialize + Send + Sync + 'static,
    K::DynamicType: Default + Clone + Eq + std::hash::Hash,
{
    let (reader, writer) = store::<K>();
    let config = watcher::Config::default().labels(selector);
    let listed = |reader: &reflector::Store<K>| -> Vec<K> {
        let objects = reader.state();
        objects.iter().map(|object| K::clone(object)).collect()
    };
    let found = tokio::time::timeout(patience, async {
        let events = watcher(api.clone(), config).default_backoff();
        let mut stream = pin!(reflector(writer, events));
        loop {
            // Between Init and InitDone the store is not complete.
            match stream.try_next().await {
                Ok(Some(watcher::Event::Init | watcher::Event::InitApply(_))) | Err(_) => continue,
                Ok(_) => {}
            }
            let objects = listed(&reader);
            if holds(&objects) {
                return objects;
            }
        }
    });
    let found = found.await;
    found.or_else(|_| {
        let objects = listed(&reader);
        let last: Vec<_> = objects
            .iter()
            .map(|object| format!("{}: {}", object.name_any(), status(object)))
            .collect();
        bail!(
            "objects with {selector:?}: {what} did not come within {patience:?}; last seen: [{}]",
            last.join(", ")
        )
    })
}

/// An object's status as JSON, for messages.
fn status<K: Serialize>(object: &K) -> String {
    let value = serde_json::to_value(object).unwrap_or_default();
    value["status"].to_string()
}
