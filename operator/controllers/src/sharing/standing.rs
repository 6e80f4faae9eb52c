use std::sync::Arc;

use futures::{Stream, StreamExt};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use outrigger_api::{FunctionPods, IntegrationSidecar};
use outrigger_plan::SharedPlan;

use crate::published::Published;
use crate::status::Summary;

/// How it stands with the function pods of a shared sidecar.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sharing {
    /// Their numbers.
    pub(crate) pods: FunctionPods,
    /// What is in the way, if something is.
    pub(crate) obstacle: Option<Summary>,
    /// What they are to be.
    pub(super) planned: Option<Planned>,
}

/// A plan whose document function pods can find. Two of one document are equal.
#[derive(Clone, Debug)]
pub(super) struct Planned(pub(super) Arc<SharedPlan>);

impl PartialEq for Planned {
    fn eq(&self, other: &Planned) -> bool {
        self.0.document_hash == other.0.document_hash
    }
}

impl Sharing {
    /// What function pods are to be, once they can find their document.
    pub(crate) fn plan(&self) -> Option<&SharedPlan> {
        Some(&*self.planned.as_ref()?.0)
    }
}

/// The namespace and the name of a sidecar.
type Key = (String, String);

/// How it stands with each shared sidecar, in memory, for the controller that reports it. A sidecar
/// that is absent is not shared.
#[derive(Default)]
pub(crate) struct Sharings(Published<Key, Sharing>);

impl Sharings {
    pub(crate) fn get(&self, sidecar: &IntegrationSidecar) -> Option<Sharing> {
        self.0.get(&key(sidecar))
    }

    /// Each sidecar known now, then each one of which something else holds than before.
    pub(crate) fn changes(
        &self,
    ) -> impl Stream<Item = ObjectRef<IntegrationSidecar>> + Send + Unpin + use<> {
        let changes = self.0.changes();
        changes.map(|(namespace, name)| ObjectRef::new(&name).within(&namespace))
    }

    /// Sets what holds now; `None` for a sidecar that is gone, or not shared.
    pub(super) fn publish(&self, sidecar: &IntegrationSidecar, sharing: Option<Sharing>) {
        match sharing {
            Some(sharing) => self.0.change(&key(sidecar), |_| Some(sharing)),
            None => self.0.forget(&key(sidecar)),
        }
    }
}

fn key(sidecar: &IntegrationSidecar) -> Key {
    (sidecar.namespace().unwrap_or_default(), sidecar.name_any())
}
