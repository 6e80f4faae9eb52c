//! How controllers come to look at their objects, again and again: what is the same for all.

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::{Future, ready};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use kube::runtime::controller::{self, Action, Config};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::metrics::{Controller, Outcome};

/// What no event tells is found so late.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(600);
/// Objects at a time, so that a start with many of them leaves the API server to others too.
const AT_ONCE: u16 = 8;

/// The objects to look at again, as something changes that they rest on.
pub(crate) type Requests<K> = BoxStream<'static, Vec<ObjectRef<K>>>;

/// A controller, but for what it does with an object.
pub(crate) struct Drive<K>
where
    K: Resource<DynamicType = ()> + 'static,
{
    context: Arc<Context>,
    controller: Controller,
    objects: Store<K>,
    /// Most objects at a time; 0 for no limit.
    pub(crate) at_once: u16,
    /// Longest pause after a failure.
    pub(crate) longest_pause: fn(&K) -> Duration,
}

impl<K> Drive<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
{
    pub(crate) fn new(context: &Arc<Context>, controller: Controller, objects: &Store<K>) -> Self {
        Drive {
            context: Arc::clone(context),
            controller,
            objects: objects.clone(),
            at_once: AT_ONCE,
            longest_pause: |_| Duration::MAX,
        }
    }

    /// Reconciles the objects that are asked for until `stop`, and again after a failure. One that is
    /// being deleted is left alone.
    pub(crate) async fn run<W, F, E>(
        self,
        requests: Vec<Requests<K>>,
        watched: Arc<W>,
        reconcile: impl Fn(Arc<K>, Arc<W>) -> F,
        stop: CancellationToken,
    ) where
        W: Send + Sync + 'static,
        F: Future<Output = Result<Action, E>> + Send + 'static,
        E: std::error::Error + Send + 'static,
    {
        let requests = stream::select_all(requests)
            .flat_map(|requests| stream::iter(requests.into_iter().map(Ok::<_, Infallible>)))
            .take_until(stop.cancelled_owned());
        let (context, controller) = (Arc::clone(&self.context), self.controller);
        let reconciler = move |object: Arc<K>, watched: Arc<W>| {
            let context = Arc::clone(&context);
            let uid = object.uid().unwrap_or_default();
            let is_deleted = object.meta().deletion_timestamp.is_some();
            let reconciled = (!is_deleted).then(|| reconcile(object, watched));
            let work = async move {
                match reconciled {
                    Some(reconciled) => reconciled.await,
                    None => Ok(Action::await_change()),
                }
            };
            async move { counted(&context, controller, uid, work).await }.boxed()
        };
        let (context, longest_pause) = (self.context, self.longest_pause);
        let reconciliations = controller::applier(
            reconciler,
            move |object, failure, _| {
                let most = longest_pause(&object);
                after_failure(&context, controller, &*object, failure, most)
            },
            watched,
            self.objects,
            requests,
            Config::default().concurrency(self.at_once),
        );
        // Each reconciliation has told its failure; one of an object that is gone is none.
        reconciliations.for_each(|_| ready(())).await;
    }
}

/// Counts a controller's work on an object, with its time. Work that succeeds ends the failures in a
/// row that this controller had with the object.
pub(crate) async fn counted<T, E>(
    context: &Context,
    controller: Controller,
    object: String,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let started = Instant::now();
    let result = work.await;
    let outcome = match &result {
        Ok(_) => Outcome::Succeeded,
        Err(_) => Outcome::Failed,
    };
    let metrics = &context.metrics;
    metrics.count(controller, outcome, started.elapsed());
    if result.is_ok() {
        context.backoffs.reset(&(controller, object));
    }
    result
}

/// When to try again what failed, at the latest after `most`.
fn after_failure<K>(
    context: &Context,
    controller: Controller,
    object: &K,
    failure: &impl std::error::Error,
    most: Duration,
) -> Action
where
    K: Resource<DynamicType = ()>,
{
    let uid = object.uid().unwrap_or_default();
    let pause = context.backoffs.failed((controller, uid));
    let pause = pause.min(most);
    tracing::warn!(
        error = %failure,
        namespace = object.namespace().unwrap_or_default(),
        name = object.name_any(),
        "{} not reconciled; trying again in {} s",
        K::kind(&()),
        pause.as_secs()
    );
    Action::requeue(pause)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use outrigger_api_server::ApiServer;
    use outrigger_injection::Settings;
    use outrigger_lookup::Lookup;
    use prometheus_client::registry::Registry;
    use tokio::sync::watch;

    use super::*;
    use crate::{HdfsAccess, Metrics, Setup};

    fn context() -> Arc<Context> {
        let client = ApiServer::default().client();
        let (lookup, _) = Lookup::new(client.clone());
        let (_, covered) = watch::channel(BTreeSet::new());
        let setup = Setup {
            client,
            lookup,
            settings: Settings::default(),
            holder_image: String::new(),
            covered,
            hdfs: HdfsAccess::default(),
            instance: String::new(),
            metrics: Metrics::register(&mut Registry::default()),
        };
        Context::new(setup).0
    }

    #[tokio::test]
    async fn work_that_succeeds_ends_the_failures_of_its_own_controller_only() {
        let context = context();
        let pause = |controller| context.backoffs.failed((controller, "uid".to_owned()));
        let success = async |controller| {
            let work = async { Ok::<_, Infallible>(()) };
            counted(&context, controller, "uid".to_owned(), work).await
        };
        let first = Duration::from_secs(1);
        assert!(pause(Controller::Sharing) <= first);
        let Ok(()) = success(Controller::Sidecar).await;
        assert!(pause(Controller::Sharing) > first);
        let Ok(()) = success(Controller::Sharing).await;
        assert!(pause(Controller::Sharing) <= first);
    }
}
