use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use futures::channel::mpsc;
use futures::{Stream, StreamExt};
use kube::Resource;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Objects of one kind in memory, kept current by its [`Feed`], that tells whoever asks which of
/// them changed.
#[derive(Clone)]
pub struct Mirror<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + 'static,
{
    store: Store<K>,
    listeners: Listeners<K>,
    /// Whether all objects are known. The store's own wait wakes only one of several who wait.
    synced: watch::Receiver<bool>,
}

/// Keeps a [`Mirror`] current.
pub struct Feed<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + 'static,
{
    writer: reflector::store::Writer<K>,
    mirror: Mirror<K>,
    synced: watch::Sender<bool>,
    /// The objects before the watch had to start anew: those that are gone were deleted unseen.
    before: Vec<Arc<K>>,
}

type Listeners<K> = Arc<Mutex<Vec<mpsc::UnboundedSender<Arc<K>>>>>;

impl<K> Mirror<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
{
    /// Empty, with what has to run beside it.
    pub fn new() -> (Mirror<K>, Feed<K>) {
        let (store, writer) = reflector::store();
        let (sender, synced) = watch::channel(false);
        let mirror = Mirror {
            store,
            listeners: Arc::default(),
            synced,
        };
        let feed = Feed {
            writer,
            mirror: mirror.clone(),
            synced: sender,
            before: Vec::new(),
        };
        (mirror, feed)
    }

    /// The objects.
    pub fn store(&self) -> &Store<K> {
        &self.store
    }

    /// The object of a namespace with a name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new(name).within(namespace))
    }

    /// The objects of a namespace.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        self.store
            .state_filter(|object| object.meta().namespace.as_deref() == Some(namespace))
    }

    /// Waits until all objects are known; whether that came before the feed ended.
    pub async fn synced(&self) -> bool {
        let mut synced = self.synced.clone();
        synced.wait_for(|synced| *synced).await.is_ok()
    }

    /// Each object known now, then each one that appears, changes or goes, as it was last seen.
    /// The store has the change already.
    pub fn changes(&self) -> impl Stream<Item = Arc<K>> + Send + Unpin + use<K> {
        let (sender, receiver) = mpsc::unbounded();
        // Before reading the store: a change in between is told twice rather than never.
        self.listeners.lock().push(sender);
        futures::stream::iter(self.store.state()).chain(receiver)
    }

    fn tell(&self, object: &Arc<K>) {
        self.listeners
            .lock()
            .retain(|listener| listener.unbounded_send(Arc::clone(object)).is_ok());
    }
}

impl<K> Feed<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    ObjectRef<K>: Eq + Hash,
{
    /// Follows a watch until `stop`. A watch that fails goes on after a pause.
    pub async fn run(
        mut self,
        events: impl Stream<Item = watcher::Result<Event<K>>> + Send,
        stop: CancellationToken,
    ) {
        let mut events = std::pin::pin!(events.default_backoff());
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = events.next() => event,
            };
            match event {
                None => return,
                Some(Ok(event)) => self.take(event),
                Some(Err(error)) => {
                    let kind = K::kind(&());
                    tracing::warn!(%error, "objects of kind {kind} cannot be watched; trying again");
                }
            }
        }
    }

    fn take(&mut self, event: Event<K>) {
        self.writer.apply_watcher_event(&event);
        match event {
            Event::Apply(object) | Event::Delete(object) => self.mirror.tell(&Arc::new(object)),
            Event::InitApply(_) => {}
            Event::Init => self.before = self.mirror.store.state(),
            Event::InitDone => {
                self.synced.send_replace(true);
                for object in self.mirror.store.state() {
                    self.mirror.tell(&object);
                }
                for object in std::mem::take(&mut self.before) {
                    if self
                        .mirror
                        .store
                        .get(&ObjectRef::from_obj(&*object))
                        .is_none()
                    {
                        self.mirror.tell(&object);
                    }
                }
            }
        }
    }
}
