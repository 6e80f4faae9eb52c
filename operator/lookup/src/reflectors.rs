use std::collections::BTreeSet;
use std::fmt::Debug;

use futures::{Stream, StreamExt};
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt};
use outrigger_api::{Dataset, IntegratedApp, IntegrationSidecar};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{Feed, Mirror};

/// Keeps a [`crate::Lookup`] current.
pub struct Reflectors {
    pub(crate) client: Client,
    pub(crate) applications: (Mirror<IntegratedApp>, Feed<IntegratedApp>),
    pub(crate) sidecars: Feed<IntegrationSidecar>,
    pub(crate) datasets: Feed<Dataset>,
    pub(crate) namespaces: watch::Sender<Option<BTreeSet<String>>>,
}

impl Reflectors {
    /// Follows the cluster until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let (applications, feed) = self.applications;
        tokio::join!(
            feed.run(readable(self.client.clone()), stop.clone()),
            self.sidecars
                .run(readable(self.client.clone()), stop.clone()),
            self.datasets.run(readable(self.client), stop.clone()),
            stop.run_until_cancelled(follow_namespaces(applications, self.namespaces)),
        );
    }
}

/// The objects of a kind that this version can read. Others, written under a newer definition of
/// the kind, are as good as absent, and must not hide the rest.
fn readable<K>(client: Client) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let api = Api::<DeserializeGuard<K>>::all(client);
    watcher::watcher(api, watcher::Config::default()).filter_map(|event| {
        std::future::ready(match event {
            Err(error) => Some(Err(error)),
            Ok(event) => read(event).map(Ok),
        })
    })
}

fn read<K>(event: Event<DeserializeGuard<K>>) -> Option<Event<K>>
where
    K: Resource<DynamicType = ()>,
{
    let readable = |guarded: DeserializeGuard<K>| {
        let unreadable = |error: &kube::core::error_boundary::InvalidObject| {
            let (namespace, name) = (&error.metadata.namespace, &error.metadata.name);
            let kind = K::kind(&());
            tracing::error!(
                namespace = namespace.as_deref().unwrap_or_default(),
                name = name.as_deref().unwrap_or_default(),
                error = error.error,
                "{kind} is not readable to this version and is passed over"
            );
        };
        guarded.0.inspect_err(unreadable).ok()
    };
    match event {
        Event::Apply(object) => readable(object).map(Event::Apply),
        Event::Delete(object) => readable(object).map(Event::Delete),
        Event::InitApply(object) => readable(object).map(Event::InitApply),
        Event::Init => Some(Event::Init),
        Event::InitDone => Some(Event::InitDone),
    }
}

async fn follow_namespaces(
    applications: Mirror<IntegratedApp>,
    namespaces: watch::Sender<Option<BTreeSet<String>>>,
) {
    let mut changes = applications.changes();
    if !applications.synced().await {
        return;
    }
    loop {
        let current = applications.store().state();
        let current = current.iter().filter_map(|found| found.namespace());
        let current: BTreeSet<String> = current.collect();
        namespaces.send_if_modified(|known| {
            let changed = known.as_ref() != Some(&current);
            *known = Some(current);
            changed
        });
        if changes.next().await.is_none() {
            return;
        }
    }
}
